//! Opens what a crash left and compares it with what was said before.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use stratalog::check::{self, Severity};
use stratalog::storage::{DiskStorage, Storage};
use stratalog::{Error, Log};

use crate::history::{Known, Span};
use crate::load::{self, CURSOR, STREAMS};
use crate::payload::{self, BatchName, RecordName};

/// The streams of the loads, and one that the judge appends to.
const JUDGES_STREAM: u64 = 1;
const JUDGES_PRODUCER: u64 = u64::MAX;

/// What was found wrong, and how much was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    /// Promises broken.
    pub(crate) wrong: Vec<String>,
    /// What `check::verify` calls damage.
    pub(crate) unclean: Vec<String>,
    pub(crate) records: u64,
    pub(crate) torn: bool,
    pub(crate) rewritten: u64,
}

impl Verdict {
    // One defect can hit thousands of records; a few say enough.

    fn accuse(&mut self, what: impl Into<String>) {
        if self.wrong.len() < 8 {
            self.wrong.push(what.into());
        }
    }

    fn unclean(&mut self, what: String) {
        if self.unclean.len() < 4 {
            self.unclean.push(what);
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.unclean.is_empty()
    }
}

/// Looks at a log as a crash left it, opens it, compares, appends, closes it and looks again.
///
/// # Errors
/// Of the judge itself. What the log does wrong is in the verdict.
pub(crate) fn judge(directory: &Path, known: &Known) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    if directory.is_dir() {
        verify(directory, "before recovery", known, &mut verdict)?;
    } else if known.opened {
        verdict.accuse("the directory of the log is gone");
    }
    match load::options(1 << 20).open(directory) {
        Ok(log) => {
            let report = log.recovery();
            (verdict.torn, verdict.rewritten) = (report.torn.is_some(), report.rewritten_records);
            compare(&log, known, &mut verdict);
            let last = append(&log, known, &mut verdict);
            if let Err(error) = log.close() {
                verdict.accuse(format!("close after recovery: {error}"));
            }
            verify(directory, "after recovery", known, &mut verdict)?;
            reopen(directory, last, &mut verdict);
        }
        Err(error) => verdict.accuse(format!("open: {error}")),
    }
    Ok(verdict)
}

