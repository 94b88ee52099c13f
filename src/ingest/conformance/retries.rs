//! A submit whose outcome nobody learnt can be tried again.

use super::ensure::{ensure_eq, ensure_refused};
use super::samples::{collection, records, replay};
use super::{Backend, Checked};
use crate::error::Error;
use crate::ids::{LogOffset, ProducerId, SeqId};
use crate::ingest::{Condition, Ingest, OperationRecord, SubmitTerms};

const PRODUCER: ProducerId = ProducerId::from_u128(0x5eed);

fn of(producer: ProducerId, sequence: u64) -> SubmitTerms {
    SubmitTerms::new().producer(producer, sequence)
}

fn stored(ingest: &dyn Ingest) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    Ok(replay(ingest, collection(1), SeqId(0))?.len())
}

pub(super) fn a_retry_returns_the_first_result_and_writes_nothing(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for sequence in [1, 2, 7] {
        let first = ingest.submit_with(collection(1), &records(0..3), &of(PRODUCER, sequence))?;
        ingest.submit_embeddings(collection(2), &records(0..1))?;
        let newest = ingest.status()?.newest_seq_id;
        for _ in 0..2 {
            let again = ingest.submit_with(collection(1), &records(0..3), &of(PRODUCER, sequence))?;
            ensure_eq!(again, first, "SeqIds of the retry of {sequence}");
        }
        let awaited = ingest.submit_async(collection(1), &records(0..3), &of(PRODUCER, sequence))?.wait()?;
        ensure_eq!(awaited, first, "SeqIds of the retry of {sequence}, awaited");
        ensure_eq!(ingest.status()?.newest_seq_id, newest, "the newest SeqId");
    }
    ensure_eq!(stored(&*ingest)?, 9, "records stored");
    Ok(())
}

pub(super) fn a_retry_after_a_restart_returns_the_first_result(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_with(collection(1), &records(0..2), &of(PRODUCER, 1))?;
    let first = ingest.submit_with(collection(1), &records(2..5), &of(PRODUCER, 2))?;
    ingest.submit_embeddings(collection(1), &records(5..6))?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    let again = ingest.submit_with(collection(1), &records(2..5), &of(PRODUCER, 2))?;
    ensure_eq!(again, first, "SeqIds of the retry");
    ensure_eq!(stored(&*ingest)?, 6, "records stored");
    let third = ingest.submit_with(collection(1), &records(6..7), &of(PRODUCER, 3))?;
    ensure_eq!(third.len(), 1, "SeqIds of the next batch");
    ensure_eq!(stored(&*ingest)?, 7, "records stored then");
    Ok(())
}

pub(super) fn an_older_sequence_is_refused(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_with(collection(1), &records(0..1), &of(PRODUCER, 5))?;
    for old in [0, 4] {
        ensure_refused!(
            ingest.submit_with(collection(1), &records(0..1), &of(PRODUCER, old)),
            Error::OldSequence { producer: PRODUCER, last: 5, found } if found == old,
            "sequence {old} after 5"
        );
    }
    ensure_eq!(stored(&*ingest)?, 1, "records stored");
    Ok(())
}

pub(super) fn producers_count_apart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let mut first = Vec::new();
    for n in 0..5 {
        first.push(ingest.submit_with(collection(1), &records(0..2), &of(ProducerId::from_u128(n), 1))?);
    }
    for (n, first) in (0..).zip(first) {
        let again = ingest.submit_with(collection(1), &records(0..2), &of(ProducerId::from_u128(n), 1))?;
        ensure_eq!(again, first, "SeqIds of the retry of producer {n}");
    }
    ensure_eq!(stored(&*ingest)?, 10, "records stored");
    Ok(())
}

pub(super) fn a_retry_of_a_conditional_submit_returns_the_first_result(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let batch = [OperationRecord::upsert("a")];
    let next = Condition::NextOffset(LogOffset(1));
    let none = Condition::NoneWritten { ids: vec!["a".into()], since: LogOffset(1) };
    for (sequence, condition) in [(1, next), (2, none)] {
        let terms = of(PRODUCER, sequence).condition(condition);
        let first = ingest.submit_with(collection(1), &batch, &terms)?;
        // By now the condition no longer holds: its own first try has seen to that.
        ensure_eq!(ingest.submit_with(collection(1), &batch, &terms)?, first, "SeqIds of retry {sequence}");
        let awaited = ingest.submit_async(collection(1), &batch, &terms)?.wait()?;
        ensure_eq!(awaited, first, "SeqIds of retry {sequence}, awaited");
    }
    ensure_eq!(stored(&*ingest)?, 2, "records stored");
    Ok(())
}
