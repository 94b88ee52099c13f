//! Storages with a defect.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratalog::storage::{
    Access, DirectoryEntry, Mapping, SimulatedStorage, Storage, StorageFile, StorageLock,
};

/// What is wrong with a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    None,
    NoSync,
    NoDirectorySync,
    /// One write in thirty.
    DropsWrites,
    HidesFailedSyncs,
    NoRename,
}

/// Makes storages with this defect.
pub fn defective(defect: Defect) -> impl Fn(&SimulatedStorage) -> Arc<dyn Storage> + Sync {
    move |storage| {
        let writes = Arc::new(AtomicU64::new(storage.calls()));
        Arc::new(Defective { inner: storage.clone(), defect, writes })
    }
}

#[derive(Debug)]
struct Defective {
    inner: SimulatedStorage,
    defect: Defect,
    writes: Arc<AtomicU64>,
}

impl Defective {
    fn wrap(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(DefectiveFile { inner: file, defect: self.defect, writes: Arc::clone(&self.writes) })
    }
}

impl Storage for Defective {
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
        self.inner.create(name, len).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.inner.open(name, access).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.defect == Defect::NoRename { Ok(()) } else { self.inner.rename(from, to) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.defect == Defect::NoDirectorySync { Ok(()) } else { self.inner.sync_directory() }
    }

    fn unix_micros(&self) -> i64 {
        self.inner.unix_micros()
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }
}

#[derive(Debug)]
struct DefectiveFile {
    inner: Arc<dyn StorageFile>,
    defect: Defect,
    writes: Arc<AtomicU64>,
}

impl StorageFile for DefectiveFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let dropped = self.writes.fetch_add(1, Ordering::Relaxed) % 30 == 29;
        if self.defect == Defect::DropsWrites && dropped {
            Ok(())
        } else {
            self.inner.write_at(bytes, position)
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        match self.defect {
            Defect::NoSync => Ok(()),
            Defect::HidesFailedSyncs => self.inner.sync().or(Ok(())),
            _ => self.inner.sync(),
        }
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.inner.map(len)
    }
}
