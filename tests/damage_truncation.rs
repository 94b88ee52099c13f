//! However the last segment is cut off, the log opens with a prefix of whole batches, or says
//! clearly that committed bytes are missing; and a repair brings it back.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::collections::BTreeSet;

use damage_support::{
    Reading, all, append, assert_repaired, closed_log, crashed_log, frames, open, repair, segments, size,
    truncate, verify, zero_range,
};
use stratalog::storage::MemoryStorage;

/// How the end of a file goes missing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Shorter,
    Zeroed,
}

fn cut_at(storage: &MemoryStorage, name: &str, len: u64, cut: Cut) -> MemoryStorage {
    let damaged = storage.snapshot().unwrap();
    match cut {
        Cut::Shorter => truncate(&damaged, name, len),
        Cut::Zeroed => zero_range(&damaged, name, len..size(storage, name)),
    }
    damaged
}

/// Lengths around every frame's edges, and samples.
fn lengths(storage: &MemoryStorage, name: &str) -> BTreeSet<u64> {
    let frames = frames(storage);
    let edges = frames.iter().filter(|frame| frame.file == name).flat_map(|frame| [frame.start, frame.end]);
    let near = edges.flat_map(|edge| [edge - 8, edge - 1, edge, edge + 1, edge + 8, edge + 63, edge + 64]);
    let last = size(storage, name).min(frames.last().unwrap().end + 200);
    (0..last)
        .step_by(211)
        .chain([0, 1, 8, 16, 127, 128, 129, 4095, 4096])
        .chain(near)
        .filter(|len| *len < last)
        .collect()
}

#[test]
fn every_truncation_of_a_log_that_crashed_leaves_whole_batches_or_a_clear_error() {
    let storage = crashed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let name = segments(&storage).pop().unwrap();
    let ends: BTreeSet<u64> = frames(&storage).iter().map(|frame| frame.seqs.end - 1).chain([0]).collect();
    let (mut prefixes, mut errors) = (0, 0);
    for cut in [Cut::Shorter, Cut::Zeroed] {
        for len in lengths(&storage, &name) {
            let what = format!("{cut:?} at {len}");
            let damaged = cut_at(&storage, &name, len, cut);
            let report = verify(&damaged);
            match open(&damaged.snapshot().unwrap()) {
                Ok(log) => {
                    let left = Reading::of(log.reader(..).unwrap());
                    assert!(left.errors.is_empty(), "{what}: {:?}", left.errors);
                    assert_eq!(left.records, due[..left.records.len()], "{what}");
                    assert!(ends.contains(&(left.records.len() as u64)), "{what}: a part of a batch");
                    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
                    assert_eq!(report.records, left.records.len() as u64, "{what}");
                    append(&log, 1_000);
                    prefixes += 1;
                }
                Err(error) => {
                    assert!(error.is_corruption() && error.to_string().contains(&name), "{what}: {error}");
                    assert!(!report.is_clean(), "{what}");
                    errors += 1;
                    if len % 3 == 0 {
                        let report = repair(&damaged).unwrap();
                        let last = report.last_seq_id.0 as usize;
                        let lost: u64 = report.lost.iter().map(|ids| ids.end().0 - ids.start().0 + 1).sum();
                        assert_eq!(lost, report.lost_records, "{what}");
                        let first = report.lost.first().map_or(last as u64 + 1, |ids| ids.start().0);
                        // What nothing witnesses any more is a prefix that ends earlier.
                        assert_repaired(&damaged, &due[..last], &(first..last as u64 + 1), &what);
                    }
                }
            }
        }
    }
    assert!(prefixes > 100 && errors > 5, "{prefixes} prefixes, {errors} errors");
}

#[test]
fn every_truncation_of_a_closed_log_is_an_error_that_a_repair_mends() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let name = segments(&storage).pop().unwrap();
    let witness = frames(&storage).pop().unwrap();
    assert!(witness.seqs.is_empty());
    for len in lengths(&storage, &name) {
        let what = format!("cut at {len}");
        let damaged = cut_at(&storage, &name, len, Cut::Shorter);
        let report = verify(&damaged);
        assert!(!report.is_clean(), "{what}");
        let error = open(&damaged.snapshot().unwrap()).map(|_| ()).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains(&name), "{what}: {error}");
        if len % 2 == 0 {
            let lost = repair(&damaged).unwrap().lost;
            let first = lost.first().map_or(due.len() as u64 + 1, |ids| ids.start().0);
            assert!(len >= witness.start || !lost.is_empty(), "{what}");
            assert_repaired(&damaged, &due, &(first..due.len() as u64 + 1), &what);
        }
    }
}

#[test]
fn a_zeroed_page_in_the_middle_costs_what_stood_in_it() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let frames = frames(&storage);
    for name in segments(&storage) {
        let end = frames.iter().filter(|frame| frame.file == name).map(|frame| frame.end).max().unwrap();
        for page in 1..end.div_ceil(4096) {
            let what = format!("page {page} of {name}");
            let range = page * 4096..((page + 1) * 4096).min(size(&storage, &name));
            let damaged = storage.snapshot().unwrap();
            zero_range(&damaged, &name, range.clone());
            let within = frames.iter().filter(|frame| frame.file == name);
            let mut hit: Vec<u64> = Vec::new();
            for frame in within {
                let bytes = (frame.start..frame.end).filter(|at| range.contains(at));
                bytes.step_by(8).for_each(|at| hit.extend(frame.hit(at)));
            }
            hit.sort_unstable();
            hit.dedup();
            let report = verify(&damaged);
            assert!(!report.is_clean() || hit.is_empty(), "{what}");
            let log = open(&damaged).unwrap();
            let left: Vec<_> = due.iter().filter(|record| !hit.contains(&record.seq_id.0)).cloned().collect();
            assert_eq!(Reading::of(log.reader(..).unwrap()).records, left, "{what}");
            drop(log);
            let repaired = repair(&damaged).unwrap();
            assert_eq!(repaired.lost_records, hit.len() as u64, "{what}");
            let log = open(&damaged).unwrap();
            assert_eq!(Reading::of(log.reader(..).unwrap()).records, left, "{what}");
            assert!(verify(&damaged).is_clean(), "{what}");
        }
    }
}
