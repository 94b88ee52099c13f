//! What is written for a byte that is appended, over many segments.
//!
//! What the disk itself was given is read from the kernel's figures of the whole disk, and only shown:
//! others may write to it. The figures of a process (`/proc/self/io`) are no help: they count all of a
//! large folio when a byte of it becomes dirty, where ext4 then writes the dirty blocks alone.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use stratalog::storage::{Access, DirectoryEntry, DiskStorage, Mapping, Storage, StorageFile, StorageLock};
use stratalog::{Durability, SeqId};

use crate::append::options;
use crate::payload::{batch, stream};
use crate::region::region;
use crate::work::{BYTE, Bar, COMMIT, Count, Ground, Outcome, Work};

const EACH: &[(Count, &str, Bar)] = &[
    (Count::HandedOver, BYTE, Bar::Held),
    (Count::Written, BYTE, Bar::Shown),
    (Count::Syncs, COMMIT, Bar::Held),
];

pub(crate) const WORKS: &[Work] = &[
    Work { name: "written by sync 100 of 2048", times: 500, counts: EACH, records: 100, run: kept },
    Work { name: "written and purged again", times: 500, counts: EACH, records: 100, run: purged },
    Work { name: "written by sync 2048", times: 2_000, counts: EACH, records: 1, run: kept },
];

const LEN: usize = 2048;

fn kept(ground: &Ground<'_>) -> Result<Outcome> {
    written(ground, false)
}

fn purged(ground: &Ground<'_>) -> Result<Outcome> {
    written(ground, true)
}

/// Whoever purges keeps no more than some segments, which is how files could be used again.
fn written(ground: &Ground<'_>, purge: bool) -> Result<Outcome> {
    let counted = Arc::new(Counted::default());
    let storage = CountingStorage { inner: DiskStorage::create(ground.directory)?, counted: counted.clone() };
    let log = options(Durability::Sync)
        .segment_bytes(4 << 20)
        .checkpoint_bytes(8 << 20)
        .open_storage(Arc::new(storage))?;
    let batch = batch(ground.records, LEN);
    let bytes = ground.records * LEN as u64;
    let kept = (12 << 20) / LEN as u64;
    let mut since_tended = 0;
    let mut times = |times: u64| -> Result<()> {
        for _ in 0..times {
            let appended = log.append(stream(0), &batch)?;
            since_tended += bytes;
            if since_tended >= 1 << 20 {
                since_tended = 0;
                log.tend()?;
                let due = SeqId(appended.first_seq_id.0.saturating_sub(kept));
                if purge && due > SeqId(0) {
                    log.purge(stream(0), due)?;
                }
            }
        }
        Ok(())
    };
    times(ground.times.max((16 << 20) / bytes))?;
    let (before, disk_before) = (counted.now(), disk_written(ground.directory));
    region(|| times(ground.times))?;
    let ((handed_over, syncs), disk) = (counted.now(), disk_written(ground.directory));
    let appended = (ground.times * bytes) as f64;
    let mut totals = vec![
        (Count::HandedOver, (handed_over - before.0) as f64 / appended),
        (Count::Syncs, (syncs - before.1) as f64),
    ];
    let written = disk.zip(disk_before).map(|(after, before)| (after - before) as f64 / appended);
    totals.extend(written.map(|written| (Count::Written, written)));
    Ok(Outcome { totals })
}

/// Bytes that the disk below was given since the machine began; nothing where there is no single one.
fn disk_written(directory: &Path) -> Option<u64> {
    let device = std::fs::metadata(directory).ok()?.dev();
    let major = (device >> 8) & 0xfff | (device >> 32) & !0xfff;
    let minor = device & 0xff | (device >> 12) & !0xff;
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Counted {
    fn now(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.syncs.load(Ordering::Relaxed))
    }

    fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    fn wrote(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The real directory, counted.
#[derive(Debug)]
struct CountingStorage {
    inner: DiskStorage,
    counted: Arc<Counted>,
}

impl CountingStorage {
    fn file(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(CountingFile { inner, counted: Arc::clone(&self.counted) })
    }
}

impl Storage for CountingStorage {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn lock(&self) -> stratalog::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list()
    }

    /// The zeros are written as well.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.counted.wrote(len);
        self.inner.create(name, len).map(|file| self.file(file))
    }

    /// The zeros that there was time for. One sync: how many they take is a matter of who waits for the file.
    fn create_durable(
        &self,
        name: &str,
        len: u64,
        pace: &dyn Fn(u64) -> u64,
    ) -> io::Result<Arc<dyn StorageFile>> {
        self.counted.synced();
        let paced = |done| {
            let zeros = pace(done);
            self.counted.wrote(zeros.min(len - done));
            zeros
        };
        self.inner.create_durable(name, len, &paced).map(|file| self.file(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name, access).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.counted.synced();
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
    counted: Arc<Counted>,
}

impl StorageFile for CountingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.counted.wrote(bytes.len() as u64);
        self.inner.write_at(bytes, position)
    }

    fn store_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.counted.wrote(bytes.len() as u64);
        self.inner.store_at(bytes, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.counted.synced();
        self.inner.sync()
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.inner.map(len)
    }
}
