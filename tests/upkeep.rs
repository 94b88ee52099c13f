//! A log that is tended by its caller starts no thread and does everything a log does.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use stratalog::storage::{SimulatedStorage, Storage};
use stratalog::{Durability, Log, Options, Upkeep};
use support::{all, batch, stream};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10).upkeep(Upkeep::Caller)
}

fn open(options: &Options, storage: &SimulatedStorage) -> Log {
    options.open_storage(Arc::new(storage.clone())).unwrap()
}

#[test]
fn the_same_calls_make_the_same_accesses() {
    let run = || {
        let storage = SimulatedStorage::new(7);
        let log = open(&options(), &storage);
        let mut calls = Vec::new();
        for n in 0..60 {
            let pending = log.submit(stream(n % 3), &batch(n as u64, 3, 2_000)).unwrap();
            if n % 5 == 0 {
                log.tend().unwrap();
            }
            pending.wait().unwrap();
            calls.push(storage.calls());
        }
        log.close().unwrap();
        calls.push(storage.calls());
        calls
    };
    assert_eq!(run(), run());
}

#[test]
fn tending_commits_what_was_submitted_and_readies_the_next_segment() {
    let storage = SimulatedStorage::new(7);
    let log = open(&options(), &storage);
    let pending = log.submit(stream(1), &batch(1, 1, 100)).unwrap();
    assert!(pending.try_outcome().is_none());
    let names = || storage.list().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    log.tend().unwrap();
    assert!(pending.try_outcome().unwrap().is_ok());
    assert!(names().contains(&"spare".to_owned()), "{:?}", names());
    // A follower sees a last commit once a witness follows it.
    let follower = options().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    assert_eq!(all(&follower).len(), 1);
}

#[test]
fn timed_syncs_come_with_the_tending() {
    let storage = SimulatedStorage::new(7);
    let log = open(&options().durability(Durability::SyncEvery(Duration::from_millis(1))), &storage);
    log.append(stream(1), &batch(1, 1, 100)).unwrap();
    assert_eq!(log.durable().0, 0);
    log.tend().unwrap();
    assert!(log.durable().0 >= 1);
}

/// Nobody but the callers themselves is there to serve those who come while one leads, and to make
/// room in a queue that is full.
#[test]
fn many_callers_without_a_thread_of_the_log_all_get_served() {
    let storage = SimulatedStorage::new(7);
    let log = open(&options().queue_bytes(4096), &storage);
    std::thread::scope(|scope| {
        for n in 0..4u64 {
            let log = log.clone();
            scope.spawn(move || {
                for k in 0..100 {
                    let pending = log.submit(stream(n.into()), &batch(k, 2, 700)).unwrap();
                    if k % 3 == 0 {
                        pending.wait().unwrap();
                    } else if k % 3 == 1 {
                        log.append(stream(n.into()), &batch(k, 1, 300)).unwrap();
                    }
                }
            });
        }
    });
    log.tend().unwrap();
    assert_eq!(all(&log).len(), 4 * (100 * 2 + 33));
}
