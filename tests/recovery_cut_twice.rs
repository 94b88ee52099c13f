//! A recovery that is killed and run again in the same boot builds on nothing that the first one did
//! not live to make durable.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::{SimulatedStorage, Survives};
use stratalog::{Durability, Options, Upkeep};
use support::{all, batch, stream};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).durability(Durability::Buffered).upkeep(Upkeep::Caller)
}

#[test]
fn what_a_second_recovery_shows_no_power_cut_takes_back() {
    let storage = SimulatedStorage::new(1);
    let log = options().open_storage(Arc::new(storage.clone())).unwrap();
    log.append(stream(1), &batch(1, 2, 300)).unwrap();
    log.sync().unwrap();
    log.append(stream(1), &batch(3, 2, 9_000)).unwrap();
    log.append(stream(2), &batch(5, 1, 20)).unwrap();
    let killed = storage.after_kill();
    let mut shown = 0;
    for call in 1..80 {
        let first = killed.after_kill();
        first.crash_at_call(call);
        drop(options().open_storage(Arc::new(first.clone())));
        let Some(second) = first.crashed() else { break };
        let log = options().open_storage(Arc::new(second.clone())).unwrap();
        assert_eq!(all(&log).len(), 5);
        for seed in 0..30 {
            let survives = [Survives::Nothing, Survives::Everything, Survives::Chance(128)][seed % 3];
            let cut = second.after_power_cut(survives, seed as u64);
            let log = options().open_storage(Arc::new(cut)).unwrap();
            assert_eq!(all(&log).len(), 5, "killed at call {call}, {survives:?}, seed {seed}");
        }
        shown += 1;
    }
    assert!(shown > 10, "{shown}");
}
