//! Where nobody waits for a sync, a frame is committed when it is written: what a failed write left of
//! a group must not pass for that.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::SimulatedStorage;
use stratalog::{Durability, Error, Options, ProducerId, Terms, Upkeep};
use support::{all, batch, stream};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).durability(Durability::Buffered).upkeep(Upkeep::Caller)
}

#[test]
fn a_follower_never_shows_a_batch_whose_write_failed() {
    for seed in 0..100 {
        let storage = SimulatedStorage::new(seed);
        let log = options().open_storage(Arc::new(storage.clone())).unwrap();
        log.append(stream(1), &batch(1, 1, 100)).unwrap();
        // What carries a note is staged, so that the next goes with it.
        let noted = Terms::new().producer(ProducerId::from_u128(1), 1);
        let first = log.submit_on(&noted, stream(1), &batch(2, 1, 100)).unwrap();
        // Any part of the group gets there, by the seed.
        storage.fail_call(storage.calls() + 1);
        log.append(stream(1), &batch(3, 1, 100)).unwrap_err();
        assert!(matches!(first.wait(), Err(Error::Io { .. })));
        let follower = options().open_storage_read_only(Arc::new(storage.clone())).unwrap();
        assert_eq!(all(&follower).len(), 1, "seed {seed}");
        log.append(stream(1), &batch(4, 1, 100)).unwrap();
        assert_eq!(all(&log).len(), 2, "seed {seed}");
    }
}

#[test]
fn where_that_cannot_be_undone_the_outcome_is_unknown_and_the_log_says_so() {
    for seed in 0..20 {
        let storage = SimulatedStorage::new(seed);
        let log = options().open_storage(Arc::new(storage.clone())).unwrap();
        log.append(stream(1), &batch(1, 1, 100)).unwrap();
        storage.fail_call(storage.calls() + 1);
        storage.fail_call(storage.calls() + 2);
        log.append(stream(1), &batch(2, 1, 100)).unwrap_err();
        assert!(matches!(log.append(stream(1), &batch(3, 1, 100)), Err(Error::Poisoned(_))));
    }
}