fn verify(directory: &Path, when: &str, known: &Known, verdict: &mut Verdict) -> Result<()> {
    let storage = DiskStorage::existing(directory).context("open the directory of the log")?;
    match check::verify(&storage, &mut |_| {}) {
        Ok(report) if report.is_clean() => {}
        Ok(report) => {
            let damage = report.findings.iter().filter(|finding| finding.severity != Severity::Note);
            damage.for_each(|finding| verdict.unclean(format!("verify {when}: {finding}")));
        }
        // It was cut off while it was being made: a file appears with the first append.
        Err(Error::NotALog { .. }) if known.acknowledged.is_empty() && storage.list()?.len() <= 1 => {}
        Err(error) => verdict.unclean(format!("verify {when}: {error}")),
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Found {
    name: RecordName,
    stream: u128,
    log_offset: u64,
}

fn compare(log: &Log, known: &Known, verdict: &mut Verdict) {
    let last = log.committed().0;
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    let reader = match log.reader(..) {
        Ok(reader) => reader,
        Err(error) => return verdict.accuse(format!("read: {error}")),
    };
    for record in reader {
        let record = match record {
            Ok(record) => record,
            Err(Error::Gone { .. }) => continue,
            Err(error) => return verdict.accuse(format!("read: {error}")),
        };
        match payload::recognise(&record.payload) {
            Ok(name) => {
                let (stream, log_offset) =
                    (u128::from_be_bytes(*record.stream.as_bytes()), record.log_offset.0);
                found.insert(record.seq_id.0, Found { name, stream, log_offset });
            }
            Err(error) => verdict.accuse(format!("SeqId {}: {error:#}", record.seq_id)),
        }
    }
    verdict.records = found.len() as u64;
    let purged = purge_points(log, known, verdict);
    cursors(log, known, verdict);
    acknowledged_is_there(&found, known, &purged, verdict);
    all_or_none(&found, known, &purged, verdict);
    in_order(&found, &purged, verdict);
    if last < known.seen {
        verdict.accuse(format!("lost: a reader had seen SeqId {}, the newest is {last}", known.seen));
    }
}

fn stream_id(stream: u128) -> stratalog::StreamId {
    stratalog::StreamId::from_u128(stream)
}

fn stands(what: &str, stream: u128, at: u64, span: Span, verdict: &mut Verdict) {
    if at < span.acknowledged {
        verdict.accuse(format!(
            "lost: {what} of stream {stream} stands at {at}, {} was acknowledged",
            span.acknowledged
        ));
    }
    if at > span.announced {
        verdict.accuse(format!(
            "{what} of stream {stream} stands at {at}, {} was the most asked for",
            span.announced
        ));
    }
}

/// How far each stream is purged.
fn purge_points(log: &Log, known: &Known, verdict: &mut Verdict) -> HashMap<u128, u64> {
    let mut purged = HashMap::new();
    for stream in (1..=STREAMS).map(u128::from) {
        let at = log.purge_point(stream_id(stream)).map_or(0, |point| point.seq_id.0);
        stands("the purge", stream, at, known.purges.get(&stream).copied().unwrap_or_default(), verdict);
        purged.insert(stream, at);
    }
    purged
}

fn cursors(log: &Log, known: &Known, verdict: &mut Verdict) {
    for stream in (1..=STREAMS).map(u128::from) {
        let at = log.cursor(stream_id(stream), CURSOR).map_or(0, |cursor| cursor.seq_id.0);
        stands("the cursor", stream, at, known.cursors.get(&stream).copied().unwrap_or_default(), verdict);
        if at > log.committed().0 {
            verdict.accuse(format!("the cursor of stream {stream} is ahead of the log: {at}"));
        }
    }
}

fn acknowledged_is_there(
    found: &BTreeMap<u64, Found>,
    known: &Known,
    purged: &HashMap<u128, u64>,
    verdict: &mut Verdict,
) {
    for (first_seq, acknowledged) in &known.acknowledged {
        let Some((count, stream)) = known.submitted.get(&acknowledged.batch).copied() else {
            verdict.accuse(format!("{:?} was acknowledged and never submitted", acknowledged.batch));
            continue;
        };
        let purged = purged.get(&stream).copied().unwrap_or(0);
        for place in 0..count {
            let seq = first_seq + u64::from(place);
            let expected = Found {
                name: RecordName { batch: acknowledged.batch, place, count },
                stream,
                log_offset: acknowledged.first_offset + u64::from(place),
            };
            match found.get(&seq) {
                None if seq <= purged => {}
                None => verdict.accuse(format!("lost: SeqId {seq}, {expected:?} was acknowledged")),
                Some(_) if seq <= purged => verdict.accuse(format!("SeqId {seq} was purged, and is read")),
                Some(found) => {
                    let same = (found.name, found.stream, found.log_offset)
                        == (expected.name, expected.stream, expected.log_offset);
                    if !same {
                        verdict.accuse(format!("lost: SeqId {seq}: expected {expected:?}, found {found:?}"));
                    }
                }
            }
        }
    }
}

/// Every batch was submitted, and is there once, whole but for what was purged of it.
fn all_or_none(
    found: &BTreeMap<u64, Found>,
    known: &Known,
    purged: &HashMap<u128, u64>,
    verdict: &mut Verdict,
) {
    let mut batches: HashMap<BatchName, Vec<(u64, Found)>> = HashMap::new();
    for (seq, record) in found {
        batches.entry(record.name.batch).or_default().push((*seq, *record));
    }
    for (batch, records) in batches {
        let Some((seq, one)) = records.first().copied() else { continue };
        let purged = purged.get(&one.stream).copied().unwrap_or(0);
        let first_seq = seq - u64::from(one.name.place);
        if known.submitted.get(&batch) != Some(&(one.name.count, one.stream)) {
            verdict.accuse(format!("{batch:?} at SeqId {seq} was never submitted like this"));
        }
        let expected = (0..one.name.count).filter(|place| first_seq + u64::from(*place) > purged);
        let there = records.iter().map(|(_, record)| record.name.place);
        if !expected.eq(there) {
            verdict.accuse(format!("{batch:?} at SeqId {first_seq} is there in part, or twice"));
        }
    }
}

/// Log_offsets of a stream are dense and ascend.
fn in_order(found: &BTreeMap<u64, Found>, purged: &HashMap<u128, u64>, verdict: &mut Verdict) {
    let mut next: HashMap<u128, u64> = HashMap::new();
    for (seq, record) in found {
        if let Some(expected) = next.insert(record.stream, record.log_offset + 1)
            && expected != record.log_offset
        {
            let Found { stream, log_offset, .. } = record;
            verdict.accuse(format!(
                "SeqId {seq}: expected log_offset {expected} of stream {stream}, found {log_offset}"
            ));
        }
        if purged.get(&record.stream).is_some_and(|purged| seq <= purged) {
            verdict.accuse(format!("SeqId {seq} was purged, and is read"));
        }
    }
}

/// Goes on where it was, with a number that nobody was given before. Gives the newest SeqId.
fn append(log: &Log, known: &Known, verdict: &mut Verdict) -> u64 {
    let batch = BatchName { producer: JUDGES_PRODUCER, number: 1 };
    match log.append(load::stream(JUDGES_STREAM), &payload::batch(batch, 2)) {
        Ok(appended) => {
            let given = known.acknowledged.last_key_value().map_or(0, |(first, acknowledged)| {
                let count = known.submitted.get(&acknowledged.batch).map_or(1, |(count, _)| *count);
                first + u64::from(count) - 1
            });
            if appended.first_seq_id.0 <= given {
                verdict.accuse(format!("SeqId {} was given twice", appended.first_seq_id));
            }
            appended.first_seq_id.0 + 1
        }
        Err(error) => {
            verdict.accuse(format!("append after recovery: {error}"));
            0
        }
    }
}

fn reopen(directory: &Path, last: u64, verdict: &mut Verdict) {
    match load::options(1 << 20).open(directory) {
        Ok(log) => {
            let found = log.reader(..).into_iter().flatten().filter_map(|record| record.ok()).last();
            let found = found.map_or(0, |record| record.seq_id.0);
            if found != last {
                verdict
                    .accuse(format!("opened again: expected SeqId {last} to be the newest, found {found}"));
            }
            if let Err(error) = log.close() {
                verdict.accuse(format!("close: {error}"));
            }
        }
        Err(error) => verdict.accuse(format!("open again: {error}")),
    }
}
