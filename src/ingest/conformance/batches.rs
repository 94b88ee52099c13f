//! What is submitted is one batch: all of it or nothing, its SeqIds position by position.

use std::sync::Arc;
use std::thread;

use super::ensure::{ensure, ensure_eq, ensure_refused};
use super::samples::{collection, ids, record, records, replay, seq_ids};
use super::seen::Seen;
use super::{Backend, Checked};
use crate::error::Error;
use crate::ids::SeqId;
use crate::ingest::{ConsumeOptions, Encoding, OperationRecord, SubmitTerms};

pub(super) fn an_empty_batch_returns_nothing_and_writes_nothing(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ensure_eq!(ingest.submit_embeddings(collection(1), &[])?, [], "SeqIds of nothing");
    let terms = SubmitTerms::new();
    ensure_eq!(ingest.submit_async(collection(1), &[], &terms)?.wait()?, [], "SeqIds of nothing, awaited");
    ensure_eq!(ingest.status()?.newest_seq_id, SeqId(0), "the newest SeqId");
    ensure_eq!(ingest.submit_embedding(collection(1), &record(0))?, SeqId(1), "the first SeqId");
    Ok(())
}

pub(super) fn seq_ids_are_returned_position_by_position_also_with_duplicate_ids(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let names = ["a", "b", "a", "a", "c", "b"];
    let batch: Vec<_> =
        (0u8..).zip(names).map(|(k, name)| OperationRecord::upsert(name).embedding([f32::from(k)])).collect();
    let returned = ingest.submit_embeddings(collection(1), &batch)?;
    ensure_eq!(returned, (1..=6).map(SeqId).collect::<Vec<_>>(), "SeqIds returned");
    let stored = replay(&*ingest, collection(1), SeqId(0))?;
    ensure_eq!(seq_ids(&stored), returned, "SeqIds stored");
    for (k, stored) in stored.iter().enumerate() {
        ensure_eq!(stored.to_record(), batch[k], "record {k}");
    }
    Ok(())
}

pub(super) fn one_record_submitted_alone_is_a_batch_of_one(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 1..=5 {
        ensure_eq!(ingest.submit_embedding(collection(1), &record(n))?, SeqId(n), "SeqId of record {n}");
    }
    let stored = replay(&*ingest, collection(1), SeqId(0))?;
    ensure_eq!(ids(&stored), ["id 1", "id 2", "id 3", "id 4", "id 5"], "ids");
    Ok(())
}

pub(super) fn the_batch_limit_is_a_constant_of_at_least_100_000(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let limit = ingest.max_batch_size();
    ensure!(limit >= 100_000, "expected at least 100,000 records, found {limit}");
    let bytes = ingest.max_batch_bytes();
    ensure!(bytes >= 1 << 20, "expected at least 1 MiB, found {bytes} bytes");
    ingest.submit_embeddings(collection(1), &records(0..100))?;
    ensure_eq!(ingest.max_batch_size(), limit, "records, asked a second time");
    ensure_eq!(ingest.max_batch_bytes(), bytes, "bytes, asked a second time");
    Ok(())
}

pub(super) fn a_batch_at_the_limit_is_taken(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let size = ingest.max_batch_size();
    let returned = ingest.submit_embeddings(collection(1), &vec![OperationRecord::delete("a"); size])?;
    ensure_eq!(returned.len(), size, "SeqIds returned");
    ensure_eq!(returned.last(), Some(&SeqId(size as u64)), "the last SeqId");
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), size, "records stored");
    Ok(())
}

pub(super) fn a_batch_over_the_limit_is_refused_by_name_and_nothing_is_written(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let limit = ingest.max_batch_size();
    let too_many = vec![OperationRecord::delete("a"); limit + 1];
    let mut grouped = String::new();
    for (k, digit) in limit.to_string().chars().rev().enumerate() {
        if k > 0 && k % 3 == 0 {
            grouped.insert(0, ',');
        }
        grouped.insert(0, digit);
    }
    let text = format!("Cannot submit more than {grouped} embeddings at once.");
    let submitted = [
        ingest.submit_embeddings(collection(1), &too_many),
        ingest.submit_async(collection(1), &too_many, &SubmitTerms::new()).and_then(|pending| pending.wait()),
    ];
    for refused in submitted {
        match refused {
            Err(error @ Error::BatchSize { .. }) => {
                let said = error.to_string();
                ensure!(said.contains(&text), "expected the text {text:?}, found {said:?}");
                ensure_refused!(
                    Err::<(), _>(error),
                    Error::BatchSize { size, limit: named }
                        if (size, named) == (limit as u64 + 1, limit as u64),
                    "a batch of one too many"
                );
            }
            other => return Err(format!("expected a BatchSize error, found {other:?}").into()),
        }
    }
    ensure_eq!(ingest.status()?.newest_seq_id, SeqId(0), "the newest SeqId");
    Ok(())
}

pub(super) fn a_record_that_cannot_be_encoded_refuses_its_whole_batch(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let mut mismatched = record(1);
    mismatched.encoding = Some(Encoding::Int32);
    for bad in [mismatched, OperationRecord::delete("x".repeat(70_000))] {
        let batch = [record(0), bad, record(2)];
        ensure_refused!(
            ingest.submit_embeddings(collection(1), &batch),
            Error::Invalid(why) if why.contains("record 1"),
            "a record that cannot be encoded"
        );
    }
    ensure_eq!(ingest.status()?.newest_seq_id, SeqId(0), "the newest SeqId");
    Ok(())
}

pub(super) fn batches_of_many_producers_stay_in_one_piece(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let producers: Vec<_> = (0..4u64)
        .map(|producer| {
            let ingest = Arc::clone(&ingest);
            thread::spawn(move || {
                let batch = |n: u64| records(producer * 1_000 + n * 7..producer * 1_000 + n * 7 + 7);
                (0..30)
                    .map(|n| ingest.submit_embeddings(collection(1), &batch(n)))
                    .collect::<Result<Vec<_>, _>>()
            })
        })
        .collect();
    let mut all = Vec::new();
    for producer in producers {
        let returned = producer.join().map_err(|_| "a producer panicked")??;
        for (n, batch) in returned.iter().enumerate() {
            let first = batch.first().copied().unwrap_or_default();
            let due: Vec<_> = (first.0..first.0 + 7).map(SeqId).collect();
            ensure_eq!(batch, &due, "SeqIds of batch {n}");
        }
        ensure!(returned.is_sorted(), "a producer's later batch got earlier SeqIds");
        all.extend(returned.into_iter().flatten());
    }
    all.sort_unstable();
    ensure_eq!(all, (1..=4 * 30 * 7).map(SeqId).collect::<Vec<_>>(), "all SeqIds");
    Ok(())
}

pub(super) fn an_awaited_submit_gives_what_a_blocking_one_gives(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let terms = SubmitTerms::new();
    let pending: Vec<_> = (0..10u64)
        .map(|n| ingest.submit_async(collection(1), &records(n * 3..n * 3 + 3), &terms))
        .collect::<Result<_, _>>()?;
    for (n, pending) in (0..10u64).zip(pending) {
        let due: Vec<_> = (n * 3 + 1..=n * 3 + 3).map(SeqId).collect();
        ensure_eq!(pending.wait()?, due, "SeqIds of batch {n}");
    }
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 30, "records stored");
    Ok(())
}

pub(super) fn a_submit_that_nobody_awaits_is_written_all_the_same(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    drop(ingest.submit_async(collection(1), &records(0..2), &SubmitTerms::new())?);
    ensure_eq!(ids(&seen.take(2)?), ["id 0", "id 1"], "ids delivered");
    Ok(())
}
