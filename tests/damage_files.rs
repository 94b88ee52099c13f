//! Files of a log that are missing, renamed, copied, empty, of another log or version, or no files
//! at all: each is named by a clear error, or made again without loss.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;

use damage_support::{
    Reading, all, append, assert_repaired, closed_log, content, copy, crashed_log, fill, flip_bit, found,
    frames, image, names, open, options, repair, segments, size, truncate, verify, write,
};
use stratalog::check::{self, Severity};
use stratalog::storage::{DiskStorage, MemoryStorage, Storage};
use stratalog::{Error, Record};

fn healthy(storage: &MemoryStorage) -> Vec<Record> {
    all(&open(&storage.snapshot().unwrap()).unwrap())
}

/// SeqIds that a segment of a healthy log holds.
fn held(storage: &MemoryStorage, name: &str) -> std::ops::Range<u64> {
    let frames = frames(storage);
    let mut here = frames.iter().filter(|frame| frame.file == name && !frame.seqs.is_empty());
    let first = here.next().unwrap().seqs.clone();
    first.start..here.next_back().map_or(first.end, |last| last.seqs.end)
}

/// Open or the reading that follows fails with an error that names one of the files.
fn assert_told(storage: &MemoryStorage, files: &[&str], what: &str) {
    let errors = match open(&storage.snapshot().unwrap()) {
        Err(error) => vec![error],
        Ok(log) => Reading::of(log.reader(..).unwrap()).errors,
    };
    assert!(!errors.is_empty(), "{what}: nobody noticed");
    for error in &errors {
        assert!(files.iter().any(|file| error.to_string().contains(file)), "{what}: {error}");
    }
    let report = verify(storage);
    assert!(!report.is_clean(), "{what}");
    assert!(
        files
            .iter()
            .any(|file| report.findings.iter().any(|f| f.severity == Severity::Damage && f.file == *file)),
        "{what}: {:#?}",
        report.findings
    );
}

#[test]
fn a_missing_segment_is_named_and_its_place_is_kept() {
    for storage in [closed_log(), crashed_log()] {
        let due = healthy(&storage);
        let all_segments = segments(&storage);
        for name in &all_segments[..all_segments.len() - 1] {
            let damaged = storage.snapshot().unwrap();
            damaged.remove(name).unwrap();
            assert_told(&damaged, &[name], name);
            let report = repair(&damaged).unwrap();
            let hit = held(&storage, name);
            assert_eq!(report.lost_records, hit.end - hit.start, "{name}");
            assert_repaired(&damaged, &due, &hit, name);
        }
    }
}

#[test]
fn a_missing_last_segment_of_a_closed_log_is_named() {
    let storage = closed_log();
    let due = healthy(&storage);
    let name = segments(&storage).pop().unwrap();
    let damaged = storage.snapshot().unwrap();
    damaged.remove(&name).unwrap();
    assert_told(&damaged, &[&name], &name);
    repair(&damaged).unwrap();
    assert_repaired(&damaged, &due, &held(&storage, &name), &name);
}

#[test]
fn segments_that_are_missing_without_a_checkpoint_are_named() {
    let storage = crashed_log();
    let due = healthy(&storage);
    for name in names(&storage, "").into_iter().filter(|name| name.starts_with("checkpoint")) {
        storage.remove(&name).unwrap();
    }
    let all_segments = segments(&storage);
    for name in &all_segments[..all_segments.len() - 1] {
        let damaged = storage.snapshot().unwrap();
        damaged.remove(name).unwrap();
        let error = open(&damaged.snapshot().unwrap()).map(|_| ()).unwrap_err();
        assert!(error.is_corruption(), "{name}: {error}");
        assert!(
            verify(&damaged).findings.iter().any(|f| f.severity == Severity::Damage && f.file == *name),
            "{name}"
        );
        repair(&damaged).unwrap();
        assert_repaired(&damaged, &due, &held(&storage, name), name);
    }
}

#[test]
fn a_renamed_segment_gets_its_name_back() {
    let storage = closed_log();
    let due = healthy(&storage);
    for name in segments(&storage) {
        for to in ["00000000000000000003.segment", "00000000000009999999.segment"] {
            let damaged = storage.snapshot().unwrap();
            damaged.rename(&name, to).unwrap();
            assert_told(&damaged, &[&name, to], &name);
            let report = repair(&damaged).unwrap();
            assert_eq!(report.lost_records, 0, "{name}");
            assert_repaired(&damaged, &due, &(0..0), &name);
        }
    }
}

