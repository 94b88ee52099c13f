//! A repair that is cut off anywhere and run again comes to the same end; without damage it
//! changes nothing.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use damage_support::{
    Reading, all, append, assert_repaired, closed_log, crashed_log, fill, flip_bit, frames, image, names,
    open, repair, segments, stream, verify, zero_range,
};
use stratalog::check;
use stratalog::storage::{Access, DirectoryEntry, Mapping, MemoryStorage, Storage, StorageFile, StorageLock};
use stratalog::{Batch, Record};

/// Carries out so many changes, and from then on nothing any more.
#[derive(Debug)]
struct CutOff {
    inner: MemoryStorage,
    left: Arc<AtomicU64>,
}

fn change(left: &AtomicU64) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("the power is off"))
}

impl Storage for CutOff {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn lock(&self) -> stratalog::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }
    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        change(&self.left)?;
        Ok(Arc::new(CutOffFile { inner: self.inner.create(name, len)?, left: Arc::clone(&self.left) }))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CutOffFile { inner: self.inner.open(name, access)?, left: Arc::clone(&self.left) }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        change(&self.left)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        change(&self.left)?;
        self.inner.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        change(&self.left)?;
        self.inner.sync_directory()
    }
    fn unix_micros(&self) -> i64 {
        self.inner.unix_micros()
    }
    fn random(&self) -> u64 {
        self.inner.random()
    }
}

#[derive(Debug)]
struct CutOffFile {
    inner: Arc<dyn StorageFile>,
    left: Arc<AtomicU64>,
}

impl StorageFile for CutOffFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Err(error) = change(&self.left) {
            // The last write is torn.
            self.inner.write_at(&bytes[..bytes.len() / 2], position)?;
            return Err(error);
        }
        self.inner.write_at(bytes, position)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        change(&self.left)?;
        self.inner.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        change(&self.left)?;
        self.inner.sync()
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.inner.map(len)
    }
}

/// Repairs with the power cut after each change in turn, then again without.
fn cut_off_everywhere(damaged: &MemoryStorage, due: &[Record], hit: &std::ops::Range<u64>, what: &str) {
    let whole = damaged.snapshot().unwrap();
    let expected = repair(&whole).unwrap();
    assert_repaired(&whole, due, hit, what);
    for changes in 0.. {
        let what = format!("{what}, cut off after {changes} changes");
        let storage = damaged.snapshot().unwrap();
        let left = Arc::new(AtomicU64::new(changes));
        let outcome = check::repair(Arc::new(CutOff { inner: storage.clone(), left }));
        // In between, whatever can be opened shows every record that was not hit, or an error.
        if let Ok(log) = open(&storage.snapshot().unwrap()) {
            let reading = Reading::of(log.reader(..).unwrap());
            let left: Vec<&Record> = due.iter().filter(|record| !hit.contains(&record.seq_id.0)).collect();
            if reading.errors.is_empty() {
                assert_eq!(reading.records.iter().collect::<Vec<_>>(), left, "{what}");
            }
            assert!(reading.records.iter().all(|record| left.contains(&record)), "{what}");
        }
        let again = storage.snapshot().unwrap();
        let report = repair(&again).unwrap();
        assert!(outcome.is_err() || report.actions.is_empty(), "{what}: {:?}", report.actions);
        assert_eq!(report.last_seq_id, expected.last_seq_id, "{what}");
        for kept in &expected.kept_aside {
            assert!(again.open(kept, Access::Read).is_ok(), "{what}: {kept} is gone");
        }
        assert_repaired(&again, due, hit, &what);
        if outcome.is_ok() {
            assert!(changes > 10, "{what}");
            return;
        }
    }
}

#[test]
fn a_repair_cut_off_anywhere_and_run_again_comes_to_the_same_end() {
    let storage = closed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let place = frames(&storage).into_iter().find(|frame| frame.records.len() > 4).unwrap();
    let damaged = storage.snapshot().unwrap();
    flip_bit(&damaged, &place.file, place.records[2].start * 8);
    cut_off_everywhere(&damaged, &due, &place.hit(place.records[2].start), "a record");

    let damaged = storage.snapshot().unwrap();
    let missing = segments(&storage)[1].clone();
    let held = frames(&storage).into_iter().filter(|frame| frame.file == missing && !frame.seqs.is_empty());
    let held: Vec<u64> = held.flat_map(|frame| frame.seqs).collect();
    damaged.remove(&missing).unwrap();
    cut_off_everywhere(&damaged, &due, &(held[0]..held[held.len() - 1] + 1), "a missing segment");

    let damaged = storage.snapshot().unwrap();
    for name in segments(&storage) {
        zero_range(&damaged, &name, 0..128);
    }
    cut_off_everywhere(&damaged, &due, &(0..0), "all headers");

    let damaged = storage.snapshot().unwrap();
    damaged.rename(&missing, "00000000000000000007.segment").unwrap();
    flip_bit(&damaged, &place.file, place.records[2].start * 8);
    cut_off_everywhere(&damaged, &due, &place.hit(place.records[2].start), "a renamed segment and a record");
}

