//! One flipped bit anywhere in committed bytes is found, by `verify` and by the read that touches
//! it, with file and position, and nothing else is lost.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::ops::Range;
use std::sync::Arc;

use damage_support::{
    FramePlace, Reading, all, assert_only_lost, assert_repaired, closed_log, crashed_log, flip_bit, found,
    frames, names, open, options, repair, segments, size, verify,
};
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Error, ReadMode};

const HEADER: u64 = 128;
const DATA_START: u64 = 4096;

/// Every bit of some headers and tables, samples of the rest.
fn bits_of(frame: &FramePlace, thorough: bool) -> Vec<u64> {
    let head_end = frame.records.first().map_or(frame.end, |record| record.start);
    let head = (frame.start * 8..head_end * 8).filter(|bit| thorough || bit % 61 == 0);
    let body = (head_end * 8..frame.end * 8).filter(|bit| bit % 3001 == 0);
    // First and last bit of each record, the padding included.
    let edges = frame.records.iter().take(2).flat_map(|record| [record.start * 8, record.end * 8 - 1]);
    head.chain(body).chain(edges).collect()
}

fn flipped(storage: &MemoryStorage, name: &str, bit: u64) -> MemoryStorage {
    let damaged = storage.snapshot().unwrap();
    flip_bit(&damaged, name, bit);
    damaged
}

/// An error that names the file, and a position in it near the damage.
fn names_it(error: &Error, file: &str, range: &Range<u64>) -> bool {
    match error {
        Error::Corrupt(damage) => damage.file == file && range.contains(&damage.position),
        Error::Version { file: named, .. } => named == file,
        _ => false,
    }
}

