//! A writer that recovers writes again what it can't believe, in a segment in front of one that a follower has
//! been in: the follower goes on with that one when the segment from which it knew the records is freed.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::SimulatedStorage;
use stratalog::{Options, SeqId, Upkeep};
use support::{all, all_of, batch, small, stream};

fn options() -> Options {
    small().upkeep(Upkeep::Caller)
}

#[test]
fn what_was_written_again_behind_the_place_of_a_follower_stays_readable() {
    let mut moved = 0;
    for call in 1..60 {
        let storage = SimulatedStorage::new(call);
        let log = options().open_storage(Arc::new(storage.clone())).unwrap();
        for n in 0..10 {
            log.append(stream(1), &batch(n, 1, 5_000)).unwrap();
        }
        let follower = options().open_storage_read_only(Arc::new(storage.clone())).unwrap();
        storage.fail_call(storage.calls() + call);
        // Begins a new segment, or gets part of the way.
        let _ = log.append(stream(1), &batch(10, 1, 30_000));
        let _ = follower.refresh();
        drop(log);
        storage.fail_call(0);
        let Ok(log) = options().open_storage(Arc::new(storage.clone())) else { continue };
        moved += log.recovery().rewritten_records;
        let last = log.append(stream(1), &batch(11, 1, 30_000)).unwrap().last_seq_id().unwrap();
        log.purge(stream(1), SeqId(9)).unwrap();
        log.append(stream(1), &batch(12, 1, 30_000)).unwrap();
        for _ in 0..3 {
            follower.refresh().unwrap();
        }
        assert!(follower.committed() >= last, "call {call}");
        let seen = |record: &stratalog::Record| record.seq_id <= follower.committed();
        let due: Vec<_> = all(&log).into_iter().filter(seen).collect();
        assert!(all(&follower) == due, "call {call}");
        assert!(all_of(&follower, stream(1)) == due, "call {call}");
    }
    assert!(moved > 0);
}
