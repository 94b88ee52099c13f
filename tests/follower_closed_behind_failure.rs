//! A write that failed after its bytes were there, beside a follower.
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::io;
use std::sync::Arc;

use hooked::{Hook, Hooked, nothing};
use parking_lot::Mutex;
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Log, SeqId};
use support::{all, all_of, batch, buffered, open, stream};

#[test]
fn closing_behind_a_failed_write_is_no_damage_to_a_follower() {
    let memory = MemoryStorage::new();
    let watching: Arc<Mutex<Option<Log>>> = Arc::default();
    let watches = Arc::clone(&watching);
    let after: Hook = Arc::new(move |operation, name| {
        if operation == "write"
            && name.starts_with("spare")
            && let Some(follower) = &*watches.lock()
            && follower.refresh().unwrap()
        {
            // The whole frame stands there; before its header is taken back, nothing tells that the write
            // failed.
            return Err(io::Error::other("after the bytes"));
        }
        Ok(())
    });
    let storage = Arc::new(Hooked::new(Arc::new(memory.clone()), nothing(), after));
    let log = buffered().open_storage(storage).unwrap();
    log.append(stream(1), &batch(0, 3, 100)).unwrap();
    let follower = buffered().open_storage_read_only(Arc::new(memory.clone()) as Arc<dyn Storage>).unwrap();
    assert_eq!(follower.committed(), SeqId(3));
    *watching.lock() = Some(follower.clone());
    log.append(stream(1), &batch(3, 1, 100)).unwrap_err();
    watching.lock().take();
    assert_eq!(follower.committed(), SeqId(4), "otherwise this shows nothing");
    log.close().unwrap();
    follower.refresh().unwrap();
    assert_eq!(follower.committed(), SeqId(3));
    assert_eq!(all(&follower), all_of(&follower, stream(1)));
    assert_eq!(all(&follower).len(), 3);
    // And goes on from there.
    let log = open(&buffered(), &memory);
    log.append(stream(1), &batch(10, 2, 50)).unwrap();
    follower.refresh().unwrap();
    assert_eq!(all(&follower), all(&log));
    assert_eq!(all(&follower).len(), 5);
}
