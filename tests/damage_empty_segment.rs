//! A crash right behind the start of a new segment leaves it empty, and its name is used again.
#![allow(clippy::unwrap_used)]

mod support;

use stratalog::storage::{Access, MemoryStorage, Storage};
use support::{all, batch, open, small, stream};

fn segments(storage: &MemoryStorage) -> Vec<String> {
    let mut names: Vec<String> = storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".segment"));
    names.sort();
    names
}

#[test]
fn records_in_a_segment_that_was_empty_at_the_last_close_survive_a_crash() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    let mut written = 0;
    while segments(&storage).len() < 2 {
        // Says that all before is durable, so that recovery need not write it anew.
        log.checkpoint().unwrap();
        log.append(stream(1), &batch(written, 1, 900)).unwrap();
        written += 1;
    }
    let crashed = storage.snapshot().unwrap();
    // The crash took the only frame of the new segment.
    let last = segments(&crashed).pop().unwrap();
    crashed.open(&last, Access::Write).unwrap().set_len(4096).unwrap();
    let log = open(&small(), &crashed);
    let due = all(&log);
    assert_eq!(due.len() as u64, written - 1);
    log.close().unwrap();

    let log = open(&small(), &crashed);
    log.append(stream(1), &batch(written - 1, 1, 900)).unwrap();
    let due = all(&log);
    assert_eq!(due.len() as u64, written);
    let again = crashed.snapshot().unwrap();
    assert_eq!(all(&open(&small(), &again)), due);
}
