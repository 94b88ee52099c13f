//! Bytes that a recovery cut off, and a power cut brought back, lie behind the end of their segment: also
//! for a follower that learns only later that the segment which told the end was freed.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::{SimulatedStorage, Survives};
use stratalog::{Durability, Log, Options, Upkeep};
use support::{all, batch, stream};

fn open(storage: &SimulatedStorage, durability: Durability) -> Log {
    let options = Options::new().segment_bytes(64 << 10).durability(durability).upkeep(Upkeep::Caller);
    options.open_storage(Arc::new(storage.clone())).unwrap()
}

#[test]
fn a_follower_shows_nothing_that_was_cut_off_once_the_next_segment_is_freed() {
    let mut came_back = 0;
    for seed in 0..60 {
        let storage = SimulatedStorage::new(seed);
        let log = open(&storage, Durability::Buffered);
        log.append(stream(1), &batch(1, 1, 300)).unwrap();
        log.sync().unwrap();
        log.append(stream(2), &batch(100, 30, 300)).unwrap();
        let storage = storage.after_power_cut(Survives::Chance(128), seed);
        let log = open(&storage, Durability::Sync);
        if all(&log).len() != 1 {
            continue;
        }
        log.append(stream(3), &batch(2, 1, 20)).unwrap();
        drop(log);
        let log = open(&storage, Durability::Sync);
        log.append(stream(1), &batch(3, 1, 20)).unwrap();
        drop(log);
        let log = open(&storage, Durability::Sync);
        let dead = log.stream_reader(stream(3), ..).unwrap().last().unwrap().unwrap();
        log.purge(stream(3), dead.seq_id).unwrap();
        let storage = storage.after_power_cut(Survives::Nothing, seed);
        let log = open(&storage, Durability::Sync);
        let follower = Options::new().open_storage_read_only(Arc::new(storage.clone())).unwrap();
        assert_eq!(all(&follower), all(&log), "seed {seed}");
        came_back += 1;
    }
    assert!(came_back > 5, "{came_back}");
}
