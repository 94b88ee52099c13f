//! Reading one stream of many, beside the same records alone in a log.
#![allow(clippy::unwrap_used)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stratalog::{Durability, Log, LogOffset, Options};
use support::{batch, fresh, or_little, stream};

const RECORDS: u64 = 100;

criterion_group! { name = benches; config = support::criterion(); targets = backfill }
criterion_main!(benches);

fn backfill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("backfill of one stream");
    group.throughput(Throughput::Elements(RECORDS));
    for size in [256, 2048] {
        let streams = or_little(if size == 256 { 10_000 } else { 1_000 }, 10);
        for (name, streams) in [("alone".to_owned(), 1), (format!("among {streams}"), streams)] {
            let directory = fresh();
            let log = interleaved(directory.path(), streams, size);
            group.bench_function(BenchmarkId::new(&name, format!("{size} B")), |bencher| {
                bencher.iter(|| read(&log, streams / 2));
            });
            let half = LogOffset(RECORDS / 2);
            group.bench_function(BenchmarkId::new(format!("{name}, from the middle"), size), |bencher| {
                bencher.iter(|| black_box(log.stream_reader(stream(streams / 2), half..).unwrap().next()));
            });
        }
    }
}

fn interleaved(directory: &std::path::Path, streams: u64, size: usize) -> Log {
    let log = Options::new().durability(Durability::Buffered).open(directory).unwrap();
    let batch = batch(1, size);
    for n in 0..streams * RECORDS {
        log.append(stream(n % streams), &batch).unwrap();
    }
    log.checkpoint().unwrap();
    log
}

fn read(log: &Log, of: u64) {
    let mut read = 0;
    for record in log.stream_reader(stream(of), ..).unwrap() {
        black_box(record.unwrap());
        read += 1;
    }
    assert_eq!(read, RECORDS);
}