#[test]
fn two_segments_that_changed_names_are_left_alone_and_named() {
    let storage = closed_log();
    let names = segments(&storage);
    let damaged = storage.snapshot().unwrap();
    let (a, b) = (content(&storage, &names[0]), content(&storage, &names[1]));
    write(&damaged, &names[0], &b);
    write(&damaged, &names[1], &a);
    assert_told(&damaged, &[&names[0], &names[1]], "swapped");
    let before = image(&damaged);
    let error = repair(&damaged).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains(&names[0]), "{error}");
    assert_eq!(image(&damaged), before);
}

#[test]
fn a_copy_of_a_segment_under_another_name_is_put_aside() {
    let storage = closed_log();
    let due = healthy(&storage);
    for name in segments(&storage) {
        let damaged = storage.snapshot().unwrap();
        let stray = "00000000000000000077.segment";
        copy(&damaged, &name, stray);
        assert_told(&damaged, &[stray], &name);
        let report = repair(&damaged).unwrap();
        assert_eq!((report.lost_records, report.kept_aside.len()), (0, 1), "{name}");
        assert_repaired(&damaged, &due, &(0..0), &name);
    }
}

#[test]
fn a_segment_written_over_by_another_one_is_lost_and_no_other() {
    let storage = closed_log();
    let due = healthy(&storage);
    let names = segments(&storage);
    let damaged = storage.snapshot().unwrap();
    copy(&damaged, &names[0], &names[1]);
    assert_told(&damaged, &[&names[1]], "written over");
    repair(&damaged).unwrap();
    assert_repaired(&damaged, &due, &held(&storage, &names[1]), "written over");
}

#[test]
fn an_empty_or_zeroed_segment_is_named_and_its_place_is_kept() {
    for storage in [closed_log(), crashed_log()] {
        let due = healthy(&storage);
        let all_segments = segments(&storage);
        for name in &all_segments[..all_segments.len() - 1] {
            for zeroed in [false, true] {
                let damaged = storage.snapshot().unwrap();
                let len = size(&damaged, name);
                truncate(&damaged, name, 0);
                truncate(&damaged, name, if zeroed { len } else { 0 });
                assert_told(&damaged, &[name], name);
                repair(&damaged).unwrap();
                assert_repaired(&damaged, &due, &held(&storage, name), name);
            }
        }
    }
}

#[test]
fn a_segment_without_a_header_behind_the_last_record_is_replaced() {
    for storage in [closed_log(), crashed_log()] {
        let due = healthy(&storage);
        let name = format!("{:020}.segment", due.len() + 1);
        for bytes in [Vec::new(), vec![0; 4096], vec![7; 9000]] {
            let damaged = storage.snapshot().unwrap();
            write(&damaged, &name, &bytes);
            let error = open(&damaged.snapshot().unwrap()).map(|_| ()).unwrap_err();
            assert!(error.is_corruption() && error.to_string().contains(&name), "{error}");
            assert!(found(&verify(&damaged), &name, 0..1));
            assert_eq!(repair(&damaged).unwrap().lost_records, 0);
            assert_repaired(&damaged, &due, &(0..0), &name);
        }
    }
}

#[test]
fn a_segment_of_another_log_is_put_aside() {
    let storage = closed_log();
    let due = healthy(&storage);
    // Another storage gives another log id once its numbers differ.
    let other = MemoryStorage::new();
    other.random();
    let log = open(&other).unwrap();
    fill(&log, 0..20);
    log.close().unwrap();
    let foreign = segments(&other).remove(0);
    for name in segments(&storage) {
        let damaged = storage.snapshot().unwrap();
        write(&damaged, &name, &content(&other, &foreign));
        assert_told(&damaged, &[&name], &name);
        let report = repair(&damaged).unwrap();
        assert_eq!(report.kept_aside.len(), 1, "{name}");
        assert_repaired(&damaged, &due, &held(&storage, &name), &name);
    }
}

#[test]
fn a_checkpoint_of_another_log_is_told_of() {
    let storage = closed_log();
    let due = healthy(&storage);
    let other = MemoryStorage::new();
    other.random();
    let log = open(&other).unwrap();
    fill(&log, 0..60);
    log.close().unwrap();
    for name in ["checkpoint-0", "checkpoint-1"] {
        let damaged = storage.snapshot().unwrap();
        write(&damaged, name, &content(&other, name));
        let report = verify(&damaged);
        assert!(found(&report, name, 0..200), "{:#?}", report.findings);
        repair(&damaged).unwrap();
        assert_repaired(&damaged, &due, &(0..0), name);
    }
}

