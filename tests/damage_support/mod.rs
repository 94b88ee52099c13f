//! Verbs for damage, and a log of which it is known what every byte is for.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use stratalog::check::{self, FrameKind, Inspected, Severity, VerifyReport};
use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Batch, Error, Log, LogOffset, Options, Record, SeqId, StreamId};

pub fn options() -> Options {
    Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10)
}

pub fn stream(n: u64) -> StreamId {
    StreamId::from_u128(u128::from(n) + 1)
}

pub fn open(storage: &MemoryStorage) -> stratalog::Result<Log> {
    options().open_storage(Arc::new(storage.clone()))
}

pub fn verify(storage: &dyn Storage) -> VerifyReport {
    check::verify(storage, &mut |_| {}).unwrap()
}

pub fn repair(storage: &MemoryStorage) -> stratalog::Result<check::RepairReport> {
    check::repair(Arc::new(storage.clone()))
}

pub fn payload(n: u64) -> Vec<u8> {
    let mut bytes = format!("record {n} ").into_bytes();
    bytes.resize(10 + (n as usize * 131) % 1_400, (n % 251) as u8);
    bytes
}

/// Appends batch number `n`: of 1 to 7 records, to one of five streams.
pub fn append(log: &Log, n: u64) {
    let mut batch = Batch::new();
    for k in 0..1 + (n * 5) % 7 {
        batch.push(&payload(n * 10 + k));
    }
    log.append(stream((n * 7) % 5), &batch).unwrap();
}

/// About three segments, several streams, batches of different sizes.
pub fn fill(log: &Log, batches: Range<u64>) {
    for n in batches {
        append(log, n);
        if n % 20 == 7 {
            log.checkpoint().unwrap();
        }
    }
}

pub const BATCHES: u64 = 66;

pub fn closed_log() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    fill(&log, 0..BATCHES);
    log.close().unwrap();
    storage.snapshot().unwrap()
}

/// What a crash of the process leaves, with the last batches behind the last checkpoint.
pub fn crashed_log() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    fill(&log, 0..BATCHES);
    storage.snapshot().unwrap()
}

pub fn names(storage: &dyn Storage, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

pub fn segments(storage: &dyn Storage) -> Vec<String> {
    names(storage, ".segment")
}

pub fn content(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = storage.open(name, Access::Read).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    let mut done = 0;
    while done < bytes.len() {
        let n = file.read_at(&mut bytes[done..], done as u64).unwrap();
        assert!(n > 0);
        done += n;
    }
    bytes
}

pub fn write(storage: &dyn Storage, name: &str, bytes: &[u8]) {
    storage.create(name, bytes.len() as u64).unwrap().write_at(bytes, 0).unwrap();
}

pub fn copy(storage: &dyn Storage, from: &str, to: &str) {
    write(storage, to, &content(storage, from));
}

/// Every file, by name.
pub fn image(storage: &dyn Storage) -> BTreeMap<String, Vec<u8>> {
    storage
        .list()
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name.clone(), content(storage, &entry.name)))
        .collect()
}

pub fn flip_bit(storage: &dyn Storage, name: &str, bit: u64) {
    let file = storage.open(name, Access::Write).unwrap();
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, bit / 8).unwrap(), 1);
    file.write_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
}

pub fn write_at(storage: &dyn Storage, name: &str, position: u64, bytes: &[u8]) {
    storage.open(name, Access::Write).unwrap().write_at(bytes, position).unwrap();
}

pub fn zero_range(storage: &dyn Storage, name: &str, range: Range<u64>) {
    let zeros = vec![0; (range.end - range.start) as usize];
    storage.open(name, Access::Write).unwrap().write_at(&zeros, range.start).unwrap();
}

pub fn truncate(storage: &dyn Storage, name: &str, len: u64) {
    storage.open(name, Access::Write).unwrap().set_len(len).unwrap();
}

pub fn size(storage: &dyn Storage, name: &str) -> u64 {
    storage.open(name, Access::Read).unwrap().size().unwrap()
}

/// A frame of a healthy log.
#[derive(Debug, Clone)]
pub struct FramePlace {
    pub file: String,
    pub start: u64,
    pub end: u64,
    /// SeqIds of its records.
    pub seqs: Range<u64>,
    /// Where each record begins.
    pub records: Vec<Range<u64>>,
}

impl FramePlace {
    /// SeqIds that damage to the byte at `position` hits.
    pub fn hit(&self, position: u64) -> Range<u64> {
        match self.records.iter().position(|record| record.contains(&position)) {
            Some(k) => self.seqs.start + k as u64..self.seqs.start + k as u64 + 1,
            None => self.seqs.clone(),
        }
    }
}

/// Every frame of a healthy log, in order.
pub fn frames(storage: &dyn Storage) -> Vec<FramePlace> {
    let mut frames = Vec::new();
    for file in segments(storage) {
        check::inspect(storage, &file, &mut |item| {
            if let Inspected::Frame(facts) = item {
                let count = facts.record_bytes.len() as u64;
                assert_eq!(facts.kind == FrameKind::Witness, count == 0);
                let note = u64::from(facts.note.is_some());
                let mut at = facts.position + 64 + 8 * (count + note);
                let records = facts.record_bytes.iter().map(|len| {
                    let start = at;
                    at += u64::from(*len).next_multiple_of(8);
                    start..at
                });
                let (start, first) = (facts.position, facts.first_seq_id.0);
                let records = records.collect();
                let seqs = first..first + count;
                frames.push(FramePlace {
                    file: file.clone(),
                    start,
                    end: start + facts.bytes,
                    seqs,
                    records,
                });
            }
            Ok(())
        })
        .unwrap();
    }
    frames
}

