//! What the log knows beside its records: verify finds damage to it, and a repair loses no more of
//! it than was hit, and claims nothing that was not said.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::ops::Range;

use damage_support::{content, flip_bit, names, open, payload, repair, segments, stream, verify, write};
use stratalog::check::{self, FrameFacts, FrameKind, Inspected, Severity};
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Cursor, Log, ProducerId, PurgePoint, Record, SeqId, Terms};

const PRODUCER: ProducerId = ProducerId::from_u128(0x77);

fn batch(log: &Log, of: u64, records: u64) -> SeqId {
    let mut batch = Batch::new();
    (0..records).for_each(|k| batch.push(&payload(k * 5 + 90)));
    let appended = log.append(stream(of), &batch).unwrap();
    SeqId(appended.first_seq_id.0 + records - 1)
}

fn lived(log: &Log) {
    lived_before(log);
    lived_after(log);
}

/// Segments that hold nothing any more were freed, at the front and in the middle; cursors, purges
/// and a producer are known, by a checkpoint and by the frames behind it.
fn lived_before(log: &Log) {
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
}

/// A freed segment, whose record both checkpoints have before them, and then one of each other kind
/// of control record, and a batch that says who appended it.
fn lived_after(log: &Log) {
    for _ in 0..30 {
        batch(log, 0, 9);
    }
    log.advance_cursor(stream(0), "reader", log.committed()).unwrap();
    log.purge_passed(stream(0)).unwrap().unwrap();
    let first = batch(log, 2, 3);
    let terms = Terms::new().producer(PRODUCER, 7);
    log.append_on(&terms, stream(2), &Batch::one(b"by a producer")).unwrap();
    let upto = batch(log, 0, 3);
    log.advance_cursor(stream(0), "reader", upto).unwrap();
    log.advance_cursor(stream(2), "gone", upto).unwrap();
    log.purge(stream(2), first).unwrap();
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
    let left = segments(&storage);
    assert!(left[0] > format!("{:020}.segment", 1), "{left:?}");
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

/// As the log knows them: cursors, purge points, records.
#[derive(Debug, PartialEq, Clone)]
struct Known {
    cursors: Vec<Cursor>,
    purged: Vec<Option<PurgePoint>>,
    records: Vec<Record>,
}

const STREAMS: u64 = 5;

fn known(storage: &MemoryStorage) -> Known {
    let log = open(storage).unwrap();
    let records = log.reader(..).unwrap().filter_map(Result::ok).collect();
    let purged = (0..STREAMS).map(|n| log.purge_point(stream(n))).collect();
    Known { cursors: log.cursors(), purged, records }
}

/// Nothing is claimed that was not said: cursors and purges stand where they stood or further back,
/// no purge is beyond a cursor, and every record that was live is there but for those that were hit.
fn assert_safe(now: &Known, before: &Known, hit: &Range<u64>, what: &str) {
    for cursor in &now.cursors {
        let same = |held: &&Cursor| (held.stream, &held.name) == (cursor.stream, &cursor.name);
        // One that was dropped may be back.
        let stood = before.cursors.iter().find(same).map_or(SeqId::MAX, |held| held.seq_id);
        assert!(cursor.seq_id <= stood, "{what}: {cursor:?} stood at {stood}");
    }
    for (n, (now_upto, upto)) in now.purged.iter().zip(&before.purged).enumerate() {
        assert!(now_upto <= upto, "{what}: stream {n} purged up to {now_upto:?}, before {upto:?}");
        let least = now.cursors.iter().filter(|cursor| cursor.stream == stream(n as u64));
        for cursor in least {
            assert!(now_upto.is_none_or(|upto| upto.seq_id <= cursor.seq_id), "{what}: {cursor:?}");
        }
    }
    for record in before.records.iter().filter(|record| !hit.contains(&record.seq_id.0)) {
        assert!(now.records.contains(record), "{what}: without {}", record.seq_id);
    }
}

fn closed() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    lived(&log);
    log.close().unwrap();
    storage.snapshot().unwrap()
}

