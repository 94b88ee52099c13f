//! A callback that fails: offered again, counted, seen, given up at last, and nothing skipped.

use std::panic::resume_unwind;
use std::sync::mpsc;
use std::time::Duration;

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, record, records, seq_ids};
use super::seen::{Seen, until};
use super::{Backend, Checked};
use crate::hub::SubscriptionState;
use crate::ids::SeqId;
use crate::ingest::{Consume, ConsumeOptions, LogRecord};

/// A consumer whose first calls end as `failure` says, and that tells of every call, failed ones too.
fn failing(times: usize, failure: fn() -> Result<(), crate::hub::ConsumeError>) -> (Consume, Seen) {
    let (tell, calls) = mpsc::channel();
    let mut left = times;
    let consume = move |records: &[LogRecord]| {
        let _ = tell.send(records.to_vec());
        if left > 0 {
            left -= 1;
            return failure();
        }
        Ok(())
    };
    (Box::new(consume), Seen::of(calls))
}

fn refuse() -> Result<(), crate::hub::ConsumeError> {
    Err("no room in the index".into())
}

/// A panic without the message on standard error.
fn panic() -> Result<(), crate::hub::ConsumeError> {
    resume_unwind(Box::new("the consumer's own panic"))
}

/// Short pauses, so that the suite need not wait.
fn patient() -> ConsumeOptions {
    ConsumeOptions::new().pauses(Duration::from_millis(1), Duration::from_millis(5))
}

pub(super) fn a_callback_that_fails_gets_the_same_records_again(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let (consume, mut seen) = failing(3, refuse);
    ingest.subscribe(collection(1), patient().start(SeqId(0)).max_batch(2, 4 << 20), consume)?;
    let first = seen.call()?;
    for again in 1..=3 {
        ensure_eq!(seen.call()?, first, "records offered the {again}. time again");
    }
    let mut found = seq_ids(&first);
    found.extend(seq_ids(&seen.take(5 - first.len())?));
    ensure_eq!(found, (1..=5).map(SeqId).collect::<Vec<_>>(), "SeqIds taken");
    Ok(())
}

pub(super) fn a_failing_callback_holds_up_nobody_else(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut failing) = failing(usize::MAX, refuse);
    let id = ingest.subscribe(collection(1), patient().max_tries(None), consume)?;
    let (consume, mut others) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    for n in 0..50 {
        ingest.submit_embedding(collection(1), &record(n))?;
    }
    ensure_eq!(others.take(50)?.len(), 50, "records delivered to another subscription");
    for _ in 0..12 {
        let offered = failing.call()?;
        ensure_eq!(offered.first().map(|r| r.seq_id), Some(SeqId(1)), "the first record offered");
    }
    ingest.unsubscribe(&id)?;
    Ok(())
}

pub(super) fn failures_are_counted_and_shown(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, _seen) = failing(usize::MAX, refuse);
    let id = ingest.subscribe(collection(1), patient().max_tries(None), consume)?;
    ingest.submit_embeddings(collection(1), &records(0..3))?;
    until(&*ingest, &id, "three failures in the status", |status| {
        status.is_some_and(|s| {
            s.failures >= 3
                && s.last_error.as_deref().is_some_and(|error| error.contains("no room in the index"))
                && (s.delivered, s.lag_records) == (0, 3)
                && s.state == SubscriptionState::Retrying
        })
    })
}

pub(super) fn a_subscription_that_gives_up_keeps_its_error_and_skips_nothing(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen) = failing(usize::MAX, refuse);
    let id = ingest.subscribe(collection(1), patient().max_tries(4), consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    until(&*ingest, &id, "a subscription that has stopped", |status| {
        status.is_some_and(|s| s.state == SubscriptionState::Stopped)
    })?;
    let status = ingest.subscription(&id)?.ok_or("expected its status to be kept, found none")?;
    ensure_eq!((status.failures, status.delivered), (4, 0), "failures and records taken");
    let error = status.last_error.unwrap_or_default();
    ensure!(error.contains("no room in the index"), "expected the callback's error, found {error:?}");
    // What comes later is not offered to it: that would be to skip what it could not take.
    let (consume, mut fence) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    ingest.submit_embedding(collection(1), &record(1))?;
    fence.take(1)?;
    ensure_eq!(seq_ids(&seen.so_far()), [SeqId(1); 4], "SeqIds offered");
    Ok(())
}

pub(super) fn a_panic_is_contained_and_is_a_failure_like_any_other(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen) = failing(2, panic);
    let id = ingest.subscribe(collection(1), patient(), consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    ensure_eq!(seq_ids(&seen.take(3)?), [SeqId(1); 3], "SeqIds offered");
    ingest.submit_embedding(collection(1), &record(1))?;
    ensure_eq!(seq_ids(&seen.take(1)?), [SeqId(2)], "SeqIds offered then");
    let status = ingest.subscription(&id)?.ok_or("expected a status, found none")?;
    ensure_eq!(status.failures, 2, "failures");
    let error = status.last_error.unwrap_or_default();
    ensure!(error.contains("the consumer's own panic"), "expected what it panicked with, found {error:?}");
    Ok(())
}
