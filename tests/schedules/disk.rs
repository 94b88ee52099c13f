//! Memory that knows what was synced, and whose syncs take their time and fail.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stratalog::Result;
use stratalog::storage::{Access, DirectoryEntry, Mapping, MemoryStorage, Storage, StorageFile, StorageLock};

/// Clones show the same disk. Its own locks are the standard library's and never held across a switch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) memory: MemoryStorage,
    facts: Arc<Mutex<Facts>>,
}

#[derive(Debug, Default)]
struct Facts {
    /// What was written to each file and is not synced. Files keep theirs when they are renamed.
    unsynced: HashMap<String, Arc<Mutex<Unsynced>>>,
    durable: Vec<Vec<u8>>,
    syncs: u64,
    failing: Option<u64>,
    failed: bool,
}

#[derive(Debug, Default)]
struct Unsynced {
    pieces: Vec<Vec<u8>>,
    /// Thrown away if it can't be synced: that sync is not among those of which one fails.
    temporary: bool,
}

impl Disk {
    pub(crate) fn has_durable(&self, payload: &[u8]) -> bool {
        let facts = self.facts.lock().unwrap();
        facts.durable.iter().any(|piece| piece.windows(payload.len()).any(|window| window == payload))
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.facts.lock().unwrap().syncs
    }

    /// The sync after `n` more fails, and what it was to make durable is lost.
    pub(crate) fn fail_after(&self, n: u64) {
        let mut facts = self.facts.lock().unwrap();
        facts.failing = Some(facts.syncs + n + 1);
    }

    /// A sync has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.facts.lock().unwrap().failed
    }

    /// What a crash of the process would leave.
    pub(crate) fn after_crash(&self) -> Disk {
        Disk { memory: self.memory.snapshot().unwrap(), ..Disk::default() }
    }

    fn file(&self, name: &str, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let unsynced = Arc::clone(self.facts.lock().unwrap().unsynced.entry(name.to_owned()).or_default());
        unsynced.lock().unwrap().temporary = name.ends_with(".tmp");
        Arc::new(File { file, unsynced, facts: Arc::clone(&self.facts) })
    }
}

/// Others may come first.
fn switch() {
    shuttle::thread::sleep(Duration::ZERO);
}

impl Storage for Disk {
    fn name(&self) -> String {
        self.memory.name()
    }

    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        self.memory.lock()
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.memory.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.memory.create(name, len)?;
        self.facts.lock().unwrap().unsynced.remove(name);
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(name, self.memory.open(name, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)?;
        let mut facts = self.facts.lock().unwrap();
        if let Some(unsynced) = facts.unsynced.remove(from) {
            unsynced.lock().unwrap().temporary = false;
            facts.unsynced.insert(to.to_owned(), unsynced);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        switch();
        self.memory.sync_directory()
    }

    fn unix_micros(&self) -> i64 {
        self.memory.unix_micros()
    }

    fn random(&self) -> u64 {
        self.memory.random()
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn StorageFile>,
    unsynced: Arc<Mutex<Unsynced>>,
    facts: Arc<Mutex<Facts>>,
}

impl StorageFile for File {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position)?;
        self.unsynced.lock().unwrap().pieces.push(bytes.to_vec());
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Covers what was written before it began, and counts when it ends.
    fn sync(&self) -> io::Result<()> {
        let (pieces, temporary) = {
            let mut unsynced = self.unsynced.lock().unwrap();
            (std::mem::take(&mut unsynced.pieces), unsynced.temporary)
        };
        switch();
        let fails = {
            let mut facts = self.facts.lock().unwrap();
            facts.syncs += u64::from(!temporary);
            let fails = !temporary && facts.failing == Some(facts.syncs);
            if fails {
                facts.failed = true;
            } else {
                facts.durable.extend(pieces);
            }
            fails
        };
        switch();
        if fails { Err(io::Error::other("injected: a sync that fails")) } else { Ok(()) }
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.file.map(len)
    }
}
