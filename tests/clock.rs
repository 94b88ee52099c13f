//! A clock that steps back: timestamps never decrease, in one life and over the next ones.
#![allow(clippy::unwrap_used)]
mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stratalog::storage::{Access, DirectoryEntry, MemoryStorage, Storage, StorageFile, StorageLock};
use stratalog::{Batch, Log, Result};
use support::{all, assert_well_formed, payload, small, stream};

/// A directory in memory beside a clock that is set by hand.
#[derive(Debug, Clone, Default)]
struct Clocked {
    files: MemoryStorage,
    micros: Arc<AtomicI64>,
}

impl Clocked {
    fn set(&self, micros: i64) {
        self.micros.store(micros, Ordering::Relaxed);
    }

    fn open(&self) -> Log {
        small().open_storage(Arc::new(self.clone())).unwrap()
    }
}

impl Storage for Clocked {
    fn name(&self) -> String {
        self.files.name()
    }
    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        self.files.lock()
    }
    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.files.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.files.create(name, len)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.files.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }
    fn unix_micros(&self) -> i64 {
        self.micros.load(Ordering::Relaxed)
    }
    fn random(&self) -> u64 {
        self.files.random()
    }
}

/// A time, and what comes before the clock is set to it.
enum Then {
    Append(i64),
    Roll(i64),
    Close(i64),
    Crash(i64),
}

fn stamps(steps: &[Then]) -> Vec<i64> {
    let storage = Clocked::default();
    let mut storage_now = storage.clone();
    storage.set(5_000);
    let mut log = storage.open();
    log.append(stream(1), &Batch::one(b"first")).unwrap();
    for step in steps {
        let (Then::Append(at) | Then::Roll(at) | Then::Close(at) | Then::Crash(at)) = *step;
        match step {
            Then::Append(_) => {}
            Then::Roll(_) => {
                log.append(stream(2), &Batch::one(&payload(1, 60_000))).unwrap();
            }
            Then::Close(_) => {
                log.close().unwrap();
                log = storage_now.open();
            }
            Then::Crash(_) => {
                let left = Clocked { files: storage_now.files.snapshot().unwrap(), ..storage_now.clone() };
                storage_now = left;
                log = storage_now.open();
            }
        }
        storage_now.set(at);
        log.append(stream(1), &Batch::one(b"later")).unwrap();
    }
    let records = all(&log);
    assert_well_formed(&records);
    records.iter().map(|record| record.unix_micros).collect()
}

#[test]
fn a_step_back_repeats_the_last_timestamp() {
    assert_eq!(
        stamps(&[Then::Append(4_000), Then::Append(6_000), Then::Append(-1)]),
        [5_000, 5_000, 6_000, 6_000]
    );
}

#[test]
fn a_step_back_over_a_new_segment() {
    assert_eq!(stamps(&[Then::Roll(10), Then::Roll(20)]), [5_000; 5]);
}

#[test]
fn a_step_back_while_the_log_is_closed() {
    assert_eq!(stamps(&[Then::Close(7), Then::Close(6_000), Then::Close(8)]), [5_000, 5_000, 6_000, 6_000]);
}

#[test]
fn a_step_back_beside_a_crash() {
    assert_eq!(stamps(&[Then::Append(9_000), Then::Crash(7), Then::Append(8)]), [5_000, 9_000, 9_000, 9_000]);
}

#[test]
fn the_ends_of_time_are_no_overflow() {
    let ends = [Then::Append(i64::MIN), Then::Append(i64::MAX), Then::Append(0)];
    assert_eq!(stamps(&ends), [5_000, 5_000, i64::MAX, i64::MAX]);
}
