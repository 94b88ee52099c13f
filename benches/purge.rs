//! Purges: what a call costs, and what appends beside it suffer.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use stratalog::{Batch, Durability, Log, Options, SeqId};
use support::{batch, fresh, grow, or_little, repeat, stream};

const SEGMENT: u64 = 4 << 20;

criterion_group! { name = benches; config = support::criterion(); targets = calls, beside }
criterion_main!(benches);

fn open(directory: &std::path::Path, durability: Durability) -> Log {
    let log = Options::new().durability(durability).segment_bytes(SEGMENT).open(directory).unwrap();
    grow(&log);
    log
}

/// Gives back the space of some segments at once.
fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("purge of full segments");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let batch = batch(100, 2048);
    for segments in [1, 10] {
        let directory = fresh();
        let log = open(directory.path(), Durability::Buffered);
        group.bench_function(BenchmarkId::from_parameter(segments), |bencher| {
            bencher.iter_custom(|times| {
                let one = |_| {
                    let batches = or_little(segments, 1) * SEGMENT / batch.frame_bytes() as u64 + 1;
                    repeat(&log, batches, &batch);
                    let begun = Instant::now();
                    log.purge(stream(0), log.committed()).unwrap();
                    begun.elapsed()
                };
                (0..times).map(one).sum()
            });
        });
    }
}

/// One producer of durable batches of 10, of 2 KiB each, while nobody or somebody purges what is older
/// than some segments. Says percentiles too, which criterion doesn't.
fn beside(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("durable append");
    let batch = batch(10, 2048);
    for (name, purging) in [("alone", false), ("under purge", true)] {
        let directory = fresh();
        let log = open(directory.path(), Durability::Sync);
        let mut nanos = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| append(&log, &batch, times, purging, &mut nanos));
        });
        nanos.sort_unstable();
        let at = |share: f64| {
            let place = ((nanos.len() as f64 * share) as usize).min(nanos.len().saturating_sub(1));
            Duration::from_nanos(nanos.get(place).copied().unwrap_or(0))
        };
        println!(
            "durable append, {name}: {} appends, p50 {:?}, p99 {:?}, p99.9 {:?}",
            nanos.len(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
}

fn append(log: &Log, batch: &Batch, times: u64, purging: bool, nanos: &mut Vec<u64>) -> Duration {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if purging {
            scope.spawn(|| {
                let kept = 2 * SEGMENT / batch.frame_bytes() as u64 * batch.len() as u64;
                while !over.load(Ordering::Relaxed) {
                    let upto = log.committed().0.saturating_sub(kept);
                    if upto > 0 {
                        log.purge(stream(0), SeqId(upto)).unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let begun = Instant::now();
        for _ in 0..times {
            let begun = Instant::now();
            log.append(stream(0), batch).unwrap();
            nanos.push(begun.elapsed().as_nanos() as u64);
        }
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        took
    })
}
