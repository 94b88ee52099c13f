//! Opening a log that was closed, and one whose process was killed, by the size of the log; warm. The
//! rate of the latter is that of the bytes behind its checkpoint, which it has to read.
//!
//! `STRATALOG_BENCH_GIB=4` looks at logs from 64 MiB to 4 GiB, else at 64 MiB alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use stratalog::{Durability, Options, SeqId};
use support::{batch, fill, fresh, log_sizes, or_little};

/// Recovery writes to the newest files at most; the others are shared with the log that was left.
const COPIED: usize = 3;

criterion_group! {
    name = benches;
    config = support::criterion().sample_size(10).measurement_time(Duration::from_secs(1));
    targets = clean, crashed
}
criterion_main!(benches);

fn options() -> Options {
    Options::new().durability(Durability::Buffered)
}

fn clean(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    group.sampling_mode(SamplingMode::Flat);
    let (directory, batch) = (fresh(), batch(100, 6656));
    for mib in log_sizes() {
        let log = options().open(directory.path()).unwrap();
        let records = fill(&log, mib << 20, &batch, 100);
        log.close().unwrap();
        group.bench_function(BenchmarkId::new("closed", format!("{mib} MiB")), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| open(directory.path(), records)).sum());
        });
    }
}

fn crashed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    group.sampling_mode(SamplingMode::Flat);
    for size in [256, 2048] {
        let (directory, batch) = (fresh(), batch(1, size));
        // An idle moment is nothing that a process killed in the middle has.
        let log = options().idle_witness(Duration::from_secs(3_600)).open(directory.path()).unwrap();
        for mib in log_sizes() {
            fill(&log, mib << 20, &batch, 100);
            // Nearly as much behind the checkpoint as there ever is.
            log.checkpoint().unwrap();
            let records = fill(&log, (mib << 20) + or_little(30 << 20, 64 << 10), &batch, 100);
            std::thread::sleep(Duration::from_millis(or_little(500, 10)));
            group.throughput(Throughput::Bytes(log.stats().unwrap().bytes_since_checkpoint));
            let id = BenchmarkId::new(format!("killed, {size} B"), format!("{mib} MiB"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| {
                    let one = |_| {
                        let left = fresh();
                        leave(directory.path(), left.path());
                        open(left.path(), records)
                    };
                    (0..times).map(one).sum()
                });
            });
        }
    }
}

/// How long it takes until it can be appended to.
fn open(directory: &Path, records: u64) -> Duration {
    let begun = Instant::now();
    let log = options().open(directory).unwrap();
    let took = begun.elapsed();
    assert_eq!(log.committed(), SeqId(records));
    log.close().unwrap();
    took
}

/// What a kill of the process would leave of a log that is open.
fn leave(log: &Path, into: &Path) {
    let mut names: Vec<_> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    let is_segment =
        |name: &std::ffi::OsString| Path::new(name).extension().is_some_and(|end| end == "segment");
    let segments: Vec<_> = names.iter().filter(|name| is_segment(name)).collect();
    let shared = &segments[..segments.len().saturating_sub(COPIED)];
    for name in &names {
        if shared.contains(&name) {
            fs::hard_link(log.join(name), into.join(name)).unwrap();
        } else {
            fs::copy(log.join(name), into.join(name)).unwrap();
        }
    }
}
