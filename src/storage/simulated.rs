//! A disk that loses, tears and reorders what was not synced, repeatably.
//!
//! Every file has a cached and a durable image, in sectors. A write changes the cached one. A
//! sync makes the durable one the same. At a power cut each sector that was written and not
//! synced is there or not, independently of all others, as is each change of a name that was not
//! followed by a sync of the directory. A sync that fails leaves its sectors marked clean: a
//! later sync does not write them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::{Access, DirectoryEntry, Mapping, Storage, StorageFile, StorageLock};
use crate::error::{Error, Result};
use crate::sync::Mutex;

const SECTOR: usize = 512;

/// A simulated disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    locked: bool,
    clock: i64,
    random: Random,
    calls: u64,
    faults: Vec<Fault>,
    cut_at: Option<(u64, Witness)>,
    cut: Option<(SimulatedStorage, u64)>,
}

/// What the world outside knew at the moment of the cut.
type Witness = Arc<std::sync::atomic::AtomicU64>;

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

#[derive(Debug, Clone, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// A call that will fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    call: u64,
}

#[derive(Debug, Clone, Copy)]
struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Random(0x2545_F491_4F6C_DD1D)
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// How much of what was not synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Each sector and each name with this chance in 256.
    Chance(u8),
}

impl SimulatedStorage {
    /// An empty disk; the same seed gives the same run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk { random: Random(seed), clock: 1_000_000, ..Disk::default() };
        SimulatedStorage { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Storage calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.lock().calls
    }

    /// The `call`-th storage call fails, once.
    pub fn fail_call(&self, call: u64) {
        self.disk.lock().faults.push(Fault { call });
    }

    /// Keeps, just before the `call`-th storage call, a copy of the disk and of `witness`.
    pub fn cut_at_call(&self, call: u64, witness: Witness) {
        self.disk.lock().cut_at = Some((call, witness));
    }

    /// The copy made by [`cut_at_call`](Self::cut_at_call): the disk as the next process of the
    /// same boot finds it, and the witness of that moment.
    #[must_use]
    pub fn taken_cut(&self) -> Option<(SimulatedStorage, u64)> {
        self.disk.lock().cut.take()
    }

    /// The disk after the process was killed: all that was written is still in the cache.
    #[must_use]
    pub fn after_kill(&self) -> SimulatedStorage {
        self.disk.lock().fork()
    }

    /// The disk after a power cut now.
    #[must_use]
    pub fn after_power_cut(&self, survives: Survives, seed: u64) -> SimulatedStorage {
        let mut disk = self.disk.lock().fork_disk();
        let mut random = Random(seed);
        let mut lives = || match survives {
            Survives::Nothing => false,
            Survives::Everything => true,
            Survives::Chance(chance) => random.below(256) < u64::from(chance),
        };
        let changes = std::mem::take(&mut disk.name_changes);
        let mut names = disk.durable_names.clone();
        for change in changes.into_iter().filter(|_| lives()) {
            apply(&mut names, change);
        }
        for file in &mut disk.files {
            let grown = lives();
            let len = if grown { file.cached.len() } else { file.durable.len() };
            let mut content = file.durable.clone();
            content.resize(len, 0);
            for sector in std::mem::take(&mut file.dirty).into_iter().filter(|_| lives()) {
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(len).min(file.cached.len());
                if let (Some(to), Some(from)) = (content.get_mut(start..end), file.cached.get(start..end)) {
                    to.copy_from_slice(from);
                }
            }
            file.cached.clone_from(&content);
            file.durable = content;
        }
        disk.names.clone_from(&names);
        disk.durable_names = names;
        SimulatedStorage { disk: Arc::new(Mutex::new(disk)) }
    }

    fn call<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        disk.count()?;
        act(&mut disk)
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name, file);
        }
        NameChange::Rename(from, to, file) => {
            names.remove(&from);
            names.insert(to, file);
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl Disk {
    /// Counts a call; the moment for a cut or a fault may have come.
    fn count(&mut self) -> io::Result<()> {
        self.calls += 1;
        if let Some((_, witness)) = self.cut_at.take_if(|(call, _)| *call == self.calls) {
            let known = witness.load(std::sync::atomic::Ordering::SeqCst);
            self.cut = Some((self.fork(), known));
        }
        if self.faults.iter().any(|fault| fault.call == self.calls) {
            return Err(io::Error::other("injected failure"));
        }
        Ok(())
    }

    fn fork_disk(&self) -> Disk {
        Disk {
            locked: false,
            calls: 0,
            faults: Vec::new(),
            cut_at: None,
            cut: None,
            random: Random(self.random.0 ^ 0x00A5_A5A5),
            ..self.clone()
        }
    }

    fn fork(&self) -> SimulatedStorage {
        SimulatedStorage { disk: Arc::new(Mutex::new(self.fork_disk())) }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.name_changes.push(change);
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
        self.call(|disk| {
            let file = disk.files.len();
            let cached = vec![0; len as usize];
            let dirty = (0..cached.len().div_ceil(SECTOR)).collect();
            disk.files.push(Content { cached, durable: Vec::new(), dirty });
            disk.change(NameChange::Set(name.to_owned(), file));
            Ok(file)
        })
        .map(|file| Arc::new(SimulatedFile { storage: self.clone(), file }) as Arc<dyn StorageFile>)
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.call(|disk| disk.find(name))?;
        Ok(Arc::new(SimulatedFile { storage: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| {
            let file = disk.find(from)?;
            disk.change(NameChange::Rename(from.to_owned(), to.to_owned(), file));
            Ok(())
        })
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
            disk.name_changes.clear();
            disk.durable_names = disk.names.clone();
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

impl SimulatedFile {
    fn content<T>(&self, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        self.storage.call(|disk| {
            disk.files.get_mut(self.file).map(act).ok_or_else(|| io::Error::other("no such file"))
        })
    }
}

impl StorageFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        self.content(|content| content.cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.content(|content| {
            let rest = content.cached.get(position as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
                to.copy_from_slice(from);
            }
            len
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.content(|content| {
            let (start, end) = (position as usize, position as usize + bytes.len());
            if content.cached.len() < end {
                content.cached.resize(end, 0);
            }
            if let Some(to) = content.cached.get_mut(start..end) {
                to.copy_from_slice(bytes);
            }
            content.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content(|content| {
            let (old, new) = (content.cached.len(), len as usize);
            content.cached.resize(new, 0);
            // What is cut or added is not durable before the next sync.
            content.dirty.extend(old.min(new) / SECTOR..old.max(new).div_ceil(SECTOR));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.content(|content| {
            content.durable.resize(content.cached.len(), 0);
            for sector in std::mem::take(&mut content.dirty) {
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(content.cached.len());
                if let (Some(to), Some(from)) =
                    (content.durable.get_mut(start..end), content.cached.get(start..end))
                {
                    to.copy_from_slice(from);
                }
            }
        });
        if synced.is_err() {
            // The pages count as clean from now on, and never reached the disk.
            if let Some(content) = self.storage.disk.lock().files.get_mut(self.file) {
                content.dirty.clear();
            }
        }
        synced
    }

    fn map(&self, _len: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}
