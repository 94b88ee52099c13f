//! Subscriptions: what it costs to make one, how soon it gets a record, and what idle ones cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stratalog::{Batch, Hub, HubOptions, Log, SeqId, Start, SubscribeOptions};

use super::{NAME, Stratalog, options, stream};
use crate::appends::{Appends, fill, warm_up};
use crate::bench::Bench;
use crate::contender::{Contender, Kind, Promise};
use crate::payload::Payload;
use crate::place::{Place, Scratch};
use crate::row::{Against, Bar, Entry, Figure, Goal, RATE, Sample, Spec};
use crate::statistics::percentile;

const RECORD: usize = 512;
const IDLE: usize = 1_000;

pub(crate) fn rows() -> Vec<Spec> {
    vec![
        subscribe_to_nothing(),
        delivery(Promise::Durable),
        delivery(Promise::Process),
        idle(Promise::Durable),
        idle(Promise::Process),
    ]
}

fn below(figure: &'static str, bar: f64) -> Goal {
    Goal::of(NAME, figure, Against::Itself, Bar::AtMost(bar))
}

fn subscribe_to_nothing() -> Spec {
    Spec {
        name: "subscribe-empty".to_owned(),
        title: "subscribing to an empty stream beside 1,000,000 records of another".to_owned(),
        figures: vec![Figure::lower("p50", "us"), Figure::lower("first", "us"), Figure::lower("p99", "us")],
        goals: vec![below("p50", 50.0), below("first", 50.0)],
        build: Box::new(|bench| {
            let (log, scratch) = a_million(bench)?;
            Ok(vec![Entry::new(NAME, Kind::Ours, move |_| {
                let _held = &scratch;
                subscribes(&log)
            })])
        }),
    }
}

fn a_million(bench: &Bench) -> Result<(Log, Scratch)> {
    let payload = Payload::new(RECORD);
    let scratch = bench.place.scratch(2 << 30)?;
    let open = super::open(scratch.path(), Promise::Process)?;
    let records = if bench.settings.quick { 100_000 } else { 1_000_000 };
    fill(&open, &payload, records * RECORD as u64)?;
    Ok((open.log, scratch))
}

/// A hub of its own for each round: the first subscription finds nothing ready.
fn subscribes(log: &Log) -> Result<Sample> {
    let hub = Hub::new(log.clone(), HubOptions::new())?;
    let mut nanos = Vec::new();
    for number in 0..IDLE {
        let begun = Instant::now();
        let options = SubscribeOptions::new().start(Start::After(SeqId(0)));
        hub.subscribe(stream(10 + number), options, |_| Ok(()))?;
        nanos.push(begun.elapsed().as_nanos() as u64);
    }
    let first = nanos[0] as f64 / 1e3;
    hub.close();
    let of = |nanos: &mut [u64], share| percentile(nanos, share) as f64 / 1e3;
    Ok(vec![("p50", of(&mut nanos, 0.5)), ("first", first), ("p99", of(&mut nanos, 0.99))])
}

fn word(promise: Promise) -> (&'static str, &'static str) {
    match promise {
        Promise::Durable => ("sync", "Sync"),
        Promise::Process => ("buffered", "Buffered"),
    }
}

fn delivery(promise: Promise) -> Spec {
    let (short, long) = word(promise);
    Spec {
        name: format!("delivery-{short}"),
        title: format!("live delivery after the ack, {long}, a waiting subscriber"),
        figures: vec![Figure::lower("p50", "us"), Figure::lower("p99", "us")],
        goals: vec![below("p50", 10.0), Goal::of(NAME, "p99", Against::Itself, Bar::Shown)],
        build: Box::new(move |bench| {
            let (place, seconds) = (Arc::clone(&bench.place), bench.settings.seconds);
            Ok(vec![Entry::new(NAME, Kind::Ours, move |_| delivered(&place, promise, seconds))])
        }),
    }
}

