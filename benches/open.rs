//! How long it takes to open a log that was closed, by its size:
//! `cargo bench --bench open [-- GIB [DIRECTORY]]`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Instant;

use stratalog::{Batch, Durability, Options, SeqId, StreamId};

const RECORD: usize = 6_656;
const IN_A_BATCH: usize = 100;
const OPENS: usize = 21;

fn main() {
    let mut given = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let most: u64 = given.next().map_or(1, |gib| gib.parse().expect("GIB: expected a number"));
    let place = given.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    println!("in {}", place.canonicalize().unwrap().display());
    println!("{:>10} {:>12} {:>14} {:>16}", "size, MiB", "records", "open, us (p50)", "slowest, us");
    let dir = tempfile::tempdir_in(&place).unwrap();
    let options = Options::new().durability(Durability::Buffered);
    let mut batch = Batch::new();
    for n in 0..IN_A_BATCH {
        batch.push(&vec![n as u8; RECORD]);
    }
    let mut mib = 64;
    while mib <= most << 10 {
        let log = options.open(dir.path()).unwrap();
        let per_batch = batch.frame_bytes() as u64;
        let due = (mib << 20) / per_batch;
        let held = log.committed().0 / IN_A_BATCH as u64;
        for n in held..due {
            log.append(StreamId::from_u128(u128::from(n % 100)), &batch).unwrap();
        }
        log.close().unwrap();
        drop(log);
        let mut times: Vec<u128> = (0..OPENS)
            .map(|_| {
                let start = Instant::now();
                let log = options.open(dir.path()).unwrap();
                let time = start.elapsed().as_micros();
                assert_eq!(log.committed(), SeqId(due * IN_A_BATCH as u64));
                time
            })
            .collect();
        times.sort_unstable();
        println!(
            "{mib:>10} {:>12} {:>14} {:>16}",
            due * IN_A_BATCH as u64,
            times[OPENS / 2],
            times[OPENS - 1]
        );
        mib *= 4;
    }
}
