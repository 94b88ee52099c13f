//! Subscribers that come and go while producers are at work see exactly their range, in order.
//!
//! `SECONDS=60 cargo test --release --test hub_handover` for the long run; `SEED` repeats one.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hub_support::{hub, in_time, until};
use stratalog::storage::MemoryStorage;
use stratalog::{
    Delivery, Durability, Hub, Log, Options, SeqId, Start, StreamId, SubscribeOptions, SubscriptionState,
};
use support::{batch, open, stream};

const STREAMS: u64 = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What the log holds, as the producers were told.
#[derive(Default)]
struct Model {
    streams: Mutex<HashMap<StreamId, Vec<u64>>>,
}

impl Model {
    fn note(&self, stream: StreamId, seq_ids: impl Iterator<Item = SeqId>) {
        self.streams.lock().unwrap().entry(stream).or_default().extend(seq_ids.map(|seq| seq.0));
    }

    /// Every stream's SeqIds in order, once nobody produces any more.
    fn sorted(&self) -> HashMap<StreamId, Vec<u64>> {
        let mut streams = std::mem::take(&mut *self.streams.lock().unwrap());
        streams.values_mut().for_each(|seq_ids| seq_ids.sort_unstable());
        streams
    }
}

/// What lies in `after < seq_id <= upto`.
fn range(seq_ids: &[u64], after: u64, upto: u64) -> &[u64] {
    let place = |limit: u64| seq_ids.partition_point(|seq| *seq <= limit);
    &seq_ids[place(after)..place(upto).max(place(after))]
}

