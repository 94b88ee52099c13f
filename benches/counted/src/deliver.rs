//! Deliveries: to subscribers, and to who pulls.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, ensure};
use stratalog::{Delivery, Durability, Hub, HubOptions, Log, Options, SeqId, Start, SubscribeOptions};

use crate::append::open;
use crate::payload::{batch, stream};
use crate::region::region;
use crate::work::{Bar, COMMIT, Count, DELIVERY, Ground, Outcome, Work};

const EACH: &[(Count, &str, Bar)] = &[
    (Count::Instructions, DELIVERY, Bar::Held),
    (Count::Allocations, DELIVERY, Bar::Held),
    (Count::SystemCalls, DELIVERY, Bar::Held),
];
/// Beside a thread of the hub's, which now and then is woken.
const INLINE: &[(Count, &str, Bar)] = &[
    (Count::Instructions, DELIVERY, Bar::Held),
    (Count::Allocations, DELIVERY, Bar::Held),
    (Count::SystemCalls, DELIVERY, Bar::Shown),
];
/// By threads that wait for one another: how often one finds the other still awake is chance.
const THREADS: &[(Count, &str, Bar)] =
    &[(Count::Allocations, DELIVERY, Bar::Shown), (Count::SystemCalls, DELIVERY, Bar::Shown)];
const BESIDE: &[(Count, &str, Bar)] = &[
    (Count::Instructions, COMMIT, Bar::Held),
    (Count::Allocations, COMMIT, Bar::Held),
    (Count::SystemCalls, COMMIT, Bar::Shown),
];

pub(crate) const WORKS: &[Work] = &[
    Work { name: "backfill to 1 subscriber", times: 5_000, counts: EACH, records: 1, run: backfill },
    Work { name: "backfill by pulling", times: 5_000, counts: EACH, records: 1, run: pull },
    Work { name: "append to 1 inline", times: 1_000, counts: INLINE, records: 1, run: inline },
    Work { name: "append to 100 inline", times: 100, counts: INLINE, records: 100, run: inline },
    Work { name: "append beside 1000 idle", times: 1_000, counts: BESIDE, records: 1, run: idle },
    Work { name: "append and await 1 subscriber", times: 500, counts: THREADS, records: 1, run: live },
];

const RECORD: usize = 512;

/// What subscribers took.
#[derive(Debug, Clone, Default)]
struct Taken(Arc<AtomicU64>);

impl Taken {
    fn subscribe(&self, hub: &Hub, options: SubscribeOptions) -> Result<()> {
        let taken = Arc::clone(&self.0);
        hub.subscribe(stream(0), options, move |records| {
            taken.fetch_add(black_box(records).len() as u64, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(())
    }

    fn expect(&self, due: u64) -> Result<()> {
        let taken = self.0.load(Ordering::Relaxed);
        ensure!(taken == due, "expected {due} deliveries, found {taken}");
        Ok(())
    }
}

fn hub(log: Log) -> Result<Hub> {
    Ok(Hub::new(log, HubOptions::new())?)
}

fn filled(ground: &Ground<'_>) -> Result<Hub> {
    let log = open(ground.directory, Durability::Buffered)?;
    let batch = batch(1, RECORD);
    for _ in 0..ground.times {
        log.append(stream(0), &batch)?;
    }
    hub(log)
}

/// An inline subscriber is given what is there inside `subscribe`, by the code that serves all of them.
fn backfill(ground: &Ground<'_>) -> Result<Outcome> {
    let hub = filled(ground)?;
    let taken = Taken::default();
    let newest = hub.log().committed().0;
    let from_start = || {
        let start = SeqId(newest - ground.times);
        SubscribeOptions::new().start(Start::After(start)).delivery(Delivery::Inline)
    };
    taken.subscribe(&hub, from_start())?;
    let told = region(|| taken.subscribe(&hub, from_start()))?;
    taken.expect(2 * ground.times)?;
    Ok(told.into())
}

fn pull(ground: &Ground<'_>) -> Result<Outcome> {
    let hub = filled(ground)?;
    let start = Start::After(SeqId(hub.log().committed().0 - ground.times));
    let drain = || -> Result<()> {
        let (mut pull, mut taken) = (hub.pull(stream(0), start.clone(), None)?, 0);
        while taken < ground.times {
            taken += black_box(pull.next_batch(Some(Duration::ZERO))?).len() as u64;
        }
        Ok(())
    };
    drain()?;
    Ok(region(drain)?.into())
}

fn inline(ground: &Ground<'_>) -> Result<Outcome> {
    let hub = hub(open(ground.directory, Durability::Buffered)?)?;
    // Readers are kept between deliveries where the hub has a thread that takes them away again. It has
    // one for this subscription, and without it for chance reasons only.
    hub.subscribe(stream(1), SubscribeOptions::new(), |_| Ok(()))?;
    let taken = Taken::default();
    for _ in 0..ground.records {
        taken.subscribe(&hub, SubscribeOptions::new().delivery(Delivery::Inline))?;
    }
    let batch = batch(1, RECORD);
    let append = |times: u64| -> Result<()> {
        (0..times).try_for_each(|_| hub.append(stream(0), &batch).map(drop))?;
        Ok(())
    };
    append(20)?;
    let told = region(|| append(ground.times))?;
    taken.expect((ground.times + 20) * ground.records)?;
    Ok(told.into())
}

/// Subscriptions of other streams, which get nothing.
fn idle(ground: &Ground<'_>) -> Result<Outcome> {
    let hub = hub(open(ground.directory, Durability::Buffered)?)?;
    for n in 0..1_000 {
        hub.subscribe(stream(1_000 + n), SubscribeOptions::new(), |_| Ok(()))?;
    }
    let batch = batch(1, RECORD);
    let append = |times: u64| -> Result<()> {
        (0..times).try_for_each(|_| hub.append(stream(0), &batch).map(drop))?;
        Ok(())
    };
    append(100)?;
    Ok(region(|| append(ground.times))?.into())
}

/// A log with threads of its own, and a subscriber in one of the hub's.
fn live(ground: &Ground<'_>) -> Result<Outcome> {
    let log = Options::new().durability(Durability::Buffered).open(ground.directory)?;
    let hub = hub(log)?;
    let (tell, told) = mpsc::sync_channel(16);
    hub.subscribe(stream(0), SubscribeOptions::new(), move |records| {
        Ok(tell.send(records.last().map(|record| record.seq_id))?)
    })?;
    let batch = batch(1, RECORD);
    let append = |times: u64| -> Result<()> {
        for _ in 0..times {
            let appended = hub.append(stream(0), &batch)?;
            while told.recv()? != appended.last_seq_id() {}
        }
        Ok(())
    };
    append(100)?;
    Ok(region(|| append(ground.times))?.into())
}
