//! Between what was there and what commits later nothing is missing, doubled or out of order, and
//! whoever is slow is slow alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, record, records, seq_ids};
use super::seen::{Gate, Seen};
use super::{Backend, Checked};
use crate::hub::Delivery;
use crate::ids::SeqId;
use crate::ingest::ConsumeOptions;

pub(super) fn what_is_submitted_during_the_backfill_comes_once_and_in_order(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    let (consume, mut seen, gate) = Gate::consumer();
    let options = ConsumeOptions::new().start(SeqId(0)).max_batch(5, 4 << 20).delivery(Delivery::Threaded);
    ingest.subscribe(collection(1), options, consume)?;
    // It stands in the middle of its backfill, and does not get on.
    let mut found = seq_ids(&seen.call()?);
    for n in 0..20 {
        ingest.submit_embedding(collection(1), &record(n))?;
    }
    drop(gate);
    while found.len() < 30 {
        found.extend(seq_ids(&seen.call()?));
    }
    ensure_eq!(found, (1..=30).map(SeqId).collect::<Vec<_>>(), "SeqIds delivered");
    Ok(())
}

pub(super) fn subscribers_that_join_amid_commits_miss_nothing(backend: &mut dyn Backend) -> Checked {
    const BATCHES: u64 = 150;
    let ingest = backend.ingest();
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let ingest = Arc::clone(&ingest);
            thread::spawn(move || {
                (0..BATCHES).try_for_each(|n| {
                    ingest.submit_embeddings(collection(1), &records(n..n + 2))?;
                    ingest.submit_embedding(collection(2), &record(n)).map(drop)
                })
            })
        })
        .collect();
    let mut joined = Vec::new();
    for _ in 0..20 {
        let start = ingest.status()?.newest_seq_id;
        let (consume, seen) = Seen::consumer();
        ingest.subscribe(collection(1), ConsumeOptions::new().start(start), consume)?;
        joined.push((start, seen));
        thread::yield_now();
    }
    for producer in producers {
        producer.join().map_err(|_| "a producer panicked")??;
    }
    let all = seq_ids(&super::samples::replay(&*ingest, collection(1), SeqId(0))?);
    ensure_eq!(all.len(), 3 * 2 * BATCHES as usize, "records stored");
    for (start, mut seen) in joined {
        let due: Vec<_> = all.iter().copied().filter(|seq_id| *seq_id > start).collect();
        ensure_eq!(seq_ids(&seen.take(due.len())?), due, "SeqIds delivered to who joined at {start}");
    }
    Ok(())
}

pub(super) fn calls_of_one_subscription_never_overlap(backend: &mut dyn Backend) -> Checked {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let ingest = backend.ingest();
        let (running, overlapped) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (told, (tell, calls)) = (Arc::clone(&overlapped), mpsc::channel());
        let consume = move |records: &[crate::ingest::LogRecord]| {
            if running.swap(true, Ordering::SeqCst) {
                told.store(true, Ordering::SeqCst);
            }
            thread::yield_now();
            running.store(false, Ordering::SeqCst);
            let _ = tell.send(records.to_vec());
            Ok(())
        };
        let mut seen = Seen::of(calls);
        let id =
            ingest.subscribe(collection(1), ConsumeOptions::new().delivery(delivery), Box::new(consume))?;
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let ingest = Arc::clone(&ingest);
                thread::spawn(move || {
                    (0..50).try_for_each(|n| ingest.submit_embedding(collection(1), &record(n)).map(drop))
                })
            })
            .collect();
        for producer in producers {
            producer.join().map_err(|_| "a producer panicked")??;
        }
        let found = seq_ids(&seen.take(200)?);
        ensure!(
            found.is_sorted_by(|a, b| a < b),
            "expected ascending SeqIds ({delivery:?}), found {found:?}"
        );
        ensure!(
            !overlapped.load(Ordering::SeqCst),
            "two calls of one subscription ran at once ({delivery:?})"
        );
        ingest.unsubscribe(&id)?;
    }
    Ok(())
}

pub(super) fn a_slow_callback_holds_up_no_producer_and_no_other_subscription(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let threaded = || ConsumeOptions::new().delivery(Delivery::Threaded);
    let (consume, mut slow, gate) = Gate::consumer();
    ingest.subscribe(collection(1), threaded(), consume)?;
    let (consume, mut fast) = Seen::consumer();
    ingest.subscribe(collection(1), threaded(), consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    slow.call()?;
    let submitted = Arc::new(AtomicUsize::new(1));
    for n in 1..200 {
        ingest.submit_embedding(collection(1), &record(n))?;
        submitted.fetch_add(1, Ordering::Relaxed);
    }
    // The slow one is still in its first call.
    ensure_eq!(fast.take(200)?.len(), submitted.load(Ordering::Relaxed), "records delivered to the fast one");
    ensure_eq!(slow.so_far().len(), 0, "calls of the slow one meanwhile");
    drop(gate);
    let rest = seq_ids(&slow.take(199)?);
    ensure_eq!(rest, (2..=200).map(SeqId).collect::<Vec<_>>(), "SeqIds the slow one got then");
    Ok(())
}
