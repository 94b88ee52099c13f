//! Reading one stream costs what that stream holds; many streams cost little memory.
#![allow(clippy::unwrap_used, missing_debug_implementations)]

#[path = "support/heap.rs"]
mod heap;
mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heap::heap;
use stratalog::storage::{Access, DirectoryEntry, DiskStorage, Mapping, Storage, StorageFile, StorageLock};
use stratalog::{Batch, Durability, Options, ReadMode};
use support::{payload, stream};

/// A real directory that counts the bytes read from it.
#[derive(Debug)]
struct CountedReads {
    disk: DiskStorage,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile(Arc<dyn StorageFile>, Arc<AtomicU64>);

impl Storage for CountedReads {
    fn name(&self) -> String {
        self.disk.name()
    }
    fn lock(&self) -> stratalog::Result<Box<dyn StorageLock>> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CountedFile(self.disk.create(name, len)?, Arc::clone(&self.read))))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CountedFile(self.disk.open(name, access)?, Arc::clone(&self.read))))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn unix_micros(&self) -> i64 {
        self.disk.unix_micros()
    }
    fn random(&self) -> u64 {
        self.disk.random()
    }
}

impl StorageFile for CountedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let n = self.0.read_at(buffer, position)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.0.map(len)
    }
}

const STREAMS: u64 = 10_000;
const EACH: u64 = 100;
const RECORD: usize = 512;

/// One test, because the heap is measured.
#[test]
fn one_stream_of_ten_thousand_is_read_at_its_own_cost_and_the_heap_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Buffered);
    let before = heap();
    let log = options.open(dir.path()).unwrap();
    let mut batch = Batch::new();
    let mut most = 0;
    for round in 0..EACH {
        for n in 0..STREAMS {
            batch.clear();
            batch.push(&payload(round * STREAMS + n, RECORD));
            log.append(stream(u128::from(n)), &batch).unwrap();
        }
        most = most.max(heap() - before);
    }
    let read = log.stream_reader(stream(4_321), ..).unwrap().count() as u64;
    assert_eq!(read, EACH);
    most = most.max(heap() - before);
    log.close().unwrap();
    drop(log);

    let read = Arc::new(AtomicU64::new(0));
    let counted = CountedReads { disk: DiskStorage::existing(dir.path()).unwrap(), read: Arc::clone(&read) };
    let log = options.clone().read_mode(ReadMode::Positioned).open_storage(Arc::new(counted)).unwrap();
    let mut warm = log.stream_reader(stream(77), ..).unwrap();
    assert_eq!(warm.by_ref().count() as u64, EACH);
    let start = read.load(Ordering::Relaxed);
    let records: Vec<_> = log.stream_reader(stream(4_321), ..).unwrap().map(|r| r.unwrap().payload).collect();
    let cost = read.load(Ordering::Relaxed) - start;
    assert_eq!(records.len() as u64, EACH);
    assert!(records.iter().enumerate().all(|(k, r)| *r == payload(k as u64 * STREAMS + 4_321, RECORD)));
    let own = EACH * (RECORD as u64 + 72);
    println!("one stream: {own} bytes of its own, {cost} read; heap at most {most} bytes");
    assert!(cost <= 2 * own, "{cost} bytes were read for {own} of the stream's own");
    most = most.max(heap() - before);
    assert!(most < 64 << 20, "{most} bytes on the heap");
}
