//! A follower that goes on from a checkpoint knows of cursors what the checkpoint says, no more.
#![allow(clippy::unwrap_used)]
mod support;

use std::sync::Arc;

use stratalog::SeqId;
use stratalog::storage::MemoryStorage;
use support::{batch, open, small, stream};

#[test]
fn cursors_that_went_back_or_went_away_meanwhile_do_so_for_a_follower_too() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append(stream(2), &batch(0, 5, 10)).unwrap();
    for n in 0..40 {
        log.append(stream(1), &batch(n, 1, 4_000)).unwrap();
    }
    log.advance_cursor(stream(2), "back", SeqId(5)).unwrap();
    log.advance_cursor(stream(2), "gone", SeqId(5)).unwrap();
    log.append(stream(1), &batch(40, 1, 10)).unwrap();
    let follower = small().open_storage_read_only(Arc::new(storage)).unwrap();
    assert_eq!(follower.cursors(), log.cursors());
    log.rollback_cursor(stream(2), "back", SeqId(2)).unwrap();
    log.drop_cursor(stream(2), "gone").unwrap();
    for n in 0..100 {
        log.append(stream(1), &batch(n, 1, 4_000)).unwrap();
    }
    // The follower's place, and what said the above, are freed.
    log.purge(stream(1), SeqId(log.committed().0 - 1)).unwrap();
    log.append(stream(1), &batch(0, 1, 10)).unwrap();
    while follower.refresh().unwrap() {}
    assert_eq!(follower.cursors(), log.cursors());
}