fn seconds() -> u64 {
    std::env::var("SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2)
}

fn produce(hub: &Hub, model: &Model, stop: &AtomicBool, seed: u64) {
    let mut random = Random(seed);
    while !stop.load(Ordering::Relaxed) {
        let stream = stream(u128::from(random.below(STREAMS)));
        let batch = batch(0, 1 + random.below(4), 16 + random.below(200) as usize);
        // Through the hub, past it, and without a wait.
        let appended = match random.below(3) {
            0 => hub.append(stream, &batch),
            1 => hub.log().append(stream, &batch),
            _ => hub.log().submit(stream, &batch).and_then(stratalog::PendingAppend::wait),
        };
        model.note(stream, appended.unwrap().seq_ids());
        if random.below(4) == 0 {
            thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
}

/// One subscription from its first to its last call, checked afterwards.
struct Visit {
    stream: StreamId,
    /// Everything from here on had to be delivered.
    after: u64,
    upto: u64,
    seen: Vec<u64>,
    what: String,
}

fn visit(hub: &Hub, random: &mut Random) -> Visit {
    let stream = stream(u128::from(random.below(STREAMS)));
    let mut options = SubscribeOptions::new()
        .max_batch_records(1 + random.below(40) as usize)
        .first_pause(Duration::from_millis(1))
        .max_tries(None);
    if random.below(4) == 0 {
        options = options.delivery(Delivery::Inline);
    }
    let newest = hub.log().committed().0;
    let explicit = (random.below(3) != 0).then(|| newest - random.below(newest.min(500) + 1));
    if let Some(start) = explicit {
        options = options.start(Start::After(SeqId(start)));
    }
    let end = (random.below(3) == 0).then(|| newest + 1 + random.below(2_000));
    if let Some(end) = end {
        options = options.end(SeqId(end));
    }
    let what = format!("{options:?}");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inside = Arc::new(AtomicU64::new(0));
    let (noted, busy) = (Arc::clone(&seen), Arc::clone(&inside));
    let mut moods = Random(random.below(u64::MAX));
    let fails = random.below(3) == 0;
    let id = match hub.subscribe(stream, options, move |records| {
        if busy.fetch_add(1, Ordering::SeqCst) != 0 {
            noted.lock().unwrap().push(u64::MAX);
        }
        let refuse = fails && moods.below(10) == 0;
        if !refuse {
            noted.lock().unwrap().extend(records.iter().map(|record| record.seq_id.0));
        }
        busy.fetch_sub(1, Ordering::SeqCst);
        if refuse { Err("in a bad mood".into()) } else { Ok(()) }
    }) {
        Ok(id) => id,
        // The producers have passed the end already.
        Err(_) => return Visit { stream, after: 0, upto: 0, seen: Vec::new(), what },
    };
    let came = hub.log().committed().0;
    // Left in the middle, or when it has ended, or when it has caught up.
    let upto = match (random.below(3), end) {
        (0, _) => None,
        (_, Some(end)) => {
            until("its end", || hub.status(&id).unwrap().state == SubscriptionState::Ended);
            Some(end)
        }
        (_, None) => {
            // The producers are at work, so there is something after its start soon.
            let floor = explicit.unwrap_or(came);
            let mut newest = 0;
            until("a record", || {
                newest = hub.log().stream(stream).map_or(0, |stats| stats.last_seq_id.0);
                newest > floor
            });
            until("the newest record", || seen.lock().unwrap().last().is_some_and(|last| *last >= newest));
            Some(newest)
        }
    };
    hub.unsubscribe(&id);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let last = seen.last().copied().unwrap_or(0);
    // What was committed before the call and what was committed after it is known; in between is not.
    let first =
        explicit.unwrap_or_else(|| seen.first().map_or(came, |first| (first - 1).clamp(newest, came)));
    Visit { stream, after: first, upto: upto.map_or(last, |upto| upto.max(last)), seen, what }
}

#[test]
fn producers_and_subscribers_that_come_and_go_lose_nothing_between_them() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for (k, durability) in [Durability::Buffered, Durability::Sync].into_iter().enumerate() {
        let log = open(&Options::new().segment_bytes(1 << 20).durability(durability), &MemoryStorage::new());
        in_time_of(seconds() + 60, move || crowd(&log, seed + k as u64));
    }
}

fn in_time_of(seconds: u64, run: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(run);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !thread.is_finished() {
        assert!(Instant::now() < deadline, "somebody hangs");
        thread::sleep(Duration::from_millis(5));
    }
    thread.join().unwrap();
}

fn crowd(log: &Log, seed: u64) {
    let hub = hub(log);
    let (model, stop) = (Arc::new(Model::default()), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..8)
        .map(|k| {
            let (hub, model, stop) = (hub.clone(), Arc::clone(&model), Arc::clone(&stop));
            thread::spawn(move || produce(&hub, &model, &stop, seed * 100 + k))
        })
        .collect();
    let deadline = Instant::now() + Duration::from_millis(seconds() * 500);
    let subscribers: Vec<_> = (0..20)
        .map(|k| {
            let hub = hub.clone();
            thread::spawn(move || {
                let mut random = Random(seed * 1_000 + k);
                let mut visits = Vec::new();
                while Instant::now() < deadline {
                    visits.push(visit(&hub, &mut random));
                }
                visits
            })
        })
        .collect();
    let visits: Vec<Visit> = subscribers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    stop.store(true, Ordering::Relaxed);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    let (mut delivered, model) = (0, model.sorted());
    for visit in &visits {
        let due = range(&model[&visit.stream], visit.after, visit.upto);
        assert_eq!(visit.seen, due, "seed {seed}, stream {}, {}", visit.stream, visit.what);
        delivered += due.len();
    }
    assert!(visits.len() >= 20 && delivered > 1_000, "{} visits, {delivered} records", visits.len());
    println!("{} visits, {delivered} records of {}", visits.len(), log.committed());
    assert!(hub.statuses().is_empty());
    in_time("close", move || hub.close());
}

#[test]
fn a_record_that_commits_at_the_moment_of_the_last_look_is_delivered() {
    let log = open(&Options::new().durability(Durability::Buffered), &MemoryStorage::new());
    let hub = hub(&log);
    let (tell, told) = std::sync::mpsc::channel();
    hub.subscribe(stream(1), SubscribeOptions::new(), move |records| {
        tell.send(records.len())?;
        Ok(())
    })
    .unwrap();
    // A ping for a pong: each is appended while the run that delivered the one before is ending.
    for n in 0..20_000 {
        log.append(stream(1), &batch(n, 1, 16)).unwrap();
        assert_eq!(told.recv_timeout(hub_support::LONG).expect("forgotten"), 1, "record {n}");
    }
}