pub fn all(log: &Log) -> Vec<Record> {
    log.reader(..).unwrap().map(|record| record.unwrap()).collect()
}

/// Reads everything there is to read, in every way, past all errors.
pub struct Reading {
    pub records: Vec<Record>,
    pub errors: Vec<Error>,
}

impl Reading {
    pub fn of(reader: stratalog::Reader) -> Reading {
        let mut reading = Reading { records: Vec::new(), errors: Vec::new() };
        for item in reader {
            match item {
                Ok(record) => reading.records.push(record),
                Err(error) => reading.errors.push(error),
            }
            assert!(reading.errors.len() < 10_000, "reading never ends: {:?}", reading.errors.last());
        }
        reading
    }
}

/// Checks that a log which lost the SeqIds in `hit` shows all others as they were, by every way of
/// reading, and gives errors for those.
pub fn assert_only_lost(log: &Log, due: &[Record], hit: &Range<u64>, gone: bool, what: &str) {
    let left: Vec<&Record> = due.iter().filter(|record| !hit.contains(&record.seq_id.0)).collect();
    let reading = Reading::of(log.reader(..).unwrap());
    assert_eq!(reading.records.iter().collect::<Vec<_>>(), left, "{what}: reading all");
    assert!(hit.is_empty() || !reading.errors.is_empty(), "{what}: reading all shows no error");
    let expected =
        |error: &Error| if gone { matches!(error, Error::Gone { .. }) } else { error.is_corruption() };
    assert!(reading.errors.iter().all(expected), "{what}: {:?}", reading.errors);
    for n in 0..5 {
        let reading = Reading::of(log.stream_reader(stream(n), ..).unwrap());
        let left: Vec<&Record> = left.iter().copied().filter(|record| record.stream == stream(n)).collect();
        assert_eq!(reading.records.iter().collect::<Vec<_>>(), left, "{what}: reading stream {n}");
        let hit_here = due.iter().any(|record| record.stream == stream(n) && hit.contains(&record.seq_id.0));
        assert!(!hit_here || !reading.errors.is_empty(), "{what}: reading stream {n} shows no error");
        assert!(reading.errors.iter().all(expected), "{what}: {:?}", reading.errors);
    }
    let near = |record: &&Record| {
        record.seq_id.0.is_multiple_of(23)
            || (record.seq_id.0 + 9 >= hit.start && record.seq_id.0 < hit.end + 9)
    };
    for record in due.iter().filter(near) {
        let by_seq = log.record(record.seq_id);
        let by_offset = log.record_at(record.stream, record.log_offset);
        if hit.contains(&record.seq_id.0) {
            assert!(by_seq.as_ref().is_err_and(expected), "{what}: {} gives {by_seq:?}", record.seq_id);
            assert!(by_offset.as_ref().is_err_and(expected), "{what}: {} gives {by_offset:?}", record.seq_id);
        } else {
            assert_eq!(by_seq.unwrap().as_ref(), Some(record), "{what}: by SeqId");
            assert_eq!(by_offset.unwrap().as_ref(), Some(record), "{what}: by log_offset");
        }
    }
}

/// A finding that is more than a note, on this file, at a position in this range.
pub fn found(report: &VerifyReport, file: &str, range: Range<u64>) -> bool {
    report.findings.iter().any(|finding| {
        finding.severity > Severity::Note
            && finding.file == file
            && finding.position.is_none_or(|position| range.contains(&position))
    })
}

/// After a repair: everything but `hit` is as it was, the next numbers were never given out, and
/// there is nothing left to find.
pub fn assert_repaired(storage: &MemoryStorage, due: &[Record], hit: &Range<u64>, what: &str) {
    let report = verify(storage);
    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
    let log = open(storage).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_only_lost(&log, due, hit, true, what);
    for n in 0..5 {
        let appended = log.append(stream(n), &Batch::one(b"later")).unwrap();
        assert!(appended.first_seq_id.0 > due.len() as u64, "{what}: {appended:?}");
        let newest =
            due.iter().filter(|record| record.stream == stream(n)).map(|record| record.log_offset).max();
        assert!(appended.first_log_offset > newest.unwrap_or_default(), "{what}: stream {n} {appended:?}");
        let read = log.record_at(stream(n), appended.first_log_offset).unwrap().unwrap();
        assert_eq!((read.seq_id, &read.payload[..]), (appended.first_seq_id, &b"later"[..]), "{what}");
    }
    let next = SeqId(due.len() as u64 + 1);
    assert_eq!(log.reader(next..).unwrap().filter_map(Result::ok).count(), 5, "{what}");
    assert_eq!(log.record_at(stream(0), LogOffset(1_000_000)).unwrap(), None, "{what}");
    log.close().unwrap();
    let report = verify(storage);
    assert!(report.is_clean(), "{what}, after appends: {:#?}", report.findings);
}
