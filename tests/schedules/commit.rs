//! Group commit: who leads, who waits, who is told.

use std::collections::BTreeSet;
use std::time::Duration;

use shuttle::thread;
use stratalog::{Durability, Error, ProducerId, SeqId, Terms};

use super::disk::Disk;
use super::explore::{
    all, assert_acknowledged, assert_durable_prefix, explore, fresh, one, open, options, produce, stream,
    token,
};

#[test]
fn an_acknowledgement_comes_behind_the_sync_that_covers_it() {
    explore(|| {
        let (disk, log) = fresh();
        let producers: Vec<_> = (0..3).map(|p| produce(&disk, &log, p, 2)).collect();
        let given: Vec<SeqId> = producers.into_iter().flat_map(|p| p.join().unwrap()).collect();
        let dense: BTreeSet<u64> = given.iter().map(|seq_id| seq_id.0).collect();
        assert_eq!(dense, (1..=6).collect(), "{given:?}");
        let records = all(&log);
        assert_eq!(records.len(), 6);
        assert_durable_prefix(&disk, &records);
        log.close().unwrap();
    });
}

#[test]
fn what_is_submitted_by_some_and_appended_by_others_is_committed_for_all() {
    explore(|| {
        let (disk, log) = fresh();
        let producer = produce(&disk, &log, 0, 2);
        let submitted: Vec<_> = (0..3).map(|n| log.submit(stream(2), &one(1, n)).unwrap()).collect();
        for (n, pending) in submitted.into_iter().enumerate().rev() {
            let appended = pending.wait().unwrap();
            assert_acknowledged(&disk, &log, appended.first_seq_id, &token(1, n as u64));
        }
        producer.join().unwrap();
        assert_durable_prefix(&disk, &all(&log));
        log.close().unwrap();
    });
}

#[test]
fn nobody_has_to_wait_for_a_submit_to_be_committed() {
    explore(|| {
        let (disk, log) = fresh();
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                let mut reader = log.reader(..).unwrap();
                (0..3).map(|_| reader.wait_record(None).unwrap().unwrap()).collect::<Vec<_>>()
            })
        };
        for n in 0..3 {
            drop(log.submit(stream(1), &one(0, n)).unwrap());
        }
        assert_durable_prefix(&disk, &reader.join().unwrap());
        log.close().unwrap();
    });
}

#[test]
fn an_idle_log_writes_its_witness_beside_those_who_append() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().idle_witness(Duration::from_millis(50)), &disk);
        let producers: Vec<_> = (0..2).map(|p| produce(&disk, &log, p, 3)).collect();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_durable_prefix(&disk, &all(&log));
        log.close().unwrap();
        assert_eq!(all(&open(&options(), &disk)).len(), 6);
    });
}

#[test]
fn who_waits_for_room_in_the_queue_gets_it() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().queue_bytes(4096), &disk);
        let producers = (0..3).map(|p| {
            let log = log.clone();
            thread::spawn(move || {
                let mut batch = one(p, 0);
                batch.push(&[p as u8; 2_500]);
                let first = log.submit(stream(1), &batch).unwrap();
                let second = log.append(stream(1), &batch).unwrap();
                assert!(first.wait().unwrap().first_seq_id < second.first_seq_id);
            })
        });
        producers.collect::<Vec<_>>().into_iter().for_each(|producer| producer.join().unwrap());
        assert_eq!(log.committed(), SeqId(12));
        log.close().unwrap();
    });
}

#[test]
fn a_retry_beside_its_first_attempt_is_written_once() {
    explore(|| {
        let (disk, log) = fresh();
        let other = produce(&disk, &log, 0, 2);
        let attempts = (0..2).map(|_| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                let terms = Terms::new().producer(ProducerId::from_u128(7), 1);
                let appended = log.append_on(&terms, stream(2), &one(1, 1)).unwrap();
                assert_acknowledged(&disk, &log, appended.first_seq_id, &token(1, 1));
                appended
            })
        });
        let attempts: Vec<_> = attempts.collect::<Vec<_>>().into_iter().map(|a| a.join().unwrap()).collect();
        assert_eq!(attempts[0], attempts[1]);
        other.join().unwrap();
        assert_eq!(all(&log).len(), 3);
        log.close().unwrap();
    });
}

#[test]
fn of_two_who_append_on_the_same_condition_one_wins() {
    explore(|| {
        let (_disk, log) = fresh();
        let rivals = (0..2).map(|p| {
            let log = log.clone();
            let terms = Terms::new().first_seq_id(SeqId(1));
            thread::spawn(move || log.append_on(&terms, stream(1), &one(p, 0)))
        });
        let outcomes: Vec<_> = rivals.collect::<Vec<_>>().into_iter().map(|r| r.join().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let refused = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::OutOfTurn { .. }));
        assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 1, "{outcomes:?}");
        log.close().unwrap();
    });
}

#[test]
fn a_timed_sync_beside_appends_and_close_loses_nothing() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().durability(Durability::SyncEvery(Duration::from_millis(5))), &disk);
        let producers = (0..2).map(|p| {
            let log = log.clone();
            thread::spawn(move || log.append(stream(1), &one(p, 0)).unwrap().first_seq_id)
        });
        producers.collect::<Vec<_>>().into_iter().for_each(|p| assert!(p.join().unwrap() <= log.committed()));
        log.close().unwrap();
        assert_eq!(log.durable(), SeqId(2));
        assert!((0..2).all(|p| disk.has_durable(&token(p, 0))));
    });
}