/// A closed log whose checkpoints were taken before the last control records.
fn behind_old_checkpoints() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    lived(&log);
    let old = storage.snapshot().unwrap();
    log.close().unwrap();
    let storage = storage.snapshot().unwrap();
    for name in ["checkpoint-0", "checkpoint-1"] {
        copy_from(&old, &storage, name);
    }
    storage
}

fn copy_from(from: &MemoryStorage, to: &MemoryStorage, name: &str) {
    write(to, name, &content(from, name));
}

fn with_flipped<T>(storage: &MemoryStorage, name: &str, bit: u64, then: impl FnOnce() -> T) -> T {
    flip_bit(storage, name, bit);
    let outcome = then();
    flip_bit(storage, name, bit);
    outcome
}

/// The SeqId that the newest checkpoint says was due.
fn checkpointed(storage: &MemoryStorage) -> SeqId {
    let mut next = SeqId(0);
    for name in ["checkpoint-0", "checkpoint-1"] {
        check::inspect(storage, name, &mut |item| {
            if let Inspected::Checkpoint(facts) = item {
                next = next.max(facts.next_seq_id);
            }
            Ok(())
        })
        .unwrap();
    }
    next
}

/// Frames with control records or a note, and what bytes of them are about that.
fn control_frames(storage: &MemoryStorage) -> Vec<(String, FrameFacts)> {
    let mut frames = Vec::new();
    for file in segments(storage) {
        check::inspect(storage, &file, &mut |item| {
            if let Inspected::Frame(facts) = item
                && (facts.kind == FrameKind::Control || facts.note.is_some())
            {
                frames.push((file.clone(), facts));
            }
            Ok(())
        })
        .unwrap();
    }
    frames
}

#[test]
fn every_flipped_bit_of_a_control_record_or_a_note_is_found() {
    for (storage, what) in [(behind_old_checkpoints(), "behind a checkpoint"), (closed(), "before one")] {
        clean(&storage, what);
        for (file, facts) in control_frames(&storage) {
            for bit in (facts.position * 8)..(facts.position + facts.bytes) * 8 {
                let report = with_flipped(&storage, &file, bit, || verify(&storage));
                assert!(found_in(&report, &file, &facts), "bit {bit} of {file}, {what}: {facts:?}");
            }
        }
    }
}

fn found_in(report: &check::VerifyReport, file: &str, facts: &FrameFacts) -> bool {
    let frame = facts.position..facts.position + facts.bytes;
    report.findings.iter().any(|finding| {
        finding.severity == Severity::Damage
            && finding.file == file
            && finding.position.is_some_and(|position| frame.contains(&position))
    })
}

fn seqs(facts: &FrameFacts) -> Range<u64> {
    let first = facts.first_seq_id.0;
    first..first + facts.record_bytes.len() as u64
}

#[test]
fn a_damaged_control_record_moves_nothing_when_the_log_is_opened_or_repaired() {
    for storage in [behind_old_checkpoints(), closed()] {
        let passed = checkpointed(&storage);
        let before = known(&storage.snapshot().unwrap());
        for (n, (file, facts)) in control_frames(&storage).iter().enumerate() {
            let behind = facts.first_seq_id >= passed;
            for bit in (facts.position * 8 + n as u64 % 7..(facts.position + facts.bytes) * 8).step_by(7) {
                let what = format!("bit {bit} of {file}, behind a checkpoint {behind}, {:?}", facts.controls);
                let damaged = with_flipped(&storage, file, bit, || storage.snapshot().unwrap());
                if behind {
                    assert!(open(&damaged).is_err_and(|error| error.is_corruption()), "{what}");
                } else {
                    assert_eq!(known(&damaged.snapshot().unwrap()).cursors, before.cursors, "{what}");
                }
                let report = repair(&damaged).unwrap();
                clean(&damaged, &what);
                let now = known(&damaged);
                let hit = if facts.kind == FrameKind::Batch { seqs(facts) } else { 0..0 };
                assert_safe(&now, &before, &hit, &what);
                if !behind {
                    assert_eq!((&now.cursors, &now.purged), (&before.cursors, &before.purged), "{what}");
                } else if (&now.cursors, &now.purged) != (&before.cursors, &before.purged) {
                    let told =
                        report.actions.iter().any(|action| action.what.contains("lost control record"));
                    assert!(told, "{what}: {:#?}", report.actions);
                }
                goes_on(&damaged, &what, &before);
            }
        }
    }
}

