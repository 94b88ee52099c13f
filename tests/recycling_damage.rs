//! In a file that was a segment before, damage is told from what that left, as in any other.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;

use damage_support::{FramePlace, Reading, content, flip_bit, frames, segments, verify};
use stratalog::check::{Inspected, inspect};
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Log, Options, Record, SeqId, StreamId, Upkeep};

const LEN: usize = 1_200;

fn open(storage: &MemoryStorage) -> stratalog::Result<Log> {
    let options = Options::new().segment_bytes(64 << 10).checkpoint_bytes(1 << 20).upkeep(Upkeep::Caller);
    options.recycle(true).open_storage(Arc::new(storage.clone()))
}

/// Killed with some frames in its last segment, whose file held a whole one before; the last is a batch.
/// Records are of `len` bytes.
fn worn(len: impl Fn(u64) -> usize) -> (MemoryStorage, Vec<Record>) {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    let stream = StreamId::from_u128(1);
    for n in 0_u64.. {
        let mut batch = Batch::new();
        batch.push(&vec![n as u8 | 1; len(n)]);
        log.tend().unwrap();
        let at = log.append(stream, &batch).unwrap().last_seq_id().unwrap();
        if n % 100 == 99 {
            log.purge(stream, SeqId(at.0 - 60)).unwrap();
        }
        let snapshot = storage.snapshot().unwrap();
        let last = segments(&snapshot).pop().unwrap();
        let batches = (10..90).contains(&(n % 100));
        if n > 500 && batches && is_recycled(&snapshot, &last) && frames_of(&snapshot, &last).len() >= 12 {
            return (snapshot, damage_support::all(&log));
        }
    }
    unreachable!()
}

fn is_recycled(storage: &MemoryStorage, name: &str) -> bool {
    let mut recycled = false;
    let seen = inspect(storage, name, &mut |seen| {
        recycled |= matches!(seen, Inspected::Segment(facts) if facts.recycled);
        Ok(())
    });
    seen.is_ok() && recycled
}

fn frames_of(storage: &MemoryStorage, name: &str) -> Vec<FramePlace> {
    frames(storage).into_iter().filter(|frame| frame.file == name).collect()
}

fn flipped(storage: &MemoryStorage, name: &str, bit: u64) -> MemoryStorage {
    let damaged = storage.snapshot().unwrap();
    flip_bit(&damaged, name, bit);
    damaged
}

#[test]
fn what_a_file_held_before_is_neither_damage_nor_a_torn_tail_nor_a_record() {
    for len in [|_: u64| LEN, |n| 100 + (n as usize * 37) % 3_000] {
        let (storage, records) = worn(len);
        let last = segments(&storage).pop().unwrap();
        let end = frames_of(&storage, &last).last().unwrap().end as usize;
        assert!(content(&storage, &last)[end..].iter().filter(|byte| **byte != 0).count() > 20_000);
        let report = verify(&storage);
        assert!(report.is_clean() && report.findings.is_empty(), "{:?}", report.findings);
        inspect(&storage, &last, &mut |seen| {
            assert!(!matches!(seen, Inspected::Damage { .. }), "{seen:?}");
            Ok(())
        })
        .unwrap();
        let log = open(&storage).unwrap();
        assert!(damage_support::all(&log) == records);
        assert!(log.recovery().torn.is_none());
    }
}

#[test]
fn every_bit_of_the_last_commit_is_found_or_cut_and_kept_aside() {
    let (storage, records) = worn(|_| LEN);
    let last = segments(&storage).pop().unwrap();
    let frame = frames_of(&storage, &last).pop().unwrap();
    let head = (frame.start + 80) * 8;
    for bit in (frame.start * 8..head).chain((head..frame.end * 8).step_by(61)) {
        let damaged = flipped(&storage, &last, bit);
        let report = verify(&damaged);
        assert!(!report.findings.is_empty(), "bit {bit}");
        let log = open(&damaged).unwrap();
        assert!(damage_support::all(&log) == records[..records.len() - 1], "bit {bit}");
        let torn = log.recovery().torn.clone().unwrap();
        let kept = content(&damaged, &torn.kept_as);
        assert_eq!(torn.position, frame.start);
        let whole = &content(&flipped(&storage, &last, bit), &last)[frame.start as usize..frame.end as usize];
        // A length that was hit says that there is less or more of it; the rest stands in the log's own copy.
        let some = kept.len().min(whole.len());
        assert!(kept[..some] == whole[..some] && some >= 64, "bit {bit}");
    }
}

#[test]
fn damage_in_front_of_good_frames_is_damage_and_is_mended() {
    let (storage, records) = worn(|_| LEN);
    for name in segments(&storage) {
        for frame in frames_of(&storage, &name).iter().rev().skip(3).step_by(7) {
            let damaged = flipped(&storage, &name, (frame.start + 16) * 8);
            assert!(!verify(&damaged).is_clean(), "{name} at {}", frame.start);
            let lost = frame.seqs.clone();
            stratalog::check::repair(Arc::new(damaged.clone())).unwrap();
            let left = Reading::of(open(&damaged).unwrap().reader(..).unwrap()).records;
            let due: Vec<_> = records.iter().filter(|record| !lost.contains(&record.seq_id.0)).collect();
            assert!(left.iter().eq(due), "{name} at {}", frame.start);
            assert!(verify(&damaged).is_clean());
        }
    }
}

/// As many bits as a header has, so that nothing of it is known any more.
#[test]
fn behind_a_lost_header_only_frames_of_the_last_use_are_found_again() {
    let (storage, records) = worn(|_| LEN);
    let last = segments(&storage).pop().unwrap();
    let lost = frames_of(&storage, &last);
    let damaged = storage.snapshot().unwrap();
    (0..64).for_each(|k| flip_bit(&damaged, &last, k * 16));
    assert!(!verify(&damaged).is_clean());
    stratalog::check::repair(Arc::new(damaged.clone())).unwrap();
    let left = damage_support::all(&open(&damaged).unwrap());
    assert!(left.len() >= records.len() - lost.len());
    assert!(left == records[..left.len()]);
}

#[test]
fn files_kept_for_later_are_removed_by_the_next_open() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    let stream = StreamId::from_u128(1);
    let append = |log: &Log| log.append(stream, &Batch::one(&[1; LEN])).unwrap().last_seq_id().unwrap();
    let mut last = SeqId(0);
    (0..400).for_each(|_| last = append(&log));
    log.purge(stream, SeqId(last.0 - 200)).unwrap();
    let killed = storage.snapshot().unwrap();
    assert!(!damage_support::names(&killed, ".free").is_empty());
    assert!(verify(&killed).findings.is_empty());
    let log = open(&killed).unwrap();
    assert!(damage_support::names(&killed as &dyn Storage, ".free").is_empty());
    append(&log);
}
