//! Reading a whole log in order, warm, every checksum verified.
#![allow(clippy::unwrap_used)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stratalog::{Durability, Options, ReadMode};
use support::{SIZES, batch, fill, fresh, or_little};

criterion_group! { name = benches; config = support::criterion(); targets = replay }
criterion_main!(benches);

fn replay(criterion: &mut Criterion) {
    for (name, in_a_batch) in [("one record a batch", 1), ("batches of 100", 100)] {
        let mut group = criterion.benchmark_group(format!("replay, {name}"));
        for size in SIZES {
            let directory = fresh();
            let options = Options::new().durability(Durability::Buffered);
            let log = options.open(directory.path()).unwrap();
            let records = fill(&log, or_little(64, 1) << 20, &batch(in_a_batch, size), 16);
            log.close().unwrap();
            group.throughput(Throughput::Elements(records));
            for (mode, read) in [("mapped", ReadMode::Mapped), ("positioned", ReadMode::Positioned)] {
                let log = options.clone().read_mode(read).open(directory.path()).unwrap();
                group.bench_function(BenchmarkId::new(mode, format!("{size} B")), |bencher| {
                    bencher.iter(|| {
                        let mut read = 0;
                        for record in log.reader(..).unwrap() {
                            black_box(record.unwrap());
                            read += 1;
                        }
                        assert_eq!(read, records);
                    });
                });
                log.close().unwrap();
            }
        }
    }
}
