//! Where data goes: a real disk, with room, and empty again afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{statfs, statvfs, syncfs};

const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const HUGETLBFS: i64 = 0x9584_58f6;
/// Left free whatever happens: the disk is not ours alone.
const RESERVE_BYTES: u64 = 1 << 30;

/// A directory of this run below the one that was given.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
    next: AtomicU64,
}

impl Place {
    pub(crate) fn new(given: &Path) -> Result<Self> {
        fs::create_dir_all(given).with_context(|| format!("make {}", given.display()))?;
        refuse_memory(given)?;
        let root = given.canonicalize()?.join(format!("stratalog-compare-{}", std::process::id()));
        fs::create_dir_all(&root)?;
        Ok(Place { root, next: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// A new directory, with room for `bytes`.
    pub(crate) fn scratch(&self, bytes: u64) -> Result<Scratch> {
        let free = free_bytes(&self.root)?;
        let wanted = bytes + RESERVE_BYTES;
        ensure!(
            free >= wanted,
            "{}: expected room for {} MiB and {} MiB to spare, found {} MiB free: give a directory on a larger disk",
            self.root.display(),
            bytes >> 20,
            RESERVE_BYTES >> 20,
            free >> 20
        );
        let path = self.root.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        Ok(Scratch { path })
    }

    /// Lets the file system write down what was removed, so that the next one does not pay for it.
    pub(crate) fn settle(&self) -> Result<()> {
        syncfs(fs::File::open(&self.root)?)?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A directory that goes with its last user.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn refuse_memory(directory: &Path) -> Result<()> {
    let kind = statfs(directory)?.f_type as i64;
    if [TMPFS, RAMFS, HUGETLBFS].contains(&kind) {
        bail!(
            "{}: expected a directory on a disk, found a file system in memory, where a sync costs nothing: \
             give another one with --dir",
            directory.display()
        );
    }
    Ok(())
}

pub(crate) fn free_bytes(directory: &Path) -> Result<u64> {
    let stat = statvfs(directory)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Bytes of all files below a directory.
pub(crate) fn held_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { held_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Drops the cached pages of all files below a directory; what is known of names and sizes as well,
/// where the system allows it. Returns whether it did.
pub(crate) fn chill(directory: &Path) -> Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            chill(&entry.path())?;
            continue;
        }
        let file = fs::File::open(entry.path())?;
        // Only clean pages are dropped.
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(fs::write("/proc/sys/vm/drop_caches", "2").is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused() {
        let file = rustix::fs::memfd_create("compare", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let error = refuse_memory(Path::new(&path)).unwrap_err().to_string();
        assert!(error.contains("in memory"), "{error}");
    }
}
