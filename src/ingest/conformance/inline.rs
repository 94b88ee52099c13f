//! Inline delivery: whoever submitted can read it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::callbacks::{submits_from_inside, unsubscribes_itself};
use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, record, records, seq_ids};
use super::seen::Seen;
use super::{Backend, Checked};
use crate::hub::Delivery;
use crate::ids::SeqId;
use crate::ingest::{ConsumeOptions, LogRecord, SubmitTerms};

fn inline() -> ConsumeOptions {
    ConsumeOptions::new().delivery(Delivery::Inline)
}

pub(super) fn an_inline_submit_returns_after_its_subscribers_were_called(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let mut all = Vec::new();
    for _ in 0..3 {
        let (consume, seen) = Seen::consumer();
        ingest.subscribe(collection(1), inline(), consume)?;
        all.push(seen);
    }
    for n in 0..20 {
        let returned = ingest.submit_embeddings(collection(1), &records(n * 3..n * 3 + 3))?;
        for (k, seen) in all.iter_mut().enumerate() {
            ensure_eq!(seq_ids(&seen.so_far()), returned, "SeqIds subscriber {k} had when submit returned");
        }
    }
    Ok(())
}

pub(super) fn an_awaited_submit_completes_after_inline_subscribers_were_called(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), inline(), consume)?;
    for n in 0..10 {
        let pending = ingest.submit_async(collection(1), &records(n..n + 2), &SubmitTerms::new())?;
        let returned = pending.wait()?;
        ensure_eq!(
            seq_ids(&seen.so_far()),
            returned,
            "SeqIds it had been called with at the end of the wait"
        );
    }
    Ok(())
}

pub(super) fn an_inline_callback_that_fails_does_not_fail_the_submit(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (tell, calls) = mpsc::channel();
    let mut left = 2;
    let consume = move |records: &[LogRecord]| {
        let _ = tell.send(records.to_vec());
        if left > 0 {
            left -= 1;
            return Err("not now".into());
        }
        Ok(())
    };
    let mut seen = Seen::of(calls);
    let options = inline().pauses(Duration::from_millis(1), Duration::from_millis(5));
    ingest.subscribe(collection(1), options, Box::new(consume))?;
    ensure_eq!(ingest.submit_embedding(collection(1), &record(0))?, SeqId(1), "the SeqId returned");
    ensure_eq!(seq_ids(&seen.take(3)?), [SeqId(1); 3], "SeqIds offered");
    Ok(())
}

pub(super) fn an_inline_callback_may_submit(backend: &mut dyn Backend) -> Checked {
    submits_from_inside(&backend.ingest(), Delivery::Inline)
}

pub(super) fn an_inline_callback_may_unsubscribe_itself(backend: &mut dyn Backend) -> Checked {
    unsubscribes_itself(&backend.ingest(), Delivery::Inline)
}

pub(super) fn inline_delivery_keeps_the_order_among_many_producers(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let taken = Arc::new(AtomicUsize::new(0));
    let (counted, (tell, calls)) = (Arc::clone(&taken), mpsc::channel());
    let consume = move |records: &[LogRecord]| {
        if let Some(last) = records.last() {
            counted.store(last.seq_id.0 as usize, Ordering::SeqCst);
        }
        let _ = tell.send(records.to_vec());
        Ok(())
    };
    let mut seen = Seen::of(calls);
    ingest.subscribe(collection(1), inline(), Box::new(consume))?;
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let (ingest, taken) = (Arc::clone(&ingest), Arc::clone(&taken));
            thread::spawn(move || {
                (0..50).try_for_each(|n| match ingest.submit_embedding(collection(1), &record(n)) {
                    Ok(own) if taken.load(Ordering::SeqCst) as u64 >= own.0 => Ok(()),
                    Ok(own) => Err(format!("submit returned before SeqId {own} was delivered")),
                    Err(error) => Err(error.to_string()),
                })
            })
        })
        .collect();
    for producer in producers {
        producer.join().map_err(|_| "a producer panicked")??;
    }
    let found = seq_ids(&seen.so_far());
    ensure!(found == (1..=200).map(SeqId).collect::<Vec<_>>(), "expected SeqIds 1 to 200, found {found:?}");
    Ok(())
}
