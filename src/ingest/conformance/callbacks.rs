//! Leaving, and what a callback may do while it is called.

use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, ids, record, records, seq_ids};
use super::seen::{Gate, Seen, until};
use super::{Backend, Checked};
use crate::hub::{Delivery, SubscriptionId};
use crate::ids::SeqId;
use crate::ingest::{ConsumeOptions, Ingest, LogRecord};

pub(super) fn unsubscribing_an_unknown_id_is_no_error(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.unsubscribe(&"nobody".into())?;
    let id = ingest.subscribe(collection(1), ConsumeOptions::new(), Seen::consumer().0)?;
    ingest.unsubscribe(&id)?;
    ingest.unsubscribe(&id)?;
    Ok(())
}

pub(super) fn no_call_follows_an_unsubscribe(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for round in 0..20 {
        let (consume, mut seen) = Seen::consumer();
        let id = ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
        let producing = Arc::clone(&ingest);
        let producer = thread::spawn(move || {
            (0..20).try_for_each(|n| producing.submit_embedding(collection(1), &record(n)).map(drop))
        });
        if round % 2 == 0 {
            seen.take(1)?;
        }
        ingest.unsubscribe(&id)?;
        seen.so_far();
        producer.join().map_err(|_| "the producer panicked")??;
        let (consume, mut fence) = Seen::consumer();
        let fence_id = ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
        ingest.submit_embedding(collection(1), &record(99))?;
        fence.take(1)?;
        ingest.unsubscribe(&fence_id)?;
        ensure_eq!(seen.so_far(), [], "records delivered after unsubscribe returned");
    }
    Ok(())
}

pub(super) fn unsubscribe_waits_for_the_call_that_runs(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen, gate) = Gate::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new().delivery(Delivery::Threaded), consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    seen.call()?;
    let (tell, told) = mpsc::channel();
    let (leaving, leaves) = (Arc::clone(&ingest), id.clone());
    let leaver = thread::spawn(move || {
        let outcome = leaving.unsubscribe(&leaves);
        let _ = tell.send(());
        outcome
    });
    let early = told.recv_timeout(Duration::from_millis(50));
    ensure!(early.is_err(), "unsubscribe returned while the callback was running");
    gate.open_once();
    told.recv_timeout(Duration::from_secs(20)).map_err(|_| "unsubscribe did not return after the call")?;
    leaver.join().map_err(|_| "unsubscribe panicked")??;
    ingest.submit_embedding(collection(1), &record(1))?;
    ensure_eq!(seen.so_far(), [], "records delivered after unsubscribe returned");
    Ok(())
}

/// What a callback knows only once its subscription is there.
type Known = Arc<OnceLock<SubscriptionId>>;

/// Subscribes a consumer that unsubscribes itself in its first call, and says whether it ever ran again.
pub(super) fn unsubscribes_itself(ingest: &Arc<dyn Ingest>, delivery: Delivery) -> Checked {
    let known = Known::default();
    let (own, inside, (tell, calls)) = (Arc::clone(&known), Arc::clone(ingest), mpsc::channel());
    let consume = move |records: &[LogRecord]| {
        let id = own.get().ok_or("called before anything was submitted")?;
        inside.unsubscribe(id)?;
        let _ = tell.send(records.to_vec());
        Ok(())
    };
    let mut seen = Seen::of(calls);
    let options = ConsumeOptions::new().delivery(delivery).max_batch(1, 4 << 20);
    let id = ingest.subscribe(collection(1), options, Box::new(consume))?;
    let _ = known.set(id.clone());
    let returned = ingest.submit_embeddings(collection(1), &records(0..3))?;
    ensure_eq!(seq_ids(&seen.take(1)?), returned[..1], "SeqIds delivered ({delivery:?})");
    until(&**ingest, &id, "its status to be gone", |status| status.is_none())?;
    let (consume, mut fence) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    ingest.submit_embedding(collection(1), &record(3))?;
    fence.take(1)?;
    ensure_eq!(seen.so_far(), [], "records delivered after it left ({delivery:?})");
    Ok(())
}

pub(super) fn a_callback_may_unsubscribe_itself(backend: &mut dyn Backend) -> Checked {
    unsubscribes_itself(&backend.ingest(), Delivery::Threaded)
}