/// The log can be appended to and purged, and every number it gives out is a new one.
fn goes_on(storage: &MemoryStorage, what: &str, before: &Known) {
    let log = open(storage).unwrap();
    let last = before.records.iter().map(|record| record.seq_id).max().unwrap();
    for n in 0..STREAMS {
        let newest = before.records.iter().filter(|record| record.stream == stream(n));
        let newest = newest.map(|record| record.log_offset).max().unwrap_or_default();
        let newest = newest.max(before.purged[n as usize].map(|upto| upto.log_offset).unwrap_or_default());
        let appended = log.append(stream(n), &Batch::one(b"later")).unwrap();
        assert!(
            appended.first_seq_id > last && appended.first_log_offset > newest,
            "{what}: {n} {appended:?}"
        );
    }
    let upto = log.committed();
    log.advance_cursor(stream(0), "reader", upto).unwrap();
    log.purge_passed(stream(0)).unwrap();
    log.close().unwrap();
    clean(storage, what);
}

#[test]
fn every_flipped_bit_of_what_a_checkpoint_knows_is_found_and_costs_nothing() {
    let storage = closed();
    let before = known(&storage.snapshot().unwrap());
    for name in ["checkpoint-0", "checkpoint-1"] {
        for bit in 0..content(&storage, name).len() as u64 * 8 {
            let report = with_flipped(&storage, name, bit, || verify(&storage));
            let found = report
                .findings
                .iter()
                .any(|finding| finding.file == name && finding.severity > Severity::Note);
            assert!(found, "bit {bit} of {name}: {:#?}", report.findings);
            if bit % 13 == 0 && !(64..96).contains(&bit) {
                let what = format!("bit {bit} of {name}");
                let damaged = with_flipped(&storage, name, bit, || storage.snapshot().unwrap());
                assert_eq!(known(&damaged.snapshot().unwrap()), before, "{what}, opened");
                repair(&damaged).unwrap();
                clean(&damaged, &what);
                assert_eq!(known(&damaged), before, "{what}, repaired");
            }
        }
    }
}

#[test]
fn a_segment_missing_outside_a_hole_is_damage_and_inside_one_it_is_not() {
    let storage = closed();
    let before = known(&storage.snapshot().unwrap());
    for name in segments(&storage) {
        let damaged = storage.snapshot().unwrap();
        damaged.remove(&name).unwrap();
        let report = verify(&damaged);
        let finding = report.findings.iter().find(|finding| finding.severity == Severity::Damage).unwrap();
        assert_eq!(finding.file, name);
        assert!(open(&damaged).is_err_and(|error| error.is_corruption()), "{name}");
        repair(&damaged).unwrap();
        clean(&damaged, &name);
        let now = known(&damaged);
        let base: u64 = name.split('.').next().unwrap().parse().unwrap();
        let next = segments(&storage).into_iter().find(|other| *other > name);
        let end = next.map_or(u64::MAX, |next| next.split('.').next().unwrap().parse().unwrap());
        assert_safe(&now, &before, &(base..end), &name);
        assert_eq!((&now.cursors, &now.purged), (&before.cursors, &before.purged), "{name}");
        goes_on(&damaged, &name, &before);
    }
}

#[test]
fn a_freed_segment_that_is_still_there_is_no_damage_and_goes_at_the_next_open() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    lived_before(&log);
    for _ in 0..30 {
        batch(&log, 0, 9);
    }
    let full = storage.snapshot().unwrap();
    log.advance_cursor(stream(0), "reader", log.committed()).unwrap();
    log.purge_passed(stream(0)).unwrap().unwrap();
    let freed: Vec<String> =
        segments(&full).into_iter().filter(|name| !segments(&storage).contains(name)).collect();
    assert!(!freed.is_empty());
    let crashed = storage.snapshot().unwrap();
    let before = known(&crashed.snapshot().unwrap());
    for name in &freed {
        copy_from(&full, &crashed, name);
    }
    let report = verify(&crashed);
    assert!(report.is_clean(), "{:#?}", report.findings);
    for name in &freed {
        assert!(report.findings.iter().any(|finding| finding.file == *name), "{:#?}", report.findings);
        // What can't be read in it is nobody's loss.
        flip_bit(&crashed, name, 5);
        assert!(verify(&crashed).is_clean());
    }
    assert_eq!(known(&crashed), before);
    assert!(segments(&crashed).iter().all(|name| !freed.contains(name)));
    clean(&crashed, "opened");
}

