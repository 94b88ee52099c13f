//! What subscriptions deliver: how long after the ack, how many a second, and what a new one costs.
//!
//! What they cost those who append is in `subscribed`.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use stratalog::{Delivery, Durability, Hub, HubOptions, Log, SeqId, Start, SubscribeOptions};
use support::{batch, fresh, or_little, repeat, stream, warm};

const SUBSCRIBERS: [u64; 4] = [1, 10, 100, 1_000];
const RECORD: usize = 512;

criterion_group! {
    name = benches;
    config = support::criterion();
    targets = after_the_ack, inline, deliveries, empty_stream
}
criterion_main!(benches);

/// Counts deliveries, and tells who waits when the last one due was made.
struct Counter {
    begun: Instant,
    taken: AtomicU64,
    due: AtomicU64,
    last_nanos: AtomicU64,
    waiter: Thread,
}

impl Counter {
    fn new() -> Arc<Self> {
        Arc::new(Counter {
            begun: Instant::now(),
            taken: AtomicU64::new(0),
            due: AtomicU64::new(u64::MAX),
            last_nanos: AtomicU64::new(0),
            waiter: std::thread::current(),
        })
    }

    fn expect(&self, deliveries: u64) {
        self.due.store(self.taken.load(Ordering::SeqCst) + deliveries, Ordering::SeqCst);
    }

    fn took(&self, records: u64) {
        if self.taken.fetch_add(records, Ordering::SeqCst) + records == self.due.load(Ordering::SeqCst) {
            self.last_nanos.store(self.begun.elapsed().as_nanos() as u64, Ordering::SeqCst);
            self.waiter.unpark();
        }
    }

    /// When the last one was made.
    fn wait(&self) -> Duration {
        while self.taken.load(Ordering::SeqCst) < self.due.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        loop {
            // The one who took the last is about to say when.
            match self.last_nanos.swap(0, Ordering::SeqCst) {
                0 => std::thread::yield_now(),
                nanos => return Duration::from_nanos(nanos),
            }
        }
    }

    fn subscribe(self: &Arc<Self>, hub: &Hub, subscribers: u64, options: &SubscribeOptions) {
        for _ in 0..subscribers {
            let counter = Arc::clone(self);
            let consume = move |records: &[stratalog::Record]| {
                counter.took(records.len() as u64);
                Ok(())
            };
            hub.subscribe(stream(0), options.clone(), consume).unwrap();
        }
    }
}

fn hub(log: Log) -> Hub {
    Hub::new(log, HubOptions::new()).unwrap()
}

/// From the return of an append to the call of the last of all subscribers; what was delivered before
/// the append returned counts as nothing.
fn after_the_ack(criterion: &mut Criterion) {
    for (name, durability) in [("sync", Durability::Sync), ("buffered", Durability::Buffered)] {
        let mut group = criterion.benchmark_group(format!("latency after the ack, {name}"));
        let batch = batch(1, RECORD);
        for subscribers in SUBSCRIBERS {
            let directory = fresh();
            let hub = hub(warm(directory.path(), durability));
            let counter = Counter::new();
            counter.subscribe(&hub, subscribers, &SubscribeOptions::new());
            group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
                bencher.iter_custom(|times| {
                    let one = |_| {
                        counter.expect(subscribers);
                        hub.append(stream(0), &batch).unwrap();
                        let acknowledged = counter.begun.elapsed();
                        counter.wait().saturating_sub(acknowledged)
                    };
                    (0..times).map(one).sum()
                });
            });
        }
    }
}

/// An append that returns once it was delivered.
fn inline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("buffered append to inline subscribers");
    let batch = batch(1, RECORD);
    for subscribers in [0, 1, 10, 100] {
        let directory = fresh();
        let hub = hub(warm(directory.path(), Durability::Buffered));
        let options = SubscribeOptions::new().delivery(Delivery::Inline);
        Counter::new().subscribe(&hub, subscribers, &options);
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter(|| hub.append(stream(0), &batch).unwrap());
        });
    }
}

/// All subscribers together: one iteration is `records` records to each of them.
fn deliveries(criterion: &mut Criterion) {
    let in_a_batch = 100;
    let batch = batch(in_a_batch, RECORD);
    for (name, live) in [("backfill", false), ("live tail", true)] {
        let mut group = criterion.benchmark_group(format!("deliveries, {name}"));
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        for subscribers in SUBSCRIBERS {
            let records = or_little((1_000_000 / subscribers).clamp(1_000, 100_000), in_a_batch);
            group.throughput(Throughput::Elements(records * subscribers));
            let directory = fresh();
            let log = warm(directory.path(), Durability::Buffered);
            let append = || repeat(&log, records / in_a_batch, &batch);
            append();
            group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
                bencher.iter_custom(|times| {
                    let one = |_| {
                        let start = log.committed().0 - if live { 0 } else { records };
                        let options = SubscribeOptions::new().start(Start::After(SeqId(start)));
                        let (hub, counter) = (hub(log.clone()), Counter::new());
                        counter.expect(records * subscribers);
                        let begun = counter.begun.elapsed();
                        counter.subscribe(&hub, subscribers, &options);
                        if live {
                            append();
                        }
                        let took = counter.wait() - begun;
                        hub.close();
                        took
                    };
                    (0..times).map(one).sum()
                });
            });
        }
    }
}

/// A stream without a record beside a million of others.
fn empty_stream(criterion: &mut Criterion) {
    let directory = fresh();
    let log = warm(directory.path(), Durability::Buffered);
    let batch = batch(1_000, 64);
    repeat(&log, or_little(1_000, 1), &batch);
    let hub = hub(log);
    let mut next = 1;
    criterion.bench_function("subscribe to an empty stream beside 1,000,000 records", |bencher| {
        let options = || {
            next += 1;
            (stream(next), SubscribeOptions::new().start(Start::After(SeqId(0))))
        };
        let subscribe = |(stream, options)| hub.subscribe(stream, options, |_| Ok(())).unwrap();
        bencher.iter_batched(options, subscribe, BatchSize::SmallInput);
    });
}
