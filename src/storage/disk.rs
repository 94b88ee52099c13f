//! A real directory.

#![allow(unsafe_code)]

use std::any::Any;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use super::forked::Birthplace;
use super::{Access, DirectoryEntry, Mapping, Storage, StorageFile, StorageLock};
use crate::error::{Error, Result};

const LOCK_NAME: &str = "LOCK";
/// Zeros are written in pieces of this size: later commits are single writes, for which large
/// pieces measured best.
const ZEROS: usize = 1 << 20;

/// File systems that keep the blocks of a preallocated file: a store through a map can't fail
/// there for want of room. Others (btrfs, zfs) copy on write, so they are never stored to.
const KEEPS_BLOCKS: [u32; 4] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x0102_1994, // tmpfs
    0xF2F5_2010, // f2fs
];

/// How often a name is looked up that leads to another file the next moment, or to one that is locked.
const LOOKS: u32 = 200;
const LOCKED_PAUSE: Duration = Duration::from_millis(5);

/// A directory of the file system.
#[derive(Debug)]
pub struct DiskStorage {
    directory: PathBuf,
    handle: File,
    keeps_blocks: bool,
}

impl DiskStorage {
    /// The directory, made if it isn't there.
    ///
    /// # Errors
    /// [`Error::Io`] with the system's reason.
    pub fn create(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        let missing: Vec<&Path> =
            directory.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        fs::create_dir_all(directory).map_err(|e| Error::io("create directory", &shown, e))?;
        // A new directory is durable once its parent is synced; an empty one may be as new, made by a
        // process that was killed before it came to that. (Where a lock file is, it isn't empty: the list of
        // a long log is long.)
        let empty = !directory.join(LOCK_NAME).exists()
            && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
        let as_new = missing.is_empty().then_some(directory).filter(|_| empty);
        for new in missing.into_iter().chain(as_new) {
            let parent = match new.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(|e| Error::io("sync directory", parent.display().to_string(), e))?;
        }
        Self::existing(directory)
    }

    /// The directory, which must be there.
    ///
    /// # Errors
    /// [`Error::Io`] with the system's reason.
    pub fn existing(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        let handle = File::open(directory).map_err(|e| Error::io("open directory", &shown, e))?;
        let kind = handle.metadata().map_err(|e| Error::io("stat", &shown, e))?;
        if !kind.is_dir() {
            return Err(Error::NotALog { directory: shown, found: "a file".into() });
        }
        let keeps_blocks =
            rustix::fs::fstatfs(&handle).is_ok_and(|stat| KEEPS_BLOCKS.contains(&(stat.f_type as u32)));
        Ok(DiskStorage { directory: directory.to_owned(), handle, keeps_blocks })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn new_file(&self, name: &str) -> io::Result<File> {
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        if self.keeps_blocks {
            file.lock_shared()?;
        }
        Ok(file)
    }

    fn disk_file(&self, file: File, access: Access) -> Arc<dyn StorageFile> {
        Arc::new(DiskFile::new(file, self.keeps_blocks && access == Access::Write))
    }

    /// Opens a file that is there, with a shared lock on it: whoever has one open or mapped has that. One that
    /// was given another name before the lock was there may be written over: the name is looked up again.
    fn existing_file(&self, path: &Path, access: Access) -> io::Result<File> {
        for _ in 0..LOOKS {
            let file = File::options().read(true).write(access == Access::Write).open(path)?;
            // Where nothing is reclaimed nobody asks for the lock; the writer's own has one of another kind.
            if !self.keeps_blocks || path.ends_with(LOCK_NAME) {
                return Ok(file);
            }
            match file.try_lock_shared() {
                Ok(()) if is_named(&file, path)? => return Ok(file),
                Ok(()) => {}
                // For a moment: it is being reclaimed.
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCKED_PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "expected no exclusive lock on it but for a moment"))
    }
}

/// Whether this is the file that has the name now.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino()))
}

fn write_zeros(file: &File, start: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0u8; ZEROS.min(end.saturating_sub(start) as usize)];
    let mut position = start;
    while position < end {
        let piece = zeros.get(..(end - position).min(ZEROS as u64) as usize).unwrap_or(&zeros);
        file.write_all_at(piece, position)?;
        position += piece.len() as u64;
    }
    Ok(())
}

/// Room that is read as zeros.
fn reserve(file: &File, start: u64, end: u64) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, start, end - start)) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(file, start, end),
        other => Ok(other?),
    }
}

