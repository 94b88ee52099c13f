//! Checkpoints, cursors and purges beside those who append and read.

use shuttle::thread;
use stratalog::{Batch, Error, SeqId};

use super::explore::{all, explore, fresh, one, open, options, produce, stream, token};

#[test]
fn a_checkpoint_beside_appends_covers_no_more_than_is_there() {
    explore(|| {
        let (disk, log) = fresh();
        let producers: Vec<_> = (0..2).map(|p| produce(&disk, &log, p, 2)).collect();
        let upkeep = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|_| log.checkpoint().unwrap()))
        };
        log.checkpoint().unwrap();
        // A crash of the process in the middle of it all.
        let acknowledged = log.committed().0;
        let crashed = disk.after_crash();
        let reopened = open(&options(), &crashed);
        let records = all(&reopened);
        assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged}", records.len());
        reopened.close().unwrap();
        producers.into_iter().for_each(|producer| drop(producer.join().unwrap()));
        upkeep.join().unwrap();
        log.close().unwrap();
    });
}

#[test]
fn a_reader_beside_a_purge_gets_its_records_or_is_told() {
    explore(|| {
        let (_disk, log) = fresh();
        for n in 1..=4_u8 {
            log.append(stream(1), &Batch::one(&[n; 40_000])).unwrap();
        }
        let readers = (0..2).map(|_| {
            let log = log.clone();
            thread::spawn(move || {
                for record in log.reader(..).unwrap() {
                    match record {
                        Ok(record) => {
                            assert_eq!(record.payload, vec![record.seq_id.0 as u8; 40_000]);
                        }
                        Err(error) => {
                            assert!(matches!(error, Error::Purged { .. } | Error::Gone { .. }), "{error}")
                        }
                    }
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        log.purge(stream(1), SeqId(1)).unwrap();
        log.purge(stream(1), SeqId(3)).unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let point = log.purge_point(stream(1)).unwrap();
        let left: Vec<_> = log.stream_reader_by_seq_id(stream(1), point.seq_id.next()..).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].as_ref().unwrap().seq_id, SeqId(4));
        log.close().unwrap();
    });
}

#[test]
fn a_purge_never_passes_a_cursor_that_is_set_back_meanwhile() {
    explore(|| {
        let (_disk, log) = fresh();
        (0..3).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap());
        log.advance_cursor(stream(1), "a", SeqId(3)).unwrap();
        let back = {
            let log = log.clone();
            thread::spawn(move || match log.rollback_cursor(stream(1), "a", SeqId(1)) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, Error::Purged { .. }), "{error}"),
            })
        };
        let new = {
            let log = log.clone();
            thread::spawn(move || match log.advance_cursor(stream(1), "b", SeqId(2)) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, Error::Purged { .. }), "{error}"),
            })
        };
        log.purge_passed(stream(1)).unwrap();
        back.join().unwrap();
        new.join().unwrap();
        let purged = log.purge_point(stream(1)).map_or(SeqId(0), |point| point.seq_id);
        for cursor in log.cursors_of(stream(1)) {
            assert!(purged <= cursor.seq_id, "{purged} is purged and {cursor:?} stands before it");
        }
        log.close().unwrap();
    });
}

#[test]
fn a_cursor_shows_no_more_than_was_advanced_and_never_goes_back_by_itself() {
    explore(|| {
        let (disk, log) = fresh();
        let producer = produce(&disk, &log, 0, 3);
        let consumers = (0..2).map(|_| {
            let log = log.clone();
            thread::spawn(move || {
                for n in 1..=2 {
                    let newest = log.committed().min(SeqId(n));
                    match log.advance_cursor(stream(1), "a", newest) {
                        // The other one may be further.
                        Ok(cursor) => assert!(cursor.seq_id >= newest),
                        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error}"),
                    }
                    let shown = log.cursor(stream(1), "a").map_or(SeqId(0), |cursor| cursor.seq_id);
                    assert!(newest <= shown || shown == SeqId(0), "{shown} behind {newest}");
                    assert!(shown <= SeqId(2));
                }
            })
        });
        consumers.collect::<Vec<_>>().into_iter().for_each(|consumer| consumer.join().unwrap());
        producer.join().unwrap();
        assert!((0..3).all(|n| disk.has_durable(&token(0, n))));
        log.close().unwrap();
    });
}
