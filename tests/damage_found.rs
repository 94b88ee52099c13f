//! Damage that fuzzing found to be mended wrongly, or not seen.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;

use damage_support::{
    Reading, append, assert_repaired, flip_bit, frames, open, options, repair, segments, stream, truncate,
    verify,
};
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Durability, Error, Log};

/// Nothing in it says that anything is durable.
fn unwitnessed(storage: &MemoryStorage) -> Log {
    let options = options().durability(Durability::Buffered).checkpoint_bytes(1 << 30);
    let options = options.idle_witness(std::time::Duration::from_secs(3600));
    options.open_storage(Arc::new(storage.clone())).unwrap()
}

/// The checkpoint of an empty log names no segment.
#[test]
fn a_lost_first_segment_is_found_behind_a_checkpoint_of_an_empty_log() {
    let storage = MemoryStorage::new();
    let log = unwitnessed(&storage);
    log.checkpoint().unwrap();
    for n in 0..40 {
        append(&log, n);
    }
    let storage = storage.snapshot().unwrap();
    let names = segments(&storage);
    assert!(names.len() > 1, "{names:?}");
    let due = damage_support::all(&open(&storage.snapshot().unwrap()).unwrap());

    storage.remove(&names[0]).unwrap();
    assert!(!verify(&storage).is_clean());
    let before = damage_support::image(&storage);
    assert!(open(&storage).is_err_and(|error| error.is_corruption()));
    let after = damage_support::image(&storage);
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)), "opening changed something");
    repair(&storage).unwrap();
    let end: u64 = names[1].split('.').next().unwrap().parse().unwrap();
    assert_repaired(&storage, &due, &(1..end), "repaired");
}

/// A segment that can't be read can't deny that what stands before it was durable.
#[test]
fn a_damaged_record_before_a_segment_without_a_header_is_all_that_a_repair_loses() {
    let storage = MemoryStorage::new();
    let log = unwitnessed(&storage);
    let mut batch = Batch::new();
    (0..3).for_each(|k| batch.push(&damage_support::payload(k * 7 + 90)));
    let mut last_of_first = 0;
    while segments(&storage).len() < 2 {
        last_of_first = log.committed().0;
        log.append(stream(0), &batch).unwrap();
    }
    let storage = storage.snapshot().unwrap();
    let due = damage_support::all(&open(&storage.snapshot().unwrap()).unwrap());
    let names = segments(&storage);
    let hit = frames(&storage).into_iter().find(|frame| frame.seqs.end == last_of_first + 1).unwrap();
    flip_bit(&storage, &hit.file, hit.records[1].start * 8 + 9);
    truncate(&storage, &names[1], 17);
    assert!(!verify(&storage).is_clean());
    repair(&storage).unwrap();
    assert!(verify(&storage).is_clean(), "{:#?}", verify(&storage).findings);
    let left = Reading::of(open(&storage).unwrap().reader(..).unwrap()).records;
    let kept =
        due.iter().filter(|record| record.seq_id.0 <= last_of_first && record.seq_id.0 != hit.seqs.start + 1);
    assert_eq!(left.iter().collect::<Vec<_>>(), kept.collect::<Vec<_>>());
}

/// A repair leaves an empty segment in the place of one that is lost. Once that is freed as well, what
/// was lost is still gone, and no damage.
#[test]
fn records_that_a_repair_lost_stay_gone_when_their_segment_is_freed() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    let mut batch = Batch::new();
    (0..9).for_each(|k| batch.push(&damage_support::payload(k * 5 + 90)));
    let mut lost = None;
    while segments(&storage).len() < 5 {
        log.append(stream(0), &batch).unwrap();
        if segments(&storage).len() == 3 && lost.is_none() {
            log.append(stream(0), &batch).unwrap();
            lost = Some(log.append(stream(1), &Batch::one(b"lost")).unwrap());
        }
    }
    let kept = log.append(stream(1), &Batch::one(b"kept")).unwrap();
    log.close().unwrap();
    storage.remove(&segments(&storage)[2]).unwrap();
    repair(&storage).unwrap();

    let log = open(&storage).unwrap();
    log.advance_cursor(stream(0), "reader", log.committed()).unwrap();
    let count = segments(&storage).len();
    log.purge_passed(stream(0)).unwrap();
    assert!(segments(&storage).len() + 3 < count, "{:?}", segments(&storage));
    let lost = lost.unwrap();
    for _ in 0..2 {
        let gone = |error: &Error| matches!(error, Error::Gone { .. });
        let reading = Reading::of(log.stream_reader(stream(1), ..).unwrap());
        assert_eq!(reading.records.iter().map(|r| r.seq_id).collect::<Vec<_>>(), [kept.first_seq_id]);
        assert!(reading.errors.len() == 1 && reading.errors.iter().all(gone), "{:?}", reading.errors);
        assert!(log.record_at(stream(1), lost.first_log_offset).is_err_and(|error| gone(&error)));
        assert!(log.record(lost.first_seq_id).is_err_and(|error| gone(&error)));
    }
    log.close().unwrap();
    let report = verify(&storage);
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.found.contains("lost earlier")));
}