impl Storage for DiskStorage {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        let path = self.path(LOCK_NAME);
        let io = |operation, e| Error::io(operation, path.display().to_string(), e);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(32).read_to_string(&mut text);
                return Err(Error::Locked { directory: self.name(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(e)) => return Err(io("lock", e)),
        }
        let pid = std::process::id();
        file.set_len(0).and_then(|()| writeln!(file, "{pid}")).map_err(|e| io("write", e))?;
        Ok(Box::new(DiskLock { file, opened: Birthplace::here() }))
    }

    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        fs::read_dir(&self.directory)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirectoryEntry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_file: entry.file_type()?.is_file(),
                })
            })
            .collect()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.new_file(name)?;
        write_zeros(&file, 0, len)?;
        Ok(self.disk_file(file, Access::Write))
    }

    fn create_durable(
        &self,
        name: &str,
        len: u64,
        pace: &dyn Fn(u64) -> u64,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.new_file(name)?;
        let mut done = 0;
        while done < len {
            let end = len.min(done.saturating_add(pace(done)));
            if end == done {
                break;
            }
            write_zeros(&file, done, end)?;
            file.sync_data()?;
            done = end;
        }
        if done < len {
            reserve(&file, done, len)?;
            file.sync_data()?;
        }
        Ok(self.disk_file(file, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path(name);
        let kind = fs::symlink_metadata(&path)?.file_type();
        if !kind.is_file() {
            let found = if kind.is_dir() { "a directory" } else { "a link or special file" };
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("expected a regular file, found {found}"),
            ));
        }
        Ok(self.disk_file(self.existing_file(&path, access)?, access))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn reclaim(&self, from: &str, to: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        // Elsewhere a lock may belong to a process and not to an open file (NFS), and so say nothing.
        if !self.keeps_blocks {
            return Ok(None);
        }
        let path = self.path(from);
        let file = File::options().read(true).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) if is_named(&file, &path)? => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let to = self.path(to);
        fs::rename(&path, &to)?;
        // A second name is somebody's copy. None is made by the old name any more.
        if file.metadata()?.nlink() != 1 {
            fs::rename(&to, &path)?;
            return Ok(None);
        }
        // Who opened it before the rename and comes to lock it only now finds that its name is gone.
        file.lock_shared()?;
        Ok(Some(self.disk_file(file, Access::Write)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn unix_micros(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> u64 {
        // The standard library seeds each state from the system's source of randomness.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_i64(self.unix_micros());
        hasher.write_u32(std::process::id());
        hasher.finish()
    }
}

/// The system drops the lock with the file, however the process ends.
#[derive(Debug)]
struct DiskLock {
    file: File,
    opened: Birthplace,
}

impl Drop for DiskLock {
    /// Said, because closing the file is not enough while another thread starts a process: between its
    /// fork and its exec that one has the file too, and the lock with it.
    fn drop(&mut self) {
        if self.held_here() {
            let _ = self.file.unlock();
        }
    }
}

impl StorageLock for DiskLock {
    fn held_here(&self) -> bool {
        self.opened.is_here()
    }

    fn holder(&self) -> u32 {
        self.opened.pid()
    }
}

#[derive(Debug)]
struct DiskFile {
    /// Maps have it too: the lock on it goes with the last of all.
    file: Arc<File>,
    store_through_map: bool,
    /// Made at the first small store.
    stores: OnceLock<MmapRaw>,
}

impl DiskFile {
    fn new(file: File, store_through_map: bool) -> Self {
        DiskFile { file: Arc::new(file), store_through_map, stores: OnceLock::new() }
    }

    #[inline]
    fn stores(&self) -> io::Result<&MmapRaw> {
        match self.stores.get() {
            Some(map) => Ok(map),
            None => self.map_for_stores(),
        }
    }

    #[cold]
    fn map_for_stores(&self) -> io::Result<&MmapRaw> {
        let map = MmapOptions::new().map_raw(&*self.file)?;
        Ok(self.stores.get_or_init(|| map))
    }
}

impl StorageFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    fn store_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if !self.store_through_map {
            return self.write_at(bytes, position);
        }
        let map = self.stores()?;
        let end = position.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > map.len() as u64) {
            return self.write_at(bytes, position);
        }
        // SAFETY: the range lies inside the map, whose blocks were written or reserved when the
        // file was made and which is never cut while it is written to. Nobody reads these bytes yet:
        // readers see a range only after the commit that follows this call.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                map.as_mut_ptr().add(position as usize),
                bytes.len(),
            );
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(map) = self.stores.get() {
            // SAFETY: pages of a shared map of a file: what was stored stays in the file's cache.
            unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed)? };
        }
        self.file.sync_data()
    }

    fn write_out(&self, start: u64, end: u64) -> io::Result<()> {
        // A file opened for reading has no such map; the sync then does all.
        let Ok(map) = self.stores() else { return Ok(()) };
        let end = end.min(map.len() as u64);
        let Some(len) = end.checked_sub(start).filter(|len| *len > 0) else { return Ok(()) };
        let (start, len) = (start as usize, len as usize);
        // SAFETY: as in `sync`; the range lies inside the map.
        unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len)? };
        map.flush_range(start, len)
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        let size = self.size()?;
        if len > size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("expected at least {len} bytes to map, found {size}"),
            ));
        }
        if len == 0 {
            return Ok(None);
        }
        // Raw, because the file may still be written to beyond what readers look at.
        let map = MmapOptions::new().len(len as usize).map_raw_read_only(&*self.file)?;
        let (base, len) = (map.as_ptr(), map.len());
        let owner: Arc<dyn Any + Send + Sync> = Arc::new((map, Arc::clone(&self.file)));
        // SAFETY: `owner` has the map itself; its address does not change when the Arc moves.
        Ok(Some(unsafe { Mapping::new(base, len, owner) }))
    }
}
