//! A storage in memory whose calls fail on demand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use stratalog::storage::{Access, DirectoryEntry, Mapping, MemoryStorage, Storage, StorageFile, StorageLock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncDirectory,
    Read,
    Write,
    SetLen,
    Sync,
    WriteOut,
    Map,
}

/// What fails, and how.
#[derive(Debug, Default)]
struct Plan {
    /// Calls of this kind fail.
    kind: Mutex<Option<(Call, io::ErrorKind)>>,
    /// Of all calls, this one fails; counted from 1.
    nth: AtomicU64,
    calls: AtomicU64,
    /// From the nth call on all fail: the machine is gone.
    dead: AtomicBool,
    stay_dead: AtomicBool,
    syncs: AtomicU64,
    /// The largest file there is room for; 0 is no limit.
    room: AtomicU64,
}

impl Plan {
    fn check(&self, call: Call) -> io::Result<()> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == Call::Sync {
            self.syncs.fetch_add(1, Ordering::SeqCst);
        }
        if self.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected: gone"));
        }
        if n == self.nth.load(Ordering::SeqCst) {
            self.dead.store(self.stay_dead.load(Ordering::SeqCst), Ordering::SeqCst);
            return Err(io::Error::other(format!("injected: {call:?}")));
        }
        match *self.kind.lock() {
            Some((kind, error)) if kind == call => Err(io::Error::new(error, format!("injected: {call:?}"))),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct FaultyStorage {
    pub inner: MemoryStorage,
    plan: Arc<Plan>,
    special: Arc<Mutex<Vec<String>>>,
}

impl FaultyStorage {
    pub fn new(inner: MemoryStorage) -> Self {
        FaultyStorage { inner, ..FaultyStorage::default() }
    }

    /// What is listed under this name, if anything is, is no regular file from now on.
    pub fn make_special(&self, name: &str) {
        self.special.lock().push(name.to_owned());
    }

    pub fn fail(&self, call: Call, error: io::ErrorKind) {
        *self.plan.kind.lock() = Some((call, error));
    }

    pub fn heal(&self) {
        *self.plan.kind.lock() = None;
    }

    pub fn fail_nth(&self, n: u64, stay_dead: bool) {
        self.plan.stay_dead.store(stay_dead, Ordering::SeqCst);
        self.plan.nth.store(n, Ordering::SeqCst);
    }

    pub fn room_for(&self, bytes: u64) {
        self.plan.room.store(bytes, Ordering::SeqCst);
    }

    pub fn calls(&self) -> u64 {
        self.plan.calls.load(Ordering::SeqCst)
    }

    pub fn syncs(&self) -> u64 {
        self.plan.syncs.load(Ordering::SeqCst)
    }
}

impl Storage for FaultyStorage {
    fn name(&self) -> String {
        "faulty".into()
    }
    fn lock(&self) -> stratalog::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }
    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.plan.check(Call::List)?;
        let mut entries = self.inner.list()?;
        let special = self.special.lock();
        entries.iter_mut().for_each(|entry| entry.is_file = !special.contains(&entry.name));
        Ok(entries)
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.plan.check(Call::Create)?;
        let room = self.plan.room.load(Ordering::SeqCst);
        if room > 0 && len > room {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "injected: no room"));
        }
        let file = self.inner.create(name, len)?;
        Ok(Arc::new(FaultyFile { file, plan: Arc::clone(&self.plan) }))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.plan.check(Call::Open)?;
        let file = self.inner.open(name, access)?;
        Ok(Arc::new(FaultyFile { file, plan: Arc::clone(&self.plan) }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.check(Call::Rename)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.plan.check(Call::Remove)?;
        self.inner.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.plan.check(Call::SyncDirectory)?;
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
struct FaultyFile {
    file: Arc<dyn StorageFile>,
    plan: Arc<Plan>,
}

impl StorageFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.plan.check(Call::Read)?;
        self.file.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Err(error) = self.plan.check(Call::Write) {
            // A failed write may leave any part of its bytes.
            self.file.write_at(&bytes[..bytes.len() / 2], position)?;
            return Err(error);
        }
        self.file.write_at(bytes, position)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.check(Call::SetLen)?;
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.plan.check(Call::Sync)?;
        self.file.sync()
    }
    fn write_out(&self, start: u64, end: u64) -> io::Result<()> {
        self.plan.check(Call::WriteOut)?;
        self.file.write_out(start, end)
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.plan.check(Call::Map)?;
        self.file.map(len)
    }
}