#[test]
fn a_repair_of_a_crashed_log_settles_its_end_too() {
    let storage = crashed_log();
    let due = all(&open(&storage.snapshot().unwrap()).unwrap());
    let frames = frames(&storage);
    // Behind the last checkpoint, so that nothing but later frames tells that it was durable.
    let place = frames.iter().rev().nth(4).unwrap();
    let damaged = storage.snapshot().unwrap();
    flip_bit(&damaged, &place.file, place.start * 8 + 70);
    let last = frames.last().unwrap();
    cut_off_everywhere(&damaged, &due, &place.seqs, "behind the checkpoint");

    // And with a torn end behind it.
    flip_bit(&damaged, &last.file, last.end * 8 - 1);
    let rest = &due[..last.seqs.start as usize - 1];
    cut_off_everywhere(&damaged, rest, &place.seqs, "with a torn end");
}

#[test]
fn without_damage_nothing_is_changed() {
    for storage in [closed_log(), crashed_log()] {
        let before = image(&storage);
        for report in [check::plan_repair(Arc::new(storage.clone())).unwrap(), repair(&storage).unwrap()] {
            assert!(report.actions.is_empty() && report.kept_aside.is_empty(), "{report:#?}");
        }
        assert_eq!(image(&storage), before);
    }
}

#[test]
fn a_plan_says_what_the_repair_does_and_changes_nothing() {
    let storage = closed_log();
    let place = frames(&storage).into_iter().nth(9).unwrap();
    flip_bit(&storage, &place.file, place.start * 8 + 77);
    let before = image(&storage);
    let plan = check::plan_repair(Arc::new(storage.clone())).unwrap();
    assert_eq!(image(&storage), before);
    let report = repair(&storage).unwrap();
    assert_eq!(plan.actions, report.actions);
    assert_eq!((plan.lost, plan.kept_aside), (report.lost, report.kept_aside.clone()));
    // The original is kept, to the byte.
    let kept = image(&storage).remove(&report.kept_aside[0]).unwrap();
    assert_eq!(kept, before[&place.file]);
}

#[test]
fn a_log_can_be_damaged_and_repaired_again_and_again() {
    let mut storage = closed_log();
    let mut lost = 0;
    for round in 0..6u64 {
        let places: Vec<_> = frames(&storage).into_iter().filter(|frame| !frame.seqs.is_empty()).collect();
        let place = &places[(round as usize * 31) % places.len()];
        flip_bit(&storage, &place.file, place.start * 8 + 90);
        lost += place.seqs.end - place.seqs.start;
        let before = Reading::of(open(&storage.snapshot().unwrap()).unwrap().reader(..).unwrap()).records;
        let report = repair(&storage).unwrap();
        // Next to what an earlier repair cut out, the two can't be told apart.
        assert!(report.lost_records >= place.seqs.end - place.seqs.start, "round {round}: {report:#?}");
        assert!(verify(&storage).is_clean(), "round {round}");
        let log = open(&storage).unwrap();
        assert_eq!(Reading::of(log.reader(..).unwrap()).records, before, "round {round}");
        fill(&log, round * 100..round * 100 + 8);
        assert_eq!(log.committed().0, verify(&storage).records + lost, "round {round}");
        // Now closed, now not.
        if round % 2 == 0 {
            log.close().unwrap();
        }
        storage = storage.snapshot().unwrap();
    }
    assert!(names(&storage, ".aside").len() >= 6);
}

#[test]
fn log_offsets_are_not_reused_where_nobody_knows_whose_records_were_lost() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    for n in 0..9 {
        append(&log, n);
    }
    // The only record of its stream, and the last ones of another; then one that witnesses them.
    let only = log.append(stream(80), &Batch::one(b"alone")).unwrap();
    let last = log.append(stream(0), &Batch::one(b"the last")).unwrap();
    append(&log, 2);
    append(&log, 2);
    let due = all(&log);
    let storage = storage.snapshot().unwrap();
    let frames = frames(&storage);
    let of = |seq: u64| frames.iter().find(|frame| frame.seqs.contains(&seq)).unwrap();
    let (a, b) = (of(only.first_seq_id.0), of(last.first_seq_id.0));
    // Nothing is left of both, not even whose they were.
    zero_range(&storage, &a.file, a.start..b.end);
    let report = repair(&storage).unwrap();
    assert_eq!(report.lost_records, 2);
    let left: Vec<Record> = due
        .iter()
        .filter(|r| !(a.seqs.contains(&r.seq_id.0) || b.seqs.contains(&r.seq_id.0)))
        .cloned()
        .collect();
    let log = open(&storage).unwrap();
    assert_eq!(Reading::of(log.reader(..).unwrap()).records, left);
    let again = log.append(stream(0), &Batch::one(b"a new one")).unwrap();
    assert!(again.first_log_offset > last.first_log_offset, "{again:?} after {last:?}");
    assert!(log.record_at(stream(0), last.first_log_offset).is_err());
    log.close().unwrap();
    assert!(verify(&storage).is_clean());
    // A log of which the checkpoints are gone as well is scanned from its start.
    for name in ["checkpoint-0", "checkpoint-1"] {
        storage.remove(name).unwrap();
    }
    let log = open(&storage).unwrap();
    assert_eq!(Reading::of(log.reader(..).unwrap()).records.len(), left.len() + 1);
    assert_eq!(
        log.append(stream(0), &Batch::one(b"x")).unwrap().first_log_offset.0,
        again.first_log_offset.0 + 1
    );
}