#[test]
fn a_flipped_bit_in_a_frame_costs_no_record_but_those_it_hit() {
    let storage = closed_log();
    assert!(verify(&storage).is_clean());
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let frames = frames(&storage);
    assert!(segments(&storage).len() >= 3);
    for (k, frame) in frames.iter().enumerate() {
        let thorough = k % 25 == 0 || k + 1 == frames.len();
        for bit in bits_of(frame, thorough) {
            let what = format!("bit {bit} of {}", frame.file);
            let damaged = flipped(&storage, &frame.file, bit);
            let (range, hit) = (frame.start..frame.end, frame.hit(bit / 8));
            let report = verify(&damaged);
            assert!(found(&report, &frame.file, range.clone()), "{what}: {:#?}", report.findings);
            assert_eq!(report.records, due.len() as u64 - (hit.end - hit.start), "{what}");
            let told = report.findings.iter().filter_map(|finding| finding.seq_ids.clone()).next();
            assert_eq!(
                told.map(|ids| ids.start().0..ids.end().0 + 1),
                (!hit.is_empty()).then(|| hit.clone()),
                "{what}"
            );

            // Through a map, and with positioned reads.
            let mode = if bit % 2 == 0 { ReadMode::Mapped } else { ReadMode::Positioned };
            let log = options().read_mode(mode).open_storage(Arc::new(damaged));
            let log = log.unwrap_or_else(|error| panic!("{what}: {error}"));
            let reading = Reading::of(log.reader(..).unwrap());
            // A witness holds no record; the one behind the last record is never read.
            let read = !hit.is_empty() || reading.errors.len() == 1;
            assert!(
                !read || names_it(&reading.errors[0], &frame.file, &range),
                "{what}: {:?}",
                reading.errors
            );
            if !hit.is_empty() {
                assert_only_lost(&log, &due, &hit, false, &what);
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_the_header_of_a_segment_is_found_and_mended_without_loss() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let frames = frames(&storage);
    for name in segments(&storage) {
        let held: Vec<u64> =
            frames.iter().filter(|frame| frame.file == name).flat_map(|frame| frame.seqs.clone()).collect();
        let hit = held.first().copied().unwrap()..held.last().unwrap() + 1;
        for bit in 0..HEADER * 8 {
            let what = format!("bit {bit} of {name}");
            let damaged = flipped(&storage, &name, bit);
            let report = verify(&damaged);
            assert!(found(&report, &name, 0..HEADER), "{what}: {:#?}", report.findings);
            let newer = report.findings.iter().any(|finding| finding.found.starts_with("version"));
            assert_eq!(
                report.records,
                if newer { due.len() as u64 - held.len() as u64 } else { due.len() as u64 },
                "{what}"
            );
            match open(&damaged) {
                Ok(log) if !newer => assert_only_lost(&log, &due, &hit, false, &what),
                Ok(log) => {
                    let reading = Reading::of(log.reader(..).unwrap());
                    assert!(
                        reading.errors.iter().all(|error| names_it(error, &name, &(0..HEADER))),
                        "{what}"
                    );
                    assert_eq!(reading.records.len(), due.len() - held.len(), "{what}");
                }
                Err(error) => assert!(names_it(&error, &name, &(0..HEADER)), "{what}: {error}"),
            }
            if bit % 29 == 0 {
                let damaged = flipped(&storage, &name, bit);
                match repair(&damaged) {
                    Ok(_) => assert_repaired(&damaged, &due, &(0..0), &what),
                    Err(error) => assert!(newer && matches!(error, Error::Version { .. }), "{what}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_checkpoint_or_an_index_costs_no_record() {
    for storage in [closed_log(), crashed_log()] {
        let due = all(&open(&storage.snapshot().unwrap()).unwrap());
        let files: Vec<String> = ["checkpoint-0", "checkpoint-1"]
            .into_iter()
            .map(String::from)
            .chain(names(&storage, ".index"))
            .collect();
        assert!(files.len() >= 2, "{files:?}");
        for name in files {
            let len = size(&storage, &name);
            for bit in (0..len * 8).filter(|bit| bit % if *bit < 128 * 8 { 7 } else { 31 } == 0) {
                let what = format!("bit {bit} of {name}");
                let damaged = flipped(&storage, &name, bit);
                assert!(found(&verify(&damaged), &name, 0..len), "{what}");
                match open(&damaged) {
                    Ok(log) if bit % 4 == 0 => assert_only_lost(&log, &due, &(0..0), false, &what),
                    Ok(log) => assert_eq!(all(&log), due, "{what}"),
                    Err(error @ Error::Version { .. }) => {
                        assert!(names_it(&error, &name, &(0..len)), "{what}: {error}")
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                if bit % 3 == 0 {
                    let damaged = flipped(&storage, &name, bit);
                    match repair(&damaged) {
                        Ok(_) => assert_repaired(&damaged, &due, &(0..0), &what),
                        Err(error) => assert!(matches!(error, Error::Version { .. }), "{what}: {error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_bytes_that_nobody_uses_is_harmless() {
    for storage in [closed_log(), crashed_log()] {
        let due = all(&open(&storage.snapshot().unwrap()).unwrap());
        let frames = frames(&storage);
        for name in segments(&storage) {
            let end = frames
                .iter()
                .filter(|frame| frame.file == name)
                .map(|frame| frame.end)
                .max()
                .unwrap_or(DATA_START);
            let len = size(&storage, &name);
            let unused = (HEADER..DATA_START)
                .chain(end..len)
                .filter(|byte| byte % 97 == 0 || *byte == end || byte + 1 == len);
            for byte in unused {
                let what = format!("byte {byte} of {name}");
                let damaged = flipped(&storage, &name, byte * 8 + byte % 8);
                let report = verify(&damaged);
                assert!(report.is_clean(), "{what}: {:#?}", report.findings);
                assert_eq!(all(&open(&damaged).unwrap()), due, "{what}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_behind_the_checkpoint_stops_the_open_or_is_the_torn_end() {
    let storage = crashed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let frames = frames(&storage);
    let (mut stopped, mut torn, mut read) = (0, 0, 0);
    for frame in frames.iter().rev().take(30) {
        for bit in bits_of(frame, false) {
            let what = format!("bit {bit} of {}", frame.file);
            let damaged = flipped(&storage, &frame.file, bit);
            let report = verify(&damaged);
            match open(&damaged.snapshot().unwrap()) {
                Err(error) => {
                    assert!(names_it(&error, &frame.file, &(frame.start..frame.end)), "{what}: {error}");
                    assert!(
                        found(&report, &frame.file, frame.start..frame.end),
                        "{what}: {:#?}",
                        report.findings
                    );
                    stopped += 1;
                    if bit % 3 == 0 {
                        let repaired = repair(&damaged).unwrap();
                        let hit = frame.hit(bit / 8);
                        assert_eq!(repaired.lost_records, hit.end - hit.start, "{what}");
                        assert_repaired(&damaged, &due, &hit, &what);
                    }
                }
                Ok(log) if log.recovery().torn.is_some() => {
                    let left = Reading::of(log.reader(..).unwrap());
                    assert!(left.errors.is_empty(), "{what}");
                    assert_eq!(left.records, due[..left.records.len()], "{what}");
                    assert_eq!(left.records.len() as u64, frame.seqs.start - 1, "{what}");
                    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
                    torn += 1;
                }
                Ok(log) => {
                    assert!(
                        found(&report, &frame.file, frame.start..frame.end),
                        "{what}: {:#?}",
                        report.findings
                    );
                    assert_only_lost(&log, &due, &frame.hit(bit / 8), false, &what);
                    read += 1;
                }
            }
        }
    }
    assert!(stopped > 30 && torn > 5 && read > 5, "{stopped} stopped, {torn} torn, {read} read");
}

#[test]
fn a_log_without_indexes_tells_of_damage_as_well() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    for name in names(&storage, ".index") {
        storage.remove(&name).unwrap();
    }
    for frame in frames(&storage).iter().filter(|frame| !frame.seqs.is_empty()) {
        let bit = frame.start * 8 + 131;
        let damaged = flipped(&storage, &frame.file, bit);
        let log = open(&damaged).unwrap();
        assert_only_lost(&log, &due, &frame.seqs, false, &format!("bit {bit} of {}", frame.file));
    }
}

#[test]
fn repair_keeps_every_record_that_was_not_hit() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    for (k, frame) in frames(&storage).iter().enumerate() {
        for bit in bits_of(frame, false).into_iter().step_by(if k % 9 == 0 { 2 } else { 7 }) {
            let what = format!("bit {bit} of {}", frame.file);
            let damaged = flipped(&storage, &frame.file, bit);
            let (hit, before) = (frame.hit(bit / 8), verify(&damaged));
            let report = repair(&damaged).unwrap();
            assert_eq!(report.findings, before.findings, "{what}");
            assert_eq!(report.lost_records, hit.end - hit.start, "{what}");
            assert_eq!(report.last_seq_id.0, due.len() as u64, "{what}");
            assert!(report.kept_aside.iter().all(|name| size(&damaged, name) > 0), "{what}");
            assert_repaired(&damaged, &due, &hit, &what);
        }
    }
}
