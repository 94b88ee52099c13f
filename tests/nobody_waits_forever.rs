//! Who appends is told, whoever else comes, goes or waits.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use stratalog::{Log, Options};
use support::{batch, stream};

/// No disk takes so long: whoever has not come by then never will.
const FOREVER: Duration = Duration::from_secs(20);

/// So many producers at once; producer `k` appends `appends(k)` batches and goes.
fn producers_go_one_by_one(n: u64, appends: impl Fn(u64) -> u64) {
    let dir = tempfile::tempdir().unwrap();
    let log: Log = Options::new().segment_bytes(1 << 20).open(dir.path()).unwrap();
    let (done, came) = channel();
    for k in 0..n {
        let (log, done, appends) = (log.clone(), done.clone(), appends(k));
        thread::spawn(move || {
            for i in 0..appends {
                log.append(stream(u128::from(k)), &batch(i, 1, 100)).unwrap();
            }
            done.send(k).unwrap();
        });
    }
    for _ in 0..n {
        assert!(came.recv_timeout(FOREVER).is_ok(), "a producer still waits for its acknowledgement");
    }
}

#[test]
fn two_producers_of_whom_one_leads() {
    producers_go_one_by_one(2, |_| 300);
}

#[test]
fn a_small_crowd_that_gets_smaller() {
    producers_go_one_by_one(6, |k| 20 + 30 * k);
}

#[test]
fn a_large_crowd_that_gets_smaller() {
    producers_go_one_by_one(70, |k| 5 + k);
}