/// Subscribes a consumer that submits, from inside, to its own collection and to another one, until
/// there are enough.
pub(super) fn submits_from_inside(ingest: &Arc<dyn Ingest>, delivery: Delivery) -> Checked {
    let (inside, (tell, calls)) = (Arc::clone(ingest), mpsc::channel());
    let consume = move |records: &[LogRecord]| {
        for one in records {
            if one.log_offset.0 < 10 {
                inside.submit_embedding(collection(1), &record(one.log_offset.0 + 1))?;
                inside.submit_embedding(collection(2), &record(one.log_offset.0))?;
            }
        }
        let _ = tell.send(records.to_vec());
        Ok(())
    };
    let mut seen = Seen::of(calls);
    ingest.subscribe(collection(1), ConsumeOptions::new().delivery(delivery), Box::new(consume))?;
    let (consume, mut other) = Seen::consumer();
    ingest.subscribe(collection(2), ConsumeOptions::new().delivery(delivery), consume)?;
    ingest.submit_embedding(collection(1), &record(1))?;
    let due: Vec<_> = (1..=10).map(|n| format!("id {n}")).collect();
    let found = seen.take(10)?;
    let mut offsets: Vec<_> = found.iter().map(|r| r.log_offset.0).collect();
    // A call that submits may be told of it only when it has returned.
    offsets.sort_unstable();
    ensure_eq!(offsets, (1..=10).collect::<Vec<_>>(), "log_offsets delivered ({delivery:?})");
    ensure_eq!(ids(&other.take(9)?), due[..9], "ids delivered of the other collection ({delivery:?})");
    Ok(())
}

pub(super) fn a_callback_may_submit(backend: &mut dyn Backend) -> Checked {
    submits_from_inside(&backend.ingest(), Delivery::Threaded)
}

pub(super) fn a_callback_may_subscribe_another(backend: &mut dyn Backend) -> Checked {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let ingest = backend.ingest();
        ingest.submit_embeddings(collection(1), &records(0..3))?;
        let newest = ingest.status()?.newest_seq_id;
        let inside = Arc::clone(&ingest);
        let (tell, calls) = mpsc::channel();
        let mut subscribed = false;
        let consume = move |_: &[LogRecord]| {
            if !std::mem::replace(&mut subscribed, true) {
                let tell = tell.clone();
                let consume = move |records: &[LogRecord]| {
                    let _ = tell.send(records.to_vec());
                    Ok(())
                };
                let options = ConsumeOptions::new().start(SeqId(0)).delivery(delivery);
                inside.subscribe(collection(1), options, Box::new(consume))?;
            }
            Ok(())
        };
        let mut seen = Seen::of(calls);
        let outer =
            ingest.subscribe(collection(1), ConsumeOptions::new().delivery(delivery), Box::new(consume))?;
        ingest.submit_embedding(collection(1), &record(3))?;
        let due: Vec<_> = (1..=newest.0 + 1).map(SeqId).collect();
        ensure_eq!(seq_ids(&seen.take(due.len())?), due, "SeqIds the inner one got ({delivery:?})");
        ingest.unsubscribe(&outer)?;
    }
    Ok(())
}

pub(super) fn a_callback_may_advance_a_cursor(backend: &mut dyn Backend) -> Checked {
    for (delivery, name) in [(Delivery::Threaded, "threaded"), (Delivery::Inline, "inline")] {
        let ingest = backend.ingest();
        let (inside, (tell, calls)) = (Arc::clone(&ingest), mpsc::channel());
        let consume = move |records: &[LogRecord]| {
            if let Some(last) = records.last() {
                inside.advance_cursor(collection(1), name, last.seq_id)?;
            }
            let _ = tell.send(records.to_vec());
            Ok(())
        };
        let mut seen = Seen::of(calls);
        ingest.subscribe(collection(1), ConsumeOptions::new().delivery(delivery), Box::new(consume))?;
        let returned = ingest.submit_embeddings(collection(1), &records(0..5))?;
        seen.take(5)?;
        let cursors = ingest.cursors(collection(1))?;
        let found = cursors.iter().find(|cursor| cursor.name == name).map(|cursor| cursor.seq_id);
        ensure_eq!(found, returned.last().copied(), "the cursor ({delivery:?})");
    }
    Ok(())
}