#[test]
fn a_segment_of_a_newer_version_is_left_alone() {
    let storage = closed_log();
    for name in segments(&storage) {
        let damaged = storage.snapshot().unwrap();
        flip_bit(&damaged, &name, 8 * 8 + 1);
        // Another version has another checksum; with version 1's it would be a flipped bit.
        flip_bit(&damaged, &name, 12 * 8);
        assert_told(&damaged, &[&name], &name);
        let before = image(&damaged);
        let error = repair(&damaged).unwrap_err();
        assert!(matches!(&error, Error::Version { file, .. } if *file == name), "{error}");
        assert_eq!(image(&damaged), before);
    }
}

#[test]
fn damaged_and_missing_checkpoints_cost_a_longer_scan_and_nothing_else() {
    for storage in [closed_log(), crashed_log()] {
        let due = healthy(&storage);
        let (a, b) = ("checkpoint-0", "checkpoint-1");
        for (damage, which) in [
            (true, vec![a]),
            (true, vec![b]),
            (true, vec![a, b]),
            (false, vec![a]),
            (false, vec![b]),
            (false, vec![a, b]),
        ] {
            let damaged = storage.snapshot().unwrap();
            for name in &which {
                if damage { truncate(&damaged, name, 40) } else { damaged.remove(name).unwrap() }
            }
            let report = verify(&damaged);
            assert_eq!(report.is_clean(), !damage, "{which:?}: {:#?}", report.findings);
            assert!(report.findings.iter().all(|finding| finding.severity < Severity::Damage), "{which:?}");
            assert_eq!(all(&open(&damaged.snapshot().unwrap()).unwrap()), due, "{which:?}");
            let actions = repair(&damaged).unwrap().actions;
            assert_eq!(actions.len(), if damage { which.len() } else { 0 }, "{actions:?}");
            assert_repaired(&damaged, &due, &(0..0), &format!("{which:?}"));
        }
    }
}

#[test]
fn damaged_missing_and_stale_indexes_cost_no_record() {
    let storage = closed_log();
    let due = healthy(&storage);
    let indexes = names(&storage, ".index");
    assert!(indexes.len() >= 3);
    for name in &indexes {
        let damaged = storage.snapshot().unwrap();
        truncate(&damaged, name, size(&storage, name) - 8);
        let report = verify(&damaged);
        assert!(
            found(&report, name, 0..1_000_000)
                && report.findings.iter().all(|f| f.severity < Severity::Damage)
        );
        assert_eq!(all(&open(&damaged.snapshot().unwrap()).unwrap()), due);
        let report = repair(&damaged).unwrap();
        assert_eq!(report.actions.len(), 1, "{:?}", report.actions);
        assert_eq!(content(&damaged, name), content(&storage, name), "made again as it was");
        assert_repaired(&damaged, &due, &(0..0), name);

        let damaged = storage.snapshot().unwrap();
        damaged.remove(name).unwrap();
        assert!(verify(&damaged).is_clean());
        assert_repaired(&damaged, &due, &(0..0), name);
    }
    // An index of another segment, and one of an earlier life.
    let damaged = storage.snapshot().unwrap();
    copy(&damaged, &indexes[0], &indexes[1]);
    let report = verify(&damaged);
    assert!(report.is_clean() && report.findings.iter().any(|finding| finding.file == indexes[1]));
    assert_repaired(&damaged, &due, &(0..0), "stale index");
}

#[test]
fn what_is_not_ours_is_left_alone_and_told_of() {
    let storage = closed_log();
    let due = healthy(&storage);
    write(&storage, "notes.txt", b"somebody else's");
    write(&storage, "00000000000000000001.segment.tmp", b"half made");
    let report = verify(&storage);
    assert!(report.is_clean());
    assert!(report.findings.iter().any(|finding| finding.file == "notes.txt"));
    flip_bit(&storage, &segments(&storage)[0], 4096 * 8);
    repair(&storage).unwrap();
    assert_eq!(content(&storage, "notes.txt"), b"somebody else's");
    let hit = frames(&closed_log())[0].seqs.clone();
    assert_repaired(&storage, &due, &hit, "with a foreign file");

    let foreign = MemoryStorage::new();
    write(&foreign, "notes.txt", b"somebody else's");
    for error in [check::verify(&foreign, &mut |_| {}).map(|_| ()), repair(&foreign).map(|_| ())] {
        assert!(matches!(error, Err(Error::NotALog { .. })), "{error:?}");
    }
    assert_eq!(names(&foreign, ""), ["notes.txt"]);
}

