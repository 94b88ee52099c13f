//! A real directory whose syncs do nothing: what it loses must be found.

use std::io;
use std::sync::Arc;

use stratalog::Result;
use stratalog::storage::{Access, DirectoryEntry, DiskStorage, Mapping, Storage, StorageFile, StorageLock};

#[derive(Debug)]
pub(crate) struct WithoutSync(pub(crate) DiskStorage);

impl Storage for WithoutSync {
    fn name(&self) -> String {
        self.0.name()
    }

    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        self.0.lock()
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.0.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(FileWithoutSync(self.0.create(name, len)?)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(FileWithoutSync(self.0.open(name, access)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn unix_micros(&self) -> i64 {
        self.0.unix_micros()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }
}

#[derive(Debug)]
struct FileWithoutSync(Arc<dyn StorageFile>);

impl StorageFile for FileWithoutSync {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }

    fn store_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.store_at(bytes, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.0.map(len)
    }
}
