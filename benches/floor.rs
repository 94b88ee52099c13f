//! The log beside the floor of the disk, in one run, round by round, which criterion does not do:
//! `cargo bench --bench floor`.
//!
//! The floor is the least that a durable append can be: a positioned write of the same bytes into
//! a file that was filled with zeros before, and an fdatasync. A round does the same number of
//! appends on both sides; the ratio is taken within a round, the median over the rounds.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use stratalog::{Batch, Log, Options};
use support::{SIZES, fresh, grow, or_little, stream};

fn main() {
    if !support::is_wanted(&["floor"]) {
        return;
    }
    let dir = fresh();
    println!("{:<34} {:>12} {:>12} {:>7} {:>15}", "work", "floor/s", "log/s", "ratio", "of rounds");
    for size in SIZES {
        row(
            &format!("sync, 1 producer, {size} B"),
            or_little(1_000, 10) as usize,
            |n| floor(dir.path(), size, n),
            |n| single(dir.path(), size, n),
        );
    }
}

fn row(name: &str, n: usize, floor: impl Fn(usize) -> f64, log: impl Fn(usize) -> f64) {
    let count = or_little(9, 1) as usize;
    let mut rounds: Vec<(f64, f64)> = (0..count)
        .map(|round| {
            if round % 2 == 0 {
                (floor(n), log(n))
            } else {
                let log = log(n);
                (floor(n), log)
            }
        })
        .collect();
    let mut ratios: Vec<f64> = rounds.iter().map(|(floor, log)| log / floor).collect();
    ratios.sort_by(f64::total_cmp);
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let floor = rounds[count / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    let log = rounds[count / 2].1;
    println!(
        "{name:<34} {floor:>12.0} {log:>12.0} {:>7.2} {:>7.2}..{:.2}",
        ratios[count / 2],
        ratios[0],
        ratios[count - 1]
    );
}

/// Appends per second.
fn timed(n: usize, mut one: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for k in 0..n {
        one(k);
    }
    n as f64 / start.elapsed().as_secs_f64()
}

fn zeroed(path: &Path, bytes: usize) -> File {
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path).unwrap();
    let zeros = vec![0; 1 << 20];
    for k in 0..bytes.div_ceil(zeros.len()) {
        file.write_all_at(&zeros, (k * zeros.len()) as u64).unwrap();
    }
    file.sync_all().unwrap();
    file
}

fn floor(dir: &Path, size: usize, n: usize) -> f64 {
    let file = zeroed(&dir.join("floor"), n * size + (1 << 20));
    let bytes = vec![7; size];
    timed(n, |k| {
        file.write_all_at(&bytes, (k * size) as u64).unwrap();
        file.sync_data().unwrap();
    })
}

/// A log whose segment is as ready as the floor's file.
fn warm(dir: &Path, bytes: usize) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let options = Options::new().segment_bytes((bytes as u64 + (8 << 20)).max(64 << 20));
    let log = options.open(dir.path()).unwrap();
    grow(&log);
    (dir, log)
}

fn single(dir: &Path, size: usize, n: usize) -> f64 {
    let (_dir, log) = warm(dir, n * size);
    let bytes = vec![7; size];
    let mut batch = Batch::new();
    timed(n, |_| {
        batch.clear();
        batch.push(&bytes);
        log.append(stream(1), &batch).unwrap();
    })
}
