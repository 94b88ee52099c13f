//! A writer that frees segments while a follower looks for its place is no damage to the follower.
#![allow(clippy::unwrap_used)]
#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hooked::{Hooked, nothing};
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, SeqId};
use support::{open, payload, small, stream};

/// Fills some segments, each time to other places, and frees all that it can.
fn churn(log: &Log) -> SeqId {
    let mut last = SeqId(0);
    let len = 3_000 + 1_000 * (log.committed().0 % 3) as usize;
    for n in 0..64 {
        last = log.append(stream(1), &Batch::one(&payload(n, len))).unwrap().first_seq_id;
    }
    log.purge(stream(1), SeqId(last.0 - 1)).unwrap();
    last
}

/// The writer overtakes the follower at each of the looks at the directory that one refresh takes,
/// and at several in a row.
#[test]
fn a_follower_whose_place_is_freed_again_and_again_goes_on() {
    for (from, upto) in [(1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 3), (2, 4), (1, 4)] {
        let storage = MemoryStorage::new();
        let log = open(&small(), &storage);
        churn(&log);
        let looks = Arc::new(AtomicU64::new(u64::MAX));
        let (writer, counted) = (log.clone(), Arc::clone(&looks));
        let before = Arc::new(move |operation: &str, _: &str| {
            if operation == "list" && counted.load(Ordering::Relaxed) < 1_000 {
                let look = counted.fetch_add(1, Ordering::Relaxed) + 1;
                if (from..=upto).contains(&look) {
                    churn(&writer);
                }
            }
            Ok(())
        });
        let seen = Hooked::new(Arc::new(storage.clone()), before, nothing());
        let follower = small().open_storage_read_only(Arc::new(seen)).unwrap();
        let last = churn(&log);
        looks.store(0, Ordering::Relaxed);
        while follower.refresh().unwrap() {}
        let looked = looks.swap(u64::MAX, Ordering::Relaxed);
        assert!(looked >= 2, "{looked} looks do not reach the place that was freed");
        assert!(follower.committed() >= last, "looks {from} to {upto}: {} of {last}", follower.committed());
    }
}
