//! The only way to a disk: a flat directory of files, and a file that is written, mapped, synced.
//!
//! Everything above works on any [`Storage`]: the real directory, memory, or one that loses,
//! tears and refuses on purpose. Time and randomness come from here as well, so that a run on a
//! storage that answers the same repeats exactly.

mod disk;
mod forked;
mod mapping;
mod memory;
#[cfg(feature = "test-util")]
mod simulated;
mod timers;

use std::fmt;
use std::io;
use std::sync::Arc;

pub use disk::DiskStorage;
pub use mapping::Mapping;
pub(crate) use mapping::prefetch;
pub use memory::MemoryStorage;
#[cfg(feature = "test-util")]
pub use simulated::{SimulatedStorage, Survives};
pub(crate) use timers::end_waits_on_time;

use crate::error::Result;

/// A flat directory of files.
pub trait Storage: Send + Sync + fmt::Debug {
    /// What messages call this place.
    fn name(&self) -> String;

    /// Makes sure that nobody else writes here until the returned lock is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked), at once, if somebody does.
    fn lock(&self) -> Result<Box<dyn StorageLock>>;

    /// Every name in the directory, in any order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<DirectoryEntry>>;

    /// A new file of `len` zeros whose blocks exist, so that writing within it can't fail for
    /// want of room. A file of that name is replaced. Neither content nor name is durable yet.
    ///
    /// # Errors
    /// The system's; the name may then exist with less in it.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>>;

    /// As [`create`](Self::create), with the content durable, and in no hurry: where that is possible, little
    /// is on its way to the disk at a time, so that others who sync meanwhile don't wait for all of it.
    /// `pace` is called before each piece with the bytes done so far. It may take its time, and says how many
    /// bytes there is time for: behind a 0 the zeros need not be on the disk, as long as the room for them
    /// is kept and they are read as zeros.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`StorageFile::sync`].
    fn create_durable(
        &self,
        name: &str,
        len: u64,
        pace: &dyn Fn(u64) -> u64,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let _all_at_once = pace;
        let file = self.create(name, len)?;
        file.sync()?;
        Ok(file)
    }

    /// An existing file; anything but a regular file is an error.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file another name, atomically; a file that had that name is gone.
    ///
    /// # Errors
    /// The system's; then nothing was renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file another name, whose content is of no use to anybody any more, and whose bytes the
    /// caller may write over from then on: only if nobody, in this process or another, has the file open
    /// or mapped, or can come by it under its old name. Otherwise nothing is done, and that is what a
    /// storage does that can't know.
    ///
    /// # Errors
    /// The system's; then nothing was renamed.
    fn reclaim(&self, from: &str, to: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let _nobody_can_say = (from, to);
        Ok(None)
    }

    /// Removes a name; the file lives on while it is open or mapped.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: every create, rename and remove that returned before this call.
    ///
    /// # Errors
    /// The system's; which names are durable is then unknown.
    fn sync_directory(&self) -> io::Result<()>;

    /// Microseconds since 1970. May step back; the log does not.
    fn unix_micros(&self) -> i64;

    /// A number nobody can foretell.
    fn random(&self) -> u64;
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and mapping.
    Read,
    /// Reading, mapping and writing.
    Write,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, without a path.
    pub name: String,
    /// False for directories, links, sockets and the like.
    pub is_file: bool,
}

/// Held while a directory is open for writing.
pub trait StorageLock: Send + Sync + fmt::Debug {
    /// False in a process that inherited the lock by a fork.
    fn held_here(&self) -> bool;

    /// The process that took the lock.
    fn holder(&self) -> u32;
}

/// One file. Positions are bytes from its start.
///
/// A call that fails may have written any part of its bytes, and nothing outside them.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Bytes in the file.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. When it returns, every reader and mapping sees them, and a crash
    /// of this process doesn't take them back.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// As [`write_at`](Self::write_at), by the way that is cheapest for small pieces which are
    /// not synced one by one: a copy into a map, where the file system allows it.
    ///
    /// # Errors
    /// The system's.
    fn store_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_at(bytes, position)
    }

    /// Cuts the file, or extends it with a hole.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable. After an error nothing may be assumed of anything
    /// written since the last success, not even after another call that succeeds.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;

    /// Gets the bytes from `start` to `end` to the disk ahead of a [`sync`](Self::sync), which has less to do
    /// then; makes nothing durable by itself. A storage without a queue that others wait in does nothing.
    ///
    /// # Errors
    /// The system's; as after an error of [`sync`](Self::sync), nothing may be assumed any more.
    fn write_out(&self, start: u64, end: u64) -> io::Result<()> {
        let _nothing_to_gain = (start, end);
        Ok(())
    }

    /// The first `len` bytes as memory, or nothing if this storage has no memory to show; they
    /// are then read with [`read_at`](Self::read_at).
    ///
    /// # Errors
    /// The system's, and if the file is shorter.
    fn map(&self, len: u64) -> io::Result<Option<Mapping>>;
}

/// Reads until `buffer` is full or the file ends; how much was read.
pub(crate) fn read_full(file: &dyn StorageFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
