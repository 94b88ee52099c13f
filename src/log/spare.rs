//! The segment prepared ahead, so that a full one is followed without a wait.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::error::{Error, Result};
use crate::format::{MIN_SEGMENT_BYTES, SEGMENT_HEADER_BYTES};
use crate::options::{Durability, Options, Upkeep};
use crate::segment::names;
use crate::storage::{Access, Storage, StorageFile, read_full};
use crate::sync::atomic::Ordering;
use crate::sync::thread;

pub(super) const NAME: &str = names::SPARE;

/// The first segment of a log that never had one: small, so that opening and small logs are cheap.
const FIRST_BYTES: u64 = 1 << 20;
/// Between two pieces of a spare that nobody waits for.
const PAUSE: Duration = Duration::from_millis(2);
/// Zeros at a time: whoever syncs meanwhile waits for them. Large pieces where small ones come too late.
const PIECE: u64 = 128 << 10;
const LARGE_PIECE: u64 = 512 << 10;
/// Syncs of more than this gain less by zeros on the disk than these cost.
const LARGE_SYNC: u64 = 160 << 10;
/// Each next segment may be this much larger, up to the size asked for.
const GROWTH: u64 = 4;

/// A file that carries no name of a segment yet: zeros, or what was a segment before.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) capacity: u64,
    /// It was a segment before: its bytes mean nothing.
    pub(super) recycled: bool,
}

/// The spare that an earlier life left, if it is of use.
pub(super) fn adopt(storage: &dyn Storage, options: &Options) -> Option<Spare> {
    let file = storage.open(NAME, Access::Write).ok()?;
    let capacity = file.size().ok()?;
    let mut head = [0; SEGMENT_HEADER_BYTES];
    read_full(file.as_ref(), &mut head, 0).ok()?;
    // The header of a segment was durable before its file could come here.
    let recycled = head.iter().any(|byte| *byte != 0);
    let fits = (MIN_SEGMENT_BYTES..=options.segment_bytes).contains(&capacity);
    (fits && (options.recycles() || !recycled)).then_some(Spare { file, capacity, recycled })
}

/// Capacity of the first segment of this life.
pub(super) fn first_capacity(spare: Option<&Spare>, segment_bytes: u64) -> u64 {
    spare.map_or(FIRST_BYTES.min(segment_bytes), |spare| spare.capacity)
}

pub(super) fn capacity_after(capacity: u64, segment_bytes: u64) -> u64 {
    capacity.saturating_mul(GROWTH).clamp(MIN_SEGMENT_BYTES, segment_bytes)
}

/// Makes a file of zeros named [`NAME`], durable but for its name.
fn make(storage: &dyn Storage, capacity: u64, pace: &dyn Fn(u64) -> u64) -> Result<Spare> {
    let temporary = names::temporary(NAME);
    let made = storage.create_durable(&temporary, capacity, pace);
    let made = made.map_err(|e| Error::io("create", &temporary, e)).and_then(|file| {
        storage.rename(&temporary, NAME).map_err(|e| Error::io("rename", &temporary, e))?;
        Ok(Spare { file, capacity, recycled: false })
    });
    if made.is_err() {
        // Gives back what a full disk had left; a failure to do so is the same failure again.
        let _ = storage.remove(&temporary);
    }
    made
}

/// A spare of at least `capacity` bytes, made now if none is ready. It is named [`NAME`].
pub(super) fn take(inner: &Inner, ready: &mut Option<Spare>, capacity: u64) -> Result<Spare> {
    let ready = ready.take().filter(|spare| spare.capacity >= capacity);
    match ready.or_else(|| inner.recycle(capacity)) {
        Some(spare) => Ok(spare),
        None => inner.make(capacity),
    }
}

/// Makes the next spare, if there is none, and returns the capacity of the one there is: where the
/// disk has no room for `capacity`, that is less.
pub(super) fn prepare(inner: &Inner, mut capacity: u64) -> Result<u64> {
    let mut slot = inner.spare.lock();
    if slot.is_none() {
        *slot = inner.recycle(capacity);
    }
    while slot.is_none() {
        match inner.make(capacity) {
            Ok(spare) => *slot = Some(spare),
            Err(error) if is_full(&error) && smaller(capacity) < capacity => capacity = smaller(capacity),
            Err(error) => return Err(error),
        }
    }
    Ok(slot.as_ref().map_or(capacity, |spare| spare.capacity))
}

impl Inner {
    /// Files that are kept for later give way where the disk is full.
    fn make(&self, capacity: u64) -> Result<Spare> {
        let make = || make(self.home.storage.as_ref(), capacity, &|done| self.zeros(done, capacity));
        match make() {
            Err(error) if is_full(&error) && self.keep_only(0) => make(),
            made => made,
        }
    }

    /// For how many more zeros in a spare there is time; takes its share of that time. With zeros on the disk a
    /// sync has nothing else to write; where nobody waits for one, or somebody waits for the spare, room is
    /// enough, and every byte goes to the disk once.
    ///
    /// Zeros on their way to the disk hold up whoever waits for a sync: so they are made as the segment
    /// before them fills, about twice as fast, and slowly while it does not.
    fn zeros(&self, done: u64, capacity: u64) -> u64 {
        if self.options.durability != Durability::Sync {
            return 0;
        }
        if self.options.upkeep == Upkeep::Caller {
            return capacity;
        }
        let (filled, sync_bytes) = {
            let tail = self.tail.lock();
            let filled = tail.spot.map_or(0.0, |spot| spot.position as f64 / spot.capacity as f64);
            (filled, tail.sync_bytes)
        };
        let wanted = || self.spare_wanted.load(Ordering::Relaxed) || self.duty.stopped();
        let due = (2.0 * filled * capacity as f64) as u64;
        if done > due && !wanted() {
            thread::sleep(PAUSE);
        }
        if sync_bytes > LARGE_SYNC || wanted() {
            0
        } else {
            due.saturating_sub(done).clamp(PIECE, LARGE_PIECE)
        }
    }
}

/// What to try where there is no room for a segment of this capacity.
pub(super) fn smaller(capacity: u64) -> u64 {
    (capacity / GROWTH).max(MIN_SEGMENT_BYTES)
}

pub(super) fn is_full(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. }
        if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}
