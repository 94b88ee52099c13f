//! A disk that loses, tears and reorders what was not synced, fails and fills up, repeatably.
//!
//! Every file has a cached and a durable image, in blocks of eight sectors. A write changes the cached
//! one. A sync makes the durable one the same; blocks, lengths and names may also get there at any
//! other time ([`SimulatedStorage::write_back`]). At a power cut each block that was written and not
//! synced is there, is not, or is there in some of its sectors, independently of all others, as is each
//! length of a file and each change of a name that was not followed by a sync of the directory. A sync
//! that fails leaves its blocks marked clean: a later sync does not write them. A write that fails may
//! have written a part.

mod choice;
mod content;
mod disk;
mod random;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Access, DirectoryEntry, Mapping, Storage, StorageFile, StorageLock};
use crate::error::{Error, Result};
use crate::sync::Mutex;
use content::Content;
use disk::{Disk, NameChange};
use random::Random;

/// A simulated disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedStorage {
    disk: Arc<Mutex<Disk>>,
}

/// How much of what was not synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Each piece and each name with this chance in 256.
    Chance(u8),
}

impl SimulatedStorage {
    /// An empty disk; the same seed gives the same run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let weather = Random(seed ^ 0x00C1_00D5);
        Self::of(Disk { random: Random(seed), weather, clock: 1_000_000, ..Disk::default() })
    }

    fn of(disk: Disk) -> Self {
        SimulatedStorage { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Storage calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.lock().calls
    }

    /// Calls that were made to fail so far, for want of room or on purpose.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.disk.lock().injected
    }

    /// The `call`-th storage call fails, once, with an error drawn from the seed.
    pub fn fail_call(&self, call: u64) {
        self.disk.lock().faults.calls.insert(call);
    }

    /// The `sync`-th sync of a file fails, once.
    pub fn fail_sync(&self, sync: u64) {
        self.disk.lock().faults.syncs.insert(sync);
    }

    /// From the `call`-th storage call on there is no room for a byte more than is in use then.
    pub fn full_from_call(&self, call: u64) {
        self.disk.lock().faults.full_from = Some(call);
    }

    /// The most bytes that files may have together; `None`: no limit. What is there stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity = bytes;
    }

    /// At each call, with this chance in 256, something is written to the disk that nobody synced.
    pub fn write_back(&self, chance: u8) {
        self.disk.lock().write_back = chance;
    }

    /// Sets the clock, forward or back.
    pub fn set_clock(&self, unix_micros: i64) {
        self.disk.lock().clock = unix_micros;
    }

    /// Keeps, just before the `call`-th storage call, a copy of the disk and of `witness`.
    pub fn cut_at_call(&self, call: u64, witness: Arc<AtomicU64>) {
        self.disk.lock().faults.cut_at = Some((call, witness));
    }

    /// The copy made by [`cut_at_call`](Self::cut_at_call): the disk as the next process of the
    /// same boot finds it, and the witness of that moment.
    #[must_use]
    pub fn taken_cut(&self) -> Option<(SimulatedStorage, u64)> {
        self.disk.lock().faults.cut.take().map(|(disk, known)| (Self::of(*disk), known))
    }

    /// The machine stops before the `call`-th storage call: this and every later one fails and does
    /// nothing.
    pub fn crash_at_call(&self, call: u64) {
        self.disk.lock().faults.crash_at = Some(call);
    }

    /// The disk as the next process of the same boot finds it, if the machine has stopped.
    #[must_use]
    pub fn crashed(&self) -> Option<SimulatedStorage> {
        self.disk.lock().faults.crashed.as_ref().map(|disk| Self::of(disk.fork()))
    }

    /// The disk after the process was killed: all that was written is still in the cache.
    #[must_use]
    pub fn after_kill(&self) -> SimulatedStorage {
        Self::of(self.disk.lock().fork())
    }

    /// The disk after a power cut now.
    #[must_use]
    pub fn after_power_cut(&self, survives: Survives, seed: u64) -> SimulatedStorage {
        let mut disk = self.disk.lock().fork();
        let mut random = Random(seed);
        disk.cut(&mut || match survives {
            Survives::Nothing => false,
            Survives::Everything => true,
            Survives::Chance(chance) => random.below(256) < u64::from(chance),
        });
        Self::of(disk)
    }

    fn call<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        disk.count()?;
        act(&mut disk)
    }
}

