//! A directory in memory: for ephemeral logs, and for tools that can't see through a real map.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{Access, DirectoryEntry, Mapping, Storage, StorageFile, StorageLock};
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// Files that live as long as the value; clones show the same files.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    locked: Arc<AtomicBool>,
    clock: AtomicI64,
    random: AtomicU64,
}

impl MemoryStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of all files as they are at this moment, unlocked: what a crash of the process
    /// would leave behind.
    ///
    /// # Errors
    /// If there is no memory for the copy.
    pub fn snapshot(&self) -> io::Result<MemoryStorage> {
        let copy = MemoryStorage::new();
        for (name, file) in self.shared.files.lock().iter() {
            let mut bytes = vec![0; file.size()? as usize];
            file.read_at(&mut bytes, 0)?;
            copy.create(name, bytes.len() as u64)?.write_at(&bytes, 0)?;
        }
        copy.shared.clock.store(self.shared.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        copy.shared.random.store(self.shared.random.load(Ordering::Relaxed) ^ 1, Ordering::Relaxed);
        Ok(copy)
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Storage for MemoryStorage {
    fn name(&self) -> String {
        "memory".into()
    }

    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            return Err(Error::Locked { directory: self.name(), pid: Some(std::process::id()) });
        }
        Ok(Box::new(MemoryLock { locked: Arc::clone(&self.shared.locked) }))
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        let files = self.shared.files.lock();
        Ok(files.keys().map(|name| DirectoryEntry { name: name.clone(), is_file: true }).collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        let file = Arc::new(MemoryFile { content: RwLock::new(Content::zeros(len)?) });
        self.shared.files.lock().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.shared.files.lock().get(name).cloned().ok_or_else(|| not_found(name))?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.shared.files.lock();
        let file = files.remove(from).ok_or_else(|| not_found(from))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn reclaim(&self, from: &str, to: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let mut files = self.shared.files.lock();
        let mut file = files.remove(from).ok_or_else(|| not_found(from))?;
        // Whoever has a clone could make another; here nobody has, and nobody comes while this is locked.
        let alone =
            Arc::get_mut(&mut file).is_some() && Arc::get_mut(&mut file.content.write().buffer).is_some();
        let name = if alone { to } else { from };
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(alone.then_some(file as Arc<dyn StorageFile>))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.files.lock().remove(name).map(drop).ok_or_else(|| not_found(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn unix_micros(&self) -> i64 {
        self.shared.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        // Weyl sequence through a 64-bit mixer: enough to tell two uses of a file apart.
        let mut x = self.shared.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

#[derive(Debug)]
struct MemoryLock {
    locked: Arc<AtomicBool>,
}

impl StorageLock for MemoryLock {
    fn held_here(&self) -> bool {
        true
    }

    fn holder(&self) -> u32 {
        std::process::id()
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.locked.store(false, Ordering::Release);
    }
}

/// Positioned reads and writes exclude each other here; windows of a mapping read without a
/// lock, but only bytes that nobody writes any more.
#[derive(Debug)]
struct MemoryFile {
    content: RwLock<Content>,
}

#[derive(Debug)]
struct Content {
    buffer: Arc<Buffer>,
    len: usize,
}

impl Content {
    fn zeros(len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(Content { buffer: Arc::new(Buffer::zeros(len)?), len })
    }
}

impl Content {
    /// The same bytes in a buffer of another length; mappings keep the old one.
    fn resize(&mut self, len: u64) -> io::Result<()> {
        let grown = Content::zeros(len)?;
        let keep = self.len.min(grown.len);
        // SAFETY: both buffers hold at least `keep` bytes and are not the same.
        unsafe { std::ptr::copy_nonoverlapping(self.buffer.base, grown.buffer.base, keep) };
        *self = grown;
        Ok(())
    }
}

/// Bytes at a fixed address.
#[derive(Debug)]
struct Buffer {
    base: *mut u8,
    layout: Layout,
}

impl Buffer {
    /// Of the allocator's own zeros: memory that is never written costs none.
    fn zeros(len: usize) -> io::Result<Self> {
        let layout = Layout::array::<u8>(len.max(1)).map_err(io::Error::other)?;
        // SAFETY: the layout is of at least one byte.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, format!("no memory for {len} bytes")));
        }
        Ok(Buffer { base, layout })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeros` with this layout, and nobody else frees it.
        unsafe { dealloc(self.base, self.layout) };
    }
}

// SAFETY: all access goes through `MemoryFile`'s lock or a `Mapping` window, which never overlap
// in a write and a read of the same bytes.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl StorageFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.content.read().len as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.content.read();
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(content.len);
        let len = buffer.len().min(content.len - start);
        // SAFETY: start + len <= content.len <= the buffer's length; writers are kept out by the lock.
        unsafe { std::ptr::copy_nonoverlapping(content.buffer.base.add(start), buffer.as_mut_ptr(), len) };
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let end = usize::try_from(position.saturating_add(bytes.len() as u64)).map_err(io::Error::other)?;
        let mut content = self.content.write();
        if end > content.len {
            content.resize(end as u64)?;
        }
        // SAFETY: the range lies inside the buffer; other writers and readers are kept out by the
        // lock, and no window shows bytes that are still written.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                content.buffer.base.add(position as usize),
                bytes.len(),
            )
        };
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.write().resize(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        let content = self.content.read();
        if len > content.len as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let owner: Arc<dyn Any + Send + Sync> = Arc::clone(&content.buffer) as _;
        // SAFETY: the buffer keeps its bytes at `base` for as long as it lives, and `owner` is it.
        Ok(Some(unsafe { Mapping::new(content.buffer.base, len as usize, owner) }))
    }
}
