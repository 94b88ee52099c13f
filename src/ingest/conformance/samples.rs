//! Records and collections that the checks use, and reading a collection back.

use super::Checked;
use super::ensure::{ensure, ensure_eq};
use super::seen::{Fallible, Seen};
use crate::ids::{SeqId, StreamId};
use crate::ingest::{ConsumeOptions, Ingest, LogRecord, OperationRecord};

/// A collection of that number.
pub(super) fn collection(n: u64) -> StreamId {
    StreamId::from_u128(0xc011_0000_0000_4000_8000_0000_0000_0000 | u128::from(n))
}

/// A record that says which one it is.
pub(super) fn record(n: u64) -> OperationRecord {
    OperationRecord::upsert(format!("id {n}")).embedding([n as f32, -0.5]).metadata_entry("n", n as i64)
}

pub(super) fn records(numbers: std::ops::Range<u64>) -> Vec<OperationRecord> {
    numbers.map(record).collect()
}

/// What a collection holds from behind `start` to what is the newest SeqId now.
pub(super) fn replay(ingest: &dyn Ingest, from: StreamId, start: SeqId) -> Fallible<Vec<LogRecord>> {
    let newest = ingest.status()?.newest_seq_id;
    if start >= newest {
        return Ok(Vec::new());
    }
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(from, ConsumeOptions::new().start(start).end(newest), consume)?;
    seen.ended(ingest, &id)?;
    Ok(seen.so_far())
}

/// Submits records, gets them live, replays them, and compares all three.
pub(super) fn come_back(ingest: &dyn Ingest, submitted: &[OperationRecord]) -> Checked {
    let (consume, mut live) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    let seq_ids = ingest.submit_embeddings(collection(1), submitted)?;
    ensure_eq!(seq_ids.len(), submitted.len(), "SeqIds returned");
    let live = live.take(submitted.len())?;
    let replayed = replay(ingest, collection(1), SeqId(0))?;
    ensure_eq!(replayed.len(), submitted.len(), "records replayed");
    for (k, expected) in submitted.iter().enumerate() {
        for (way, found) in [("live", live.get(k)), ("replayed", replayed.get(k))] {
            let found = found.ok_or("a record is missing")?;
            ensure_eq!(found.seq_id, seq_ids[k], "SeqId of record {k}, {way}");
            ensure_eq!(&found.to_record(), expected, "record {k}, {way}");
        }
    }
    ensure!(live == replayed, "live and replayed records differ: {live:?} and {replayed:?}");
    Ok(())
}

pub(super) fn seq_ids(records: &[LogRecord]) -> Vec<SeqId> {
    records.iter().map(|record| record.seq_id).collect()
}

pub(super) fn ids(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| record.record.id().to_owned()).collect()
}
