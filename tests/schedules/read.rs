//! Watermarks: what readers see, and that it never goes away.

use shuttle::thread;
use stratalog::{Durability, Hub, HubOptions, Record, SeqId, Start, SubscribeOptions};

use super::disk::Disk;
use super::explore::{all, assert_durable_prefix, explore, fresh, one, open, options, produce, stream};

const DURABILITIES: [Durability; 2] = [Durability::Sync, Durability::Buffered];

#[test]
fn a_reader_sees_what_is_durable_and_never_loses_it() {
    explore(|| {
        let (disk, log) = fresh();
        let producers: Vec<_> = (0..2).map(|p| produce(&disk, &log, p, 2)).collect();
        let readers = (0..2).map(|_| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                let mut seen = 0;
                while seen < 4 {
                    let committed = log.committed();
                    let durable = log.durable();
                    assert!(committed <= durable, "{committed} is committed and {durable} durable");
                    assert!(committed >= SeqId(seen), "{committed} is committed and {seen} was seen");
                    let records = all(&log);
                    assert_durable_prefix(&disk, &records);
                    assert!(records.len() as u64 >= committed.0, "{committed} is not there yet");
                    seen = records.len() as u64;
                    thread::yield_now();
                }
            })
        });
        readers.collect::<Vec<_>>().into_iter().for_each(|reader| reader.join().unwrap());
        producers.into_iter().for_each(|producer| drop(producer.join().unwrap()));
        log.close().unwrap();
    });
}

#[test]
fn what_a_reader_has_seen_it_may_name() {
    for durability in DURABILITIES {
        explore(move || {
            let disk = Disk::default();
            let log = open(&options().durability(durability), &disk);
            let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
            let producer = {
                let log = log.clone();
                thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
            };
            let mut reader = log.stream_reader(stream(1), ..).unwrap();
            for _ in 0..2 {
                let seen = reader.wait_record(None).unwrap().unwrap().seq_id;
                assert!(log.committed() >= seen, "{seen} was seen before it was committed");
                log.advance_cursor(stream(1), "reader", seen).unwrap();
                hub.pull(stream(1), Start::After(seen), None).unwrap();
            }
            producer.join().unwrap();
            hub.close();
            log.close().unwrap();
        });
    }
}

#[test]
fn a_subscription_moves_its_cursor_without_a_failure_while_others_append() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let options = SubscribeOptions::new()
            .start(Start::Cursor("c".into()))
            .advance_cursor(true)
            .max_batch_records(1);
        let id = hub.subscribe(stream(1), options, |_: &[Record]| Ok(())).unwrap();
        let mut last = SeqId(0);
        for n in 0..2 {
            last = log.append(stream(1), &one(0, n)).unwrap().first_seq_id;
        }
        while log.cursor(stream(1), "c").is_none_or(|cursor| cursor.seq_id < last) {
            thread::yield_now();
        }
        let status = hub.status(&id).unwrap();
        assert_eq!(status.failures, 0, "{status:?}");
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn without_a_sync_each_durable_is_not_ahead_of_committed() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().durability(Durability::Buffered), &disk);
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        let syncing = {
            let log = log.clone();
            thread::spawn(move || log.sync().unwrap())
        };
        for _ in 0..3 {
            let durable = log.durable();
            let committed = log.committed();
            assert!(durable <= committed, "{durable} is durable and {committed} committed");
        }
        producer.join().unwrap();
        syncing.join().unwrap();
        log.close().unwrap();
    });
}

#[test]
fn a_reader_at_the_tail_is_told_of_every_commit() {
    explore(|| {
        let (disk, log) = fresh();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (disk, log) = (disk.clone(), log.clone());
                thread::spawn(move || {
                    let mut reader = log.stream_reader(stream(1), ..).unwrap();
                    let records: Vec<_> =
                        (0..4).map(|_| reader.wait_record(None).unwrap().unwrap()).collect();
                    assert_durable_prefix(&disk, &records);
                })
            })
            .collect();
        let producers: Vec<_> = (0..2).map(|p| produce(&disk, &log, p, 2)).collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        producers.into_iter().for_each(|producer| drop(producer.join().unwrap()));
        log.close().unwrap();
    });
}

#[test]
fn what_is_said_to_be_durable_is_there_and_durable() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().durability(Durability::Buffered), &disk);
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..3).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        let syncing = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|_| log.sync().unwrap()))
        };
        for _ in 0..3 {
            let durable = log.durable();
            let committed = log.committed();
            let records = all(&log);
            assert!(records.len() as u64 >= committed.0);
            assert_durable_prefix(&disk, &records[..durable.0 as usize]);
        }
        producer.join().unwrap();
        syncing.join().unwrap();
        log.close().unwrap();
        assert_durable_prefix(&disk, &all(&open(&options(), &disk)));
    });
}

#[test]
fn readers_pass_from_one_segment_to_the_next_while_it_is_begun() {
    explore(|| {
        let (disk, log) = fresh();
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                let mut reader = log.reader(..).unwrap();
                for n in 1..=3 {
                    let record = reader.wait_record(None).unwrap().unwrap();
                    assert_eq!(record.seq_id, SeqId(n));
                    assert_eq!(record.payload, vec![n as u8; 40_000]);
                }
            })
        };
        for n in 1..=3 {
            log.append(stream(1), &stratalog::Batch::one(&[n; 40_000])).unwrap();
        }
        reader.join().unwrap();
        assert!(disk.syncs() > 3);
        log.close().unwrap();
    });
}
