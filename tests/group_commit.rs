//! Appends that wait at the same time share a sync, and none returns before its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::Write;

use stratalog::{Batch, Options, StreamId};
use support::{all, assert_well_formed, payload};

const THREADS: u64 = 64;
const EACH: u64 = 50;

#[test]
fn sixty_four_threads_share_their_syncs() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Options::new().open(dir.path()).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|t| {
            let log = log.clone();
            // Written to right after each ack: a system call trace shows it behind its sync.
            let mut told = File::options().write(true).open("/dev/null").unwrap();
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let batch = Batch::one(&payload(t * EACH + n, 2048));
                    let appended = log.append(StreamId::from_u128(u128::from(t)), &batch).unwrap();
                    assert!(log.durable() >= appended.first_seq_id);
                    told.write_all(format!("ack {}\n", appended.first_seq_id).as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let counters = log.counters();
    let records = all(&log);
    assert_well_formed(&records);
    assert_eq!(records.len() as u64, THREADS * EACH);
    println!("{counters:?}: {:.3} syncs per record", counters.syncs as f64 / counters.records as f64);
    assert!(counters.syncs * 10 < counters.records, "{counters:?}");
}
