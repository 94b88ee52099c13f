//! One record by its SeqId, or by stream and log_offset, anywhere in the log; warm, verified.
//!
//! `STRATALOG_BENCH_GIB=4` looks at logs from 64 MiB to 4 GiB, else at 64 MiB alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use stratalog::{Durability, LogOffset, Options, SeqId};
use support::{Chance, SIZES, batch, fill, fresh, log_sizes, stream};

const STREAMS: u64 = 100;

criterion_group! { name = benches; config = support::criterion(); targets = point_read }
criterion_main!(benches);

fn point_read(criterion: &mut Criterion) {
    for size in SIZES {
        let directory = fresh();
        let log = Options::new().durability(Durability::Buffered).open(directory.path()).unwrap();
        let batch = batch(1, size);
        let mut group = criterion.benchmark_group(format!("point read, {size} B"));
        for mib in log_sizes() {
            let held = fill(&log, mib << 20, &batch, STREAMS);
            log.checkpoint().unwrap();
            let mut chance = Chance(1);
            group.bench_function(BenchmarkId::new("by SeqId", format!("{mib} MiB")), |bencher| {
                bencher.iter(|| {
                    let seq_id = SeqId(1 + chance.below(held));
                    let record = black_box(log.record(seq_id).unwrap().unwrap());
                    assert_eq!((record.seq_id, record.payload.len()), (seq_id, size));
                });
            });
            group.bench_function(BenchmarkId::new("by log_offset", format!("{mib} MiB")), |bencher| {
                bencher.iter(|| {
                    let offset = LogOffset(1 + chance.below(held / STREAMS));
                    let record = log.record_at(stream(chance.below(STREAMS)), offset).unwrap().unwrap();
                    assert_eq!((record.log_offset, record.payload.len()), (offset, size));
                    record
                });
            });
        }
    }
}
