//! A crash at any moment leaves a prefix of whole batches, and nothing acknowledged is missing.
#![allow(clippy::unwrap_used)]

mod support;

use stratalog::SeqId;
use stratalog::storage::{Access, MemoryStorage, Storage};
use support::{all, assert_well_formed, batch, buffered, open, payload, small, stream};

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    for options in [small(), buffered()] {
        let storage = MemoryStorage::new();
        let log = open(&options, &storage);
        for n in 0..600 {
            log.append(stream(u128::from(n % 9)), &batch(n * 2, 2, 250)).unwrap();
            if n % 97 == 0 {
                let crashed = storage.snapshot().unwrap();
                let recovered = open(&options, &crashed);
                assert!(!recovered.recovery().clean);
                assert_eq!(all(&recovered), all(&log), "after batch {n}");
            }
        }
    }
}

#[test]
fn a_log_that_crashes_again_and_again_loses_nothing() {
    let mut storage = MemoryStorage::new();
    let mut written = 0;
    for life in 0..40u64 {
        let log = open(&if life % 2 == 0 { small() } else { buffered() }, &storage);
        assert_eq!(log.committed(), SeqId(written));
        for n in 0..life * 3 {
            log.append(stream(u128::from(n % 2)), &batch(written, 1, 500)).unwrap();
            written += 1;
        }
        let crashed = storage.snapshot().unwrap();
        storage = crashed;
    }
    let log = open(&small(), &storage);
    let records = all(&log);
    assert_well_formed(&records);
    assert_eq!(records.len() as u64, written);
    assert!(records.iter().enumerate().all(|(k, r)| r.payload == payload(k as u64, 500)));
}

#[test]
fn a_clean_close_leaves_nothing_to_recover() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append(stream(1), &batch(0, 100, 900)).unwrap();
    log.close().unwrap();
    let log = open(&small(), &storage);
    assert!(log.recovery().clean);
    assert_eq!(log.recovery().scanned_bytes, 0);
    assert_eq!(log.append(stream(1), &batch(100, 1, 9)).unwrap().first_log_offset.0, 101);
}

#[test]
fn every_truncation_of_the_last_segment_leaves_a_prefix() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    for n in 0..12 {
        log.append(stream(1), &batch(n * 3, 3, 100 + n as usize)).unwrap();
    }
    let whole = all(&log);
    let crashed = storage.snapshot().unwrap();
    let name = crashed
        .list()
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .filter(|n| n.ends_with(".segment"))
        .max()
        .unwrap();
    let size = crashed.open(&name, Access::Read).unwrap().size().unwrap().min(12_000);
    let mut prefixes = 0;
    for len in (0..size).rev() {
        let cut = crashed.snapshot().unwrap();
        cut.open(&name, Access::Write).unwrap().set_len(len).unwrap();
        match small().open_storage(std::sync::Arc::new(cut.clone())) {
            Ok(log) => {
                let left = all(&log);
                assert_eq!(left, whole[..left.len()], "cut at {len}");
                assert_eq!(left.len() % 3, 0, "whole batches only, cut at {len}");
                prefixes += 1;
                log.append(stream(2), &batch(0, 1, 10)).unwrap();
            }
            Err(error) => assert!(error.is_corruption(), "cut at {len}: {error}"),
        }
    }
    assert!(prefixes > 1_000, "{prefixes}");
}

#[test]
fn recovery_that_is_cut_off_and_run_again_comes_to_the_same() {
    let storage = MemoryStorage::new();
    let log = open(&buffered(), &storage);
    for n in 0..300 {
        log.append(stream(u128::from(n % 3)), &batch(n, 1, 700)).unwrap();
    }
    let due = all(&log);
    let mut crashed = storage.snapshot().unwrap();
    for _ in 0..5 {
        // Recovered, and crashed again before anything was appended.
        let again = open(&buffered(), &crashed);
        assert_eq!(all(&again), due);
        let snapshot = crashed.snapshot().unwrap();
        drop(again);
        crashed = snapshot;
    }
}

#[test]
fn whole_frames_of_an_earlier_life_of_a_file_are_never_read() {
    let old = MemoryStorage::new();
    let log = open(&small(), &old);
    for n in 0..20 {
        log.append(stream(1), &batch(n, 1, 300)).unwrap();
    }
    let old = old.snapshot().unwrap();
    let segment = old.list().unwrap().into_iter().map(|e| e.name).find(|n| n.ends_with(".segment")).unwrap();
    let source = old.open(&segment, Access::Read).unwrap();
    let mut bytes = vec![0; source.size().unwrap() as usize];
    source.read_at(&mut bytes, 0).unwrap();

    // The file is used again: the next frame due stands right behind the first new one.
    let storage = MemoryStorage::new();
    storage.create("spare", bytes.len() as u64).unwrap().write_at(&bytes, 0).unwrap();
    // Another sequence of random numbers than the old log had.
    storage.random();
    let log = open(&small(), &storage);
    log.append(stream(1), &batch(0, 1, 300)).unwrap();
    let recovered = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(recovered.committed(), SeqId(1));
    assert_eq!(all(&recovered), all(&log));
}
