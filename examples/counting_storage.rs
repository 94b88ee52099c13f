//! A storage of one's own: the real directory, counted.
//!
//! A log reaches the disk through the trait `Storage` alone, so whoever implements it sees, changes or
//! refuses every call. This one hands all of them on and counts syncs and written bytes, which shows
//! group commit at work: producers that wait at the same time share a sync.
//!
//! ```sh
//! cargo run --release --example counting_storage
//! ```

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use stratalog::StreamId;
use stratalog::ingest::{Ingest, IngestOptions, OperationRecord, Producer};
use stratalog::storage::{Access, DirectoryEntry, DiskStorage, Mapping, Storage, StorageFile, StorageLock};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!(
        "{:>9} {:>8} {:>7} {:>12} {:>14} {:>9}",
        "producers", "batches", "syncs", "batches/sync", "bytes written", "time"
    );
    for producers in [1, 4, 16, 64] {
        let directory = tempfile::tempdir()?;
        let counts = Arc::new(Counts::default());
        let storage = Counting { inner: DiskStorage::create(directory.path())?, counts: Arc::clone(&counts) };
        let ingest = IngestOptions::new().open_storage(Arc::new(storage))?;
        let (before, started, each) = (counts.now(), Instant::now(), 640 / producers);
        thread::scope(|scope| {
            let work = |producer: u128| {
                let collection = StreamId::from_u128(producer);
                let record = OperationRecord::upsert("a").embedding(vec![0.5f32; 384]);
                (0..each).try_for_each(|_| ingest.submit_embedding(collection, &record).map(drop))
            };
            let threads: Vec<_> =
                (0..producers).map(|producer| scope.spawn(move || work(producer as u128))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })?;
        let (syncs, bytes) = (counts.now().0 - before.0, counts.now().1 - before.1);
        let batches = each * producers;
        println!(
            "{producers:>9} {batches:>8} {syncs:>7} {:>12.1} {bytes:>14} {:>9.1?}",
            batches as f64 / syncs as f64,
            started.elapsed()
        );
        ingest.close()?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    fn now(&self) -> (u64, u64) {
        (self.syncs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Counting {
    inner: DiskStorage,
    counts: Arc<Counts>,
}

impl Counting {
    fn counted(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(CountingFile { inner, counts: Arc::clone(&self.counts) })
    }
}

impl Storage for Counting {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn lock(&self) -> stratalog::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.create(name, len).map(|file| self.counted(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name, access).map(|file| self.counted(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn unix_micros(&self) -> i64 {
        self.inner.unix_micros()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }
}

#[derive(Debug)]
struct CountingFile {
    inner: Arc<dyn StorageFile>,
    counts: Arc<Counts>,
}

impl StorageFile for CountingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.write_at(bytes, position)
    }

    fn store_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.store_at(bytes, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync()
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.inner.map(len)
    }
}
