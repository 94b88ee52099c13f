//! A writer that crashes and recovers twice takes no bytes from under a follower that saw it all.
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::time::Duration;

use hooked::{Hooked, nothing};
use stratalog::storage::{DiskStorage, Storage};
use stratalog::{Durability, Options, ReadMode, Upkeep};
use support::{abandon, all, all_of, batch, stream};

fn followed(mode: ReadMode, read_before: bool) {
    let dir = tempfile::tempdir().unwrap();
    let storage = || -> Arc<dyn Storage> {
        let disk = Arc::new(DiskStorage::existing(dir.path()).unwrap());
        Arc::new(Hooked::new(disk, nothing(), nothing()).lockless())
    };
    let options = Options::new()
        .segment_bytes(64 << 10)
        .idle_witness(Duration::from_secs(3600))
        .durability(Durability::Buffered)
        // A killed writer has no threads that go on.
        .upkeep(Upkeep::Caller)
        .read_mode(mode);
    let writer = options.open_storage(storage()).unwrap();
    for n in 0..400 {
        writer.append(stream(1), &batch(n, 1, 400)).unwrap();
        if n == 9 {
            writer.sync().unwrap();
        }
    }
    let follower = options.open_read_only(dir.path()).unwrap();
    if read_before {
        assert_eq!(all(&follower).len(), 400);
    }
    for n in 0..2 {
        let writer = options.open_storage(storage()).unwrap();
        writer.append(stream(1), &batch(400 + n, 1, 400)).unwrap();
        abandon(writer);
        follower.refresh().unwrap();
    }
    abandon(writer);
    let now = options.open_read_only(dir.path()).unwrap();
    assert_eq!(all(&now).len(), 402);
    assert_eq!(all(&follower), all(&now));
    assert_eq!(all_of(&follower, stream(1)), all_of(&now, stream(1)));
}

#[test]
fn what_a_follower_read_stays_readable() {
    followed(ReadMode::Positioned, true);
    followed(ReadMode::Mapped, true);
}

#[test]
fn what_a_follower_saw_and_did_not_read_yet_is_no_damage() {
    followed(ReadMode::Positioned, false);
    followed(ReadMode::Mapped, false);
}
