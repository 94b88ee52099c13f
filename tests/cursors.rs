//! A cursor says how far a consumer has applied a stream: never further than it was told, and it
//! survives what an append survives.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Cursor, Error, Log, LogOffset, SeqId};
use support::{batch, buffered, open, small, stream};

fn filled(storage: &MemoryStorage) -> Log {
    let log = open(&small(), storage);
    for n in 0..10 {
        log.append(stream(u128::from(n % 2)), &batch(n, 1, 100)).unwrap();
    }
    log
}

fn cursor(n: u128, name: &str, seq_id: u64, log_offset: u64) -> Cursor {
    Cursor { stream: stream(n), name: name.into(), seq_id: SeqId(seq_id), log_offset: LogOffset(log_offset) }
}

#[test]
fn a_cursor_is_there_after_a_crash_and_after_a_close() {
    let storage = MemoryStorage::new();
    let log = filled(&storage);
    log.advance_cursor(stream(0), "index", SeqId(5)).unwrap();
    log.advance_cursor(stream(1), "index", SeqId(4)).unwrap();
    log.advance_cursor(stream(1), "metadata", SeqId(0)).unwrap();
    let due = [cursor(0, "index", 5, 3), cursor(1, "index", 4, 2), cursor(1, "metadata", 0, 0)];
    assert_eq!(log.cursors(), due);
    let crashed = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(crashed.cursors(), due);
    log.checkpoint().unwrap();
    assert_eq!(open(&small(), &storage.snapshot().unwrap()).cursors(), due);
    log.close().unwrap();
    let log = open(&small(), &storage);
    assert_eq!(log.cursors(), due);
    assert_eq!(log.cursors_of(stream(1)), due[1..]);
}

#[test]
fn a_life_that_only_moves_cursors_keeps_them() {
    let storage = MemoryStorage::new();
    filled(&storage).close().unwrap();
    for life in 1..=9u64 {
        let log = open(&small(), &storage);
        log.advance_cursor(stream(0), "index", SeqId(life)).unwrap();
        if life % 2 == 0 {
            log.close().unwrap();
        } else {
            let crashed = open(&small(), &storage.snapshot().unwrap());
            assert_eq!(crashed.cursor(stream(0), "index").unwrap().seq_id, SeqId(life));
            drop(log);
        }
    }
    let log = open(&small(), &storage);
    assert_eq!(log.cursor(stream(0), "index").unwrap().seq_id, SeqId(9));
    assert_eq!(support::all(&log).len(), 10);
}

#[test]
fn a_cursor_goes_forward_only_and_back_only_when_asked() {
    let storage = MemoryStorage::new();
    let log = filled(&storage);
    log.advance_cursor(stream(0), "a", SeqId(7)).unwrap();
    let error = log.advance_cursor(stream(0), "a", SeqId(3)).unwrap_err().to_string();
    assert!(error.contains("roll it back") && error.contains('7') && error.contains('3'), "{error}");
    assert!(log.rollback_cursor(stream(0), "a", SeqId(8)).is_err());
    assert_eq!(log.rollback_cursor(stream(0), "a", SeqId(3)).unwrap(), cursor(0, "a", 3, 2));
    assert!(matches!(log.rollback_cursor(stream(0), "b", SeqId(3)), Err(Error::NoCursor { .. })));
    let again = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(again.cursor(stream(0), "a").unwrap(), cursor(0, "a", 3, 2));
    assert!(log.drop_cursor(stream(0), "a").unwrap());
    assert!(!log.drop_cursor(stream(0), "a").unwrap());
    assert_eq!(open(&small(), &storage.snapshot().unwrap()).cursors(), []);
}

