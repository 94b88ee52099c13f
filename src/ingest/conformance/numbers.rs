//! SeqIds and log_offsets are dense from 1 and never given out twice.

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, record, records, replay, seq_ids};
use super::{Backend, Checked};
use crate::ids::{LogOffset, SeqId};

pub(super) fn seq_ids_are_dense_from_1_over_all_collections(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let mut due = 1;
    for n in 0..30 {
        for seq_id in ingest.submit_embeddings(collection(n % 4), &records(0..1 + n % 3))? {
            ensure_eq!(seq_id, SeqId(due), "the next SeqId");
            due += 1;
        }
    }
    ensure_eq!(ingest.status()?.newest_seq_id, SeqId(due - 1), "the newest SeqId");
    Ok(())
}

pub(super) fn log_offsets_are_dense_from_1_in_each_collection(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 0..30 {
        ingest.submit_embeddings(collection(n % 3), &records(0..1 + n % 2))?;
        // Takes a SeqId, perhaps, and never a log_offset.
        ingest.advance_cursor(collection(n % 3), "reader", SeqId(n))?;
    }
    for n in 0..3 {
        let stored = replay(&*ingest, collection(n), SeqId(0))?;
        for (due, record) in (1..).zip(&stored) {
            ensure_eq!(record.log_offset, LogOffset(due), "log_offset of SeqId {}", record.seq_id);
        }
        ensure!(seq_ids(&stored).is_sorted_by(|a, b| a < b), "expected ascending SeqIds, found {stored:?}");
        ensure_eq!(stored.len(), 15, "records of collection {n}");
    }
    Ok(())
}

pub(super) fn numbers_go_on_after_a_restart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..3))?;
    ingest.submit_embeddings(collection(2), &records(0..2))?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    ensure_eq!(ingest.submit_embedding(collection(1), &record(3))?, SeqId(6), "the next SeqId");
    let stored = replay(&*ingest, collection(1), SeqId(5))?;
    ensure_eq!(stored.first().map(|r| r.log_offset), Some(LogOffset(4)), "the next log_offset");
    Ok(())
}

/// Deletes the newest records there are and returns their largest numbers.
fn delete_the_newest(
    backend: &mut dyn Backend,
) -> Result<(SeqId, LogOffset), Box<dyn std::error::Error + Send + Sync>> {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(2), &records(0..2))?;
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let newest = replay(&*ingest, collection(1), SeqId(0))?.pop().ok_or("expected records, found none")?;
    ingest.delete_log(collection(1))?;
    Ok((newest.seq_id, newest.log_offset))
}

fn ensure_later(backend: &dyn Backend, seq_id: SeqId, log_offset: LogOffset) -> Checked {
    let ingest = backend.ingest();
    let start = ingest.status()?.newest_seq_id;
    let next = ingest.submit_embedding(collection(1), &record(9))?;
    ensure!(next > seq_id, "expected a SeqId above {seq_id}, found {next}");
    let stored = replay(&*ingest, collection(1), start)?;
    let found = stored.first().map(|r| (r.seq_id, r.log_offset));
    ensure_eq!(found, Some((next, LogOffset(log_offset.0 + 1))), "numbers of the next record");
    Ok(())
}

pub(super) fn seq_ids_are_not_reused_after_a_delete(backend: &mut dyn Backend) -> Checked {
    let (seq_id, log_offset) = delete_the_newest(backend)?;
    ensure_later(backend, seq_id, log_offset)
}

pub(super) fn seq_ids_are_not_reused_after_a_delete_and_a_restart(backend: &mut dyn Backend) -> Checked {
    let (seq_id, log_offset) = delete_the_newest(backend)?;
    if backend.restart()?.is_none() {
        return Ok(());
    }
    ensure_later(backend, seq_id, log_offset)
}

pub(super) fn times_never_decrease(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 0..50 {
        ingest.submit_embedding(collection(1), &record(n))?;
    }
    let times: Vec<_> = replay(&*ingest, collection(1), SeqId(0))?.iter().map(|r| r.unix_micros).collect();
    ensure_eq!(times.len(), 50, "records");
    ensure!(times.is_sorted(), "expected times that never decrease, found {times:?}");
    Ok(())
}
