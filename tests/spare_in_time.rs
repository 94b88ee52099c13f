//! The next segment is made little by little, and at once when somebody waits for it.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratalog::storage::{
    Access, DirectoryEntry, DiskStorage, MemoryStorage, Storage, StorageFile, StorageLock,
};
use stratalog::{Options, Result};
use support::{batch, stream};

const LEN: u64 = (5 << 20) + 123;

#[test]
fn a_file_made_in_pieces_is_as_long_as_asked_for_and_zeros_however_early_it_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(directory.path()).unwrap();
    for patience in 0..20 {
        let asked = AtomicU64::new(0);
        let pace = |done| {
            assert!(done < LEN);
            if asked.fetch_add(1, Ordering::Relaxed) < patience { 300_001 } else { 0 }
        };
        let file = storage.create_durable("file", LEN, &pace).unwrap();
        assert_eq!(file.size().unwrap(), LEN);
        let mut bytes = vec![1; LEN as usize];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap() as u64, LEN);
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert!(asked.load(Ordering::Relaxed) <= patience + 1, "asked again after it was wanted at once");
    }
}

/// Never done with a file before it is wanted at once.
#[derive(Debug, Clone, Default)]
struct Dawdler {
    files: MemoryStorage,
    hurried: Arc<AtomicU64>,
}

impl Storage for Dawdler {
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
    fn create_durable(
        &self,
        name: &str,
        len: u64,
        pace: &dyn Fn(u64) -> u64,
    ) -> io::Result<Arc<dyn StorageFile>> {
        while pace(len - 1) > 0 {}
        self.hurried.fetch_add(1, Ordering::Relaxed);
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
        self.files.unix_micros()
    }
    fn random(&self) -> u64 {
        self.files.random()
    }
}

#[test]
fn a_full_segment_and_a_close_do_not_wait_for_a_spare_that_takes_its_time() {
    let storage = Dawdler::default();
    let log = Options::new().segment_bytes(64 << 10).open_storage(Arc::new(storage.clone())).unwrap();
    for n in 0..100 {
        log.append(stream(1), &batch(n, 1, 10_000)).unwrap();
    }
    assert!(log.stats().unwrap().segments.len() > 5);
    log.close().unwrap();
    assert!(storage.hurried.load(Ordering::Relaxed) > 5);
}