/// Others lock their directories by a file of that name too.
#[test]
fn a_directory_of_somebody_else_who_has_a_lock_file_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("LOCK"), "theirs").unwrap();
    std::fs::write(dir.path().join("MANIFEST-000001"), "theirs").unwrap();
    let opened = options().open(dir.path());
    assert!(matches!(opened, Err(Error::NotALog { .. })), "{opened:?}");
    assert_eq!(std::fs::read(dir.path().join("LOCK")).unwrap(), b"theirs");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// The lock file is written to: not through a link, even in a directory that is a log for sure.
#[test]
fn a_lock_file_that_is_a_link_is_named_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, theirs) = (dir.path().join("log"), dir.path().join("theirs"));
    options().open(&log).unwrap().append(damage_support::stream(1), &stratalog::Batch::one(b"a")).unwrap();
    assert!(log.join("checkpoint-0").exists() || log.join("checkpoint-1").exists());
    std::fs::write(&theirs, "precious").unwrap();
    std::fs::remove_file(log.join("LOCK")).unwrap();
    std::os::unix::fs::symlink(&theirs, log.join("LOCK")).unwrap();
    let error = options().open(&log).unwrap_err();
    assert!(error.to_string().contains("LOCK"), "{error}");
    assert_eq!(std::fs::read(&theirs).unwrap(), b"precious");
}

#[test]
fn a_directory_or_a_link_in_place_of_a_file_is_named() {
    let storage = closed_log();
    for entry in storage.list().unwrap() {
        for link in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in image(&storage) {
                std::fs::write(dir.path().join(name), bytes).unwrap();
            }
            let path = dir.path().join(&entry.name);
            std::fs::remove_file(&path).unwrap();
            if link {
                std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
            } else {
                std::fs::create_dir(&path).unwrap();
            }
            let error = options().open(dir.path()).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(&entry.name), "{error}");
            let disk: Arc<dyn Storage> = Arc::new(DiskStorage::existing(dir.path()).unwrap());
            let report = check::verify(disk.as_ref(), &mut |_| {}).unwrap();
            assert!(
                !report.is_clean()
                    && report.findings.iter().any(|f| f.file == entry.name && f.severity == Severity::Damage)
            );
            let error = check::repair(disk).unwrap_err();
            assert!(error.to_string().contains(&entry.name), "{error}");
        }
    }
}

#[test]
fn verify_and_repair_work_in_a_real_directory() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    fill(&log, 0..66);
    let due = all(&log);
    let disk: Arc<dyn Storage> = Arc::new(DiskStorage::existing(dir.path()).unwrap());
    // Beside the live writer, nothing is wrong.
    let report = check::verify(disk.as_ref(), &mut |_| {}).unwrap();
    assert!(report.is_clean() && report.records == due.len() as u64, "{:#?}", report.findings);
    assert!(matches!(check::repair(Arc::clone(&disk)), Err(Error::Locked { .. })));
    log.close().unwrap();
    let place = frames(disk.as_ref()).into_iter().nth(20).unwrap();
    flip_bit(disk.as_ref(), &place.file, place.records[0].start * 8);
    let (mut last, mut steps) = (0, 0);
    let report = check::verify(disk.as_ref(), &mut |progress| {
        assert!(progress.done >= last && progress.done <= progress.total, "{progress:?}");
        (last, steps) = (progress.done, steps + 1);
    })
    .unwrap();
    assert!(!report.is_clean() && steps > 3 && last == report.bytes, "{last} of {}", report.bytes);
    let plan = check::plan_repair(Arc::clone(&disk)).unwrap();
    assert!(!check::verify(disk.as_ref(), &mut |_| {}).unwrap().is_clean(), "a plan changes nothing");
    let report = check::repair(Arc::clone(&disk)).unwrap();
    assert_eq!(
        (&plan.actions, &plan.kept_aside, plan.lost_records),
        (&report.actions, &report.kept_aside, 1)
    );
    let log = options().open(dir.path()).unwrap();
    let reading = Reading::of(log.reader(..).unwrap());
    assert!(matches!(reading.errors[..], [Error::Gone { .. }]), "{:?}", reading.errors);
    assert_eq!(reading.records.len(), due.len() - 1);
    append(&log, 500);
    log.close().unwrap();
    assert!(check::verify(disk.as_ref(), &mut |_| {}).unwrap().is_clean());
}