/// The time from the return of an append to the call of the subscriber; 0 if the call came first.
fn delivered(place: &Place, promise: Promise, seconds: f64) -> Result<Sample> {
    const MOST: usize = 100_000;
    let scratch = place.scratch(1 << 30)?;
    let log = options(promise).open(scratch.path())?;
    let hub = Hub::new(log.clone(), HubOptions::new())?;
    let base = Instant::now();
    let arrived: Arc<Vec<AtomicU64>> = Arc::new((0..MOST).map(|_| AtomicU64::new(0)).collect());
    let next = Arc::new(AtomicU64::new(0));
    {
        let (arrived, next) = (Arc::clone(&arrived), Arc::clone(&next));
        hub.subscribe(stream(0), SubscribeOptions::new().start(Start::After(SeqId(0))), move |records| {
            let now = base.elapsed().as_nanos() as u64;
            let first = next.fetch_add(records.len() as u64, Ordering::Relaxed) as usize;
            arrived
                .iter()
                .skip(first)
                .take(records.len())
                .for_each(|slot| slot.store(now, Ordering::Release));
            Ok(())
        })?;
    }
    let (payload, mut batch, mut acked) = (Payload::new(RECORD), Batch::new(), Vec::new());
    while acked.len() < MOST && base.elapsed().as_secs_f64() < seconds {
        batch.clear();
        batch.push(payload.record(acked.len()));
        log.append(stream(0), &batch)?;
        acked.push(base.elapsed().as_nanos() as u64);
        // The subscriber waits again when the next one comes.
        std::thread::sleep(Duration::from_micros(200));
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while next.load(Ordering::Relaxed) < acked.len() as u64 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    ensure!(next.load(Ordering::Relaxed) == acked.len() as u64, "not everything was delivered");
    let times = arrived.iter().map(|slot| slot.load(Ordering::Acquire));
    let mut nanos: Vec<u64> =
        times.zip(&acked).map(|(arrived, acked)| arrived.saturating_sub(*acked)).collect();
    hub.close();
    log.close()?;
    drop(scratch);
    place.settle()?;
    Ok([("p50", 0.5), ("p99", 0.99)]
        .map(|(name, share)| (name, percentile(&mut nanos, share) as f64 / 1e3))
        .to_vec())
}

fn idle(promise: Promise) -> Spec {
    let (short, long) = word(promise);
    let without = "without".to_owned();
    Spec {
        name: format!("idle-{short}"),
        title: format!("4 producers beside {IDLE} idle subscriptions, {long}, {RECORD} B"),
        figures: vec![RATE],
        goals: vec![Goal::rate(Against::Entry(without.clone(), RATE.name), Bar::AtLeast(0.95))],
        build: Box::new(move |bench| {
            let appends = Appends::new(bench, promise, RECORD).producers(4);
            let entry = |name: &str, subscriptions: usize| {
                let place = Arc::clone(&bench.place);
                Entry::new(name, Kind::Ours, move |_| beside(&place, appends, subscriptions))
            };
            Ok(vec![entry(NAME, IDLE), entry(&without, 0)])
        }),
    }
}

fn beside(place: &Place, appends: Appends, subscriptions: usize) -> Result<Sample> {
    let payload = Payload::new(RECORD);
    let scratch = place.scratch(appends.most_bytes * 2 + (256 << 20))?;
    let open = super::open(scratch.path(), appends.promise)?;
    warm_up(&open, &payload, Stratalog.warm_up_bytes(), appends.batch)?;
    let hub = Hub::new(open.log.clone(), HubOptions::new())?;
    for number in 0..subscriptions {
        hub.subscribe(stream(1_000 + number), SubscribeOptions::new(), |_| Ok(()))?;
    }
    std::thread::sleep(Duration::from_millis(300));
    let ran = appends.produce(&open, &payload)?;
    hub.close();
    open.log.close()?;
    drop(scratch);
    place.settle()?;
    Ok(ran.sample())
}