#[test]
fn a_truncated_segment_of_control_records_is_found() {
    let storage = closed();
    let before = known(&storage.snapshot().unwrap());
    let frames = control_frames(&storage);
    for (file, facts) in &frames {
        for cut in [0, 1, 63, 64, 100, facts.bytes - 1] {
            let what = format!("{file} cut at {} + {cut}, {:?}", facts.position, facts.controls);
            let damaged = storage.snapshot().unwrap();
            damage_support::truncate(&damaged, file, facts.position + cut);
            assert!(!verify(&damaged).is_clean(), "{what}");
            repair(&damaged).unwrap();
            clean(&damaged, &what);
            let next = frames_after(&storage, file);
            assert_safe(&known(&damaged), &before, &(facts.first_seq_id.0..next), &what);
        }
    }
}

/// Where the segment behind `file` begins.
fn frames_after(storage: &MemoryStorage, file: &str) -> u64 {
    let next = segments(storage).into_iter().find(|name| name.as_str() > file);
    next.map_or(u64::MAX, |name| name.split('.').next().unwrap().parse().unwrap())
}

#[test]
fn a_retry_is_known_after_a_repair() {
    let storage = closed();
    let note = control_frames(&storage).into_iter().find(|(_, facts)| facts.note.is_some()).unwrap();
    let first = open(&storage.snapshot().unwrap())
        .unwrap()
        .append_on(&Terms::new().producer(PRODUCER, 7), stream(2), &Batch::one(b"by a producer"))
        .unwrap();
    assert_eq!(first.first_seq_id, note.1.first_seq_id);
    // Damage elsewhere in the same segment: it is rewritten, and the note with it.
    for without_checkpoints in [false, true] {
        let damaged = storage.snapshot().unwrap();
        let other = control_frames(&damaged)
            .into_iter()
            .find(|(file, facts)| *file == note.0 && facts.note.is_none());
        let (file, facts) = other.unwrap();
        flip_bit(&damaged, &file, facts.position * 8 + 700);
        repair(&damaged).unwrap();
        assert!(control_frames(&damaged).iter().any(|(_, facts)| facts.note == note.1.note));
        if without_checkpoints {
            for name in ["checkpoint-0", "checkpoint-1"] {
                damaged.remove(name).unwrap();
            }
            assert!(open(&damaged).is_err());
            repair(&damaged).unwrap();
        }
        let log = open(&damaged).unwrap();
        let again = log
            .append_on(&Terms::new().producer(PRODUCER, 7), stream(2), &Batch::one(b"by a producer"))
            .unwrap();
        assert_eq!(again, first, "without checkpoints {without_checkpoints}");
    }
}

#[test]
fn without_any_checkpoint_a_repair_knows_what_the_frames_say() {
    let storage = closed();
    let before = known(&storage.snapshot().unwrap());
    for name in ["checkpoint-0", "checkpoint-1"] {
        storage.remove(name).unwrap();
    }
    assert!(!verify(&storage).is_clean());
    let report = repair(&storage).unwrap();
    clean(&storage, "repaired");
    let now = known(&storage);
    assert_safe(&now, &before, &(0..0), "without checkpoints");
    assert_eq!(
        now.cursors.iter().map(|cursor| &cursor.name).collect::<Vec<_>>(),
        ["reader", "slow"],
        "{:#?}",
        report.actions
    );
    assert!(
        report.actions.iter().any(|action| action.what.contains("lost control record")),
        "{:#?}",
        report.actions
    );
    goes_on(&storage, "without checkpoints", &before);
}