impl Storage for SimulatedStorage {
    fn name(&self) -> String {
        "simulated".into()
    }

    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        let mut disk = self.disk.lock();
        if std::mem::replace(&mut disk.locked, true) {
            return Err(Error::Locked { directory: "simulated".into(), pid: None });
        }
        Ok(Box::new(SimulatedLock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.call(|disk| {
            Ok(disk.names.keys().map(|name| DirectoryEntry { name: name.clone(), is_file: true }).collect())
        })
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        let made = disk.count().and_then(|()| disk.reserve(len));
        // The name may exist with less in it.
        let has = match made {
            Ok(()) => len,
            Err(_) if disk.runs() && disk.weather.below(2) == 0 => 0,
            Err(error) => return Err(error),
        };
        let file = disk.files.len();
        disk.files.push(Content::zeros(has as usize));
        disk.change(NameChange::Set(name.to_owned(), file));
        made.map(|()| SimulatedFile::open(self, &mut disk, file))
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.call(|disk| {
            let file = disk.find(name)?;
            Ok(SimulatedFile::open(self, disk, file))
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| {
            let file = disk.find(from)?;
            disk.change(NameChange::Rename(from.to_owned(), to.to_owned(), file));
            Ok(())
        })
    }

    fn reclaim(&self, from: &str, to: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let mut disk = self.disk.lock();
        disk.count()?;
        let file = disk.find(from)?;
        if disk.open.get(&file).is_some_and(|open| *open > 0) {
            return Ok(None);
        }
        disk.change(NameChange::Rename(from.to_owned(), to.to_owned(), file));
        Ok(Some(SimulatedFile::open(self, &mut disk, file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|disk| {
            disk.find(name)?;
            disk.change(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.call(|disk| {
            disk.sync_names();
            Ok(())
        })
    }

    fn unix_micros(&self) -> i64 {
        let mut disk = self.disk.lock();
        disk.clock += 1;
        disk.clock
    }

    fn random(&self) -> u64 {
        self.disk.lock().random.next()
    }
}

#[derive(Debug)]
struct SimulatedLock(SimulatedStorage);

impl StorageLock for SimulatedLock {
    fn held_here(&self) -> bool {
        true
    }

    fn holder(&self) -> u32 {
        0
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.disk.lock().locked = false;
    }
}

#[derive(Debug)]
struct SimulatedFile {
    storage: SimulatedStorage,
    file: usize,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if let Some(open) = self.storage.disk.lock().open.get_mut(&self.file) {
            *open -= 1;
        }
    }
}

impl SimulatedFile {
    fn open(storage: &SimulatedStorage, disk: &mut Disk, file: usize) -> Arc<dyn StorageFile> {
        *disk.open.entry(file).or_default() += 1;
        Arc::new(SimulatedFile { storage: storage.clone(), file })
    }

    fn content<T>(&self, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        self.storage.call(|disk| self.of(disk).map(act))
    }

    fn of<'a>(&self, disk: &'a mut Disk) -> io::Result<&'a mut Content> {
        disk.files.get_mut(self.file).ok_or_else(|| io::Error::other("no such file"))
    }
}

impl StorageFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        self.content(|content| content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.content(|content| content.read(buffer, position as usize))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut disk = self.storage.disk.lock();
        let (start, end) = (position as usize, position as usize + bytes.len());
        let growth = end.saturating_sub(self.of(&mut disk)?.len());
        let written = disk.count().and_then(|()| disk.reserve(growth as u64));
        let part = match written {
            Ok(()) => bytes,
            Err(error) if !disk.runs() => return Err(error),
            Err(_) => {
                let some = disk.weather.below(bytes.len() as u64 + 1) as usize;
                let room = if growth > 0 { bytes.len() - growth.min(bytes.len()) } else { some };
                bytes.get(..some.min(room)).unwrap_or_default()
            }
        };
        self.of(&mut disk)?.write(part, start);
        written
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.call(|disk| {
            let growth = len.saturating_sub(self.of(disk)?.len() as u64);
            disk.reserve(growth)?;
            self.of(disk).map(|content| content.set_len(len as usize))
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.storage.disk.lock();
        let synced = disk.count_sync();
        if synced.is_ok() {
            self.of(&mut disk)?.sync();
        } else if disk.runs() {
            let mut weather = disk.weather;
            self.of(&mut disk)?.fail_sync(&mut weather);
            disk.weather = weather;
        }
        synced
    }

    fn map(&self, _len: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}