#[test]
fn a_cursor_beyond_the_newest_record_is_refused_and_so_is_a_name_that_is_none() {
    let log = filled(&MemoryStorage::new());
    let error = log.advance_cursor(stream(0), "a", SeqId(11)).unwrap_err().to_string();
    assert!(error.contains("up to 10") && error.contains("found 11"), "{error}");
    assert!(log.advance_cursor(stream(0), "", SeqId(1)).is_err());
    let long = "x".repeat(256);
    assert!(matches!(log.advance_cursor(stream(0), &long, SeqId(1)), Err(Error::Limit { limit: 255, .. })));
    log.advance_cursor(stream(0), &long[..255], SeqId(1)).unwrap();
    assert_eq!(log.committed(), SeqId(11));
}

#[test]
fn a_cursor_that_stands_there_already_writes_nothing() {
    let log = filled(&MemoryStorage::new());
    log.advance_cursor(stream(0), "a", SeqId(3)).unwrap();
    let before = log.counters().bytes;
    log.advance_cursor(stream(0), "a", SeqId(3)).unwrap();
    assert_eq!(log.counters().bytes, before);
}

#[test]
fn cursors_of_many_consumers_share_syncs_and_none_is_lost() {
    let storage = MemoryStorage::new();
    let log = filled(&storage);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let log = &log;
            scope.spawn(move || {
                for seq in 1..=10 {
                    log.advance_cursor(stream(0), &format!("consumer {n}"), SeqId(seq)).unwrap();
                }
            });
        }
    });
    let again = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(again.cursors().len(), 16);
    assert!(
        again.cursors().iter().all(|cursor| cursor.seq_id == SeqId(10) && cursor.log_offset == LogOffset(5))
    );
}

#[test]
fn what_is_behind_a_cursor_is_counted() {
    let log = filled(&MemoryStorage::new());
    assert_eq!(log.backlog(stream(0), "a"), 5);
    log.advance_cursor(stream(0), "a", SeqId(3)).unwrap();
    assert_eq!((log.backlog(stream(0), "a"), log.backlog(stream(1), "a")), (3, 5));
    let named: Vec<_> = log.backlogs("a", 4).unwrap().iter().map(|b| (b.stream, b.records)).collect();
    assert_eq!(named, [(stream(1), 5)]);
    let first = log.record(SeqId(5)).unwrap().unwrap().unix_micros;
    assert_eq!(log.backlogs("a", 1).unwrap()[0].first_unix_micros, first);
    log.advance_cursor(stream(0), "a", SeqId(10)).unwrap();
    assert_eq!(log.backlog(stream(0), "a"), 0);
    assert_eq!(log.backlogs("a", 1).unwrap().len(), 1);
}

#[test]
fn control_records_are_shown_to_nobody() {
    let storage = MemoryStorage::new();
    let log = filled(&storage);
    log.advance_cursor(stream(0), "a", SeqId(3)).unwrap();
    let control = log.committed();
    let last = log.append(stream(0), &batch(10, 1, 100)).unwrap().first_seq_id;
    assert!(last > control);
    let seen: Vec<u64> = support::all(&log).iter().map(|record| record.seq_id.0).collect();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]);
    assert_eq!(log.record(control).unwrap(), None);
    assert_eq!(support::all_of(&log, stream(0)).last().unwrap().log_offset, LogOffset(6));
    log.close().unwrap();
    let again = open(&small(), &storage);
    assert_eq!(support::all(&again).len(), 11);
    assert_eq!(again.record(control).unwrap(), None);
}

#[test]
fn who_only_reads_sees_cursors_too() {
    let storage = MemoryStorage::new();
    let log = open(&buffered(), &storage);
    log.append(stream(0), &batch(0, 5, 100)).unwrap();
    let reader = buffered().open_storage_read_only(Arc::new(storage) as Arc<dyn Storage>).unwrap();
    log.advance_cursor(stream(0), "a", SeqId(3)).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.cursor(stream(0), "a").unwrap().seq_id, SeqId(3));
    assert!(reader.advance_cursor(stream(0), "a", SeqId(4)).is_err());
}
