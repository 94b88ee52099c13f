//! Appends: each durability, three sizes, one to 64 producers, alone and in batches.
//!
//! One iteration is one append by every producer.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stratalog::{Batch, Durability, Log};
use support::{DURABILITIES, SIZES, batch, fresh, stream, warm};

const PRODUCERS: [u64; 4] = [1, 4, 16, 64];
const BATCHES: [u64; 2] = [100, 1_000];

/// What lies behind is purged after this many bytes, so that a long run fits on the disk.
const KEEP: u64 = 512 << 20;

criterion_group! { name = benches; config = support::criterion(); targets = single, batches }
criterion_main!(benches);

fn single(criterion: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let mut ground = Ground::new(durability);
        let mut group = criterion.benchmark_group(format!("append, {name}"));
        for size in SIZES {
            for producers in PRODUCERS {
                group.throughput(Throughput::Elements(producers));
                let batch = batch(1, size);
                let id = BenchmarkId::new(format!("{producers} producers"), format!("{size} B"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| ground.append(producers, times, &batch));
                });
            }
        }
    }
}

fn batches(criterion: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let mut ground = Ground::new(durability);
        let mut group = criterion.benchmark_group(format!("append of batches, {name}"));
        for size in SIZES {
            for records in BATCHES {
                group.throughput(Throughput::Elements(records));
                let batch = batch(records, size);
                let id = BenchmarkId::new(format!("{records} records"), format!("{size} B"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| ground.append(1, times, &batch));
                });
            }
        }
    }
}

struct Ground {
    _directory: tempfile::TempDir,
    log: Log,
    since_purge: u64,
}

impl Ground {
    fn new(durability: Durability) -> Self {
        let directory = fresh();
        let log = warm(directory.path(), durability);
        Ground { _directory: directory, log, since_purge: 0 }
    }

    /// From the moment when all producers are there to the last acknowledgement.
    fn append(&mut self, producers: u64, times: u64, batch: &Batch) -> Duration {
        let (log, held) = (&self.log, self.log.committed().0);
        let barrier = Barrier::new(producers as usize + 1);
        let took = std::thread::scope(|scope| {
            for producer in 0..producers {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..times {
                        log.append(stream(producer), batch).unwrap();
                    }
                    barrier.wait();
                });
            }
            barrier.wait();
            let begun = Instant::now();
            barrier.wait();
            begun.elapsed()
        });
        assert_eq!(log.committed().0, held + producers * times * batch.len() as u64);
        self.since_purge += producers * times * batch.frame_bytes() as u64;
        if self.since_purge > KEEP {
            self.since_purge = 0;
            for n in 0..64 {
                log.purge(stream(n), log.committed()).unwrap();
            }
        }
        took
    }
}
