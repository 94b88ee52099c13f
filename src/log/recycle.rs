//! Freed segments, whose files make the next ones.
//!
//! Crash order: the segment is freed, durably so (see `purge`); its file gets a `.free` name, and that is
//! durable; it gets the name of the spare; a new header goes into it, with a new salt, and is synced; it gets
//! the name of a segment, and that is durable; then frames go into it. Cut off anywhere: opening the log
//! removes what has a `.free` name, takes or replaces the spare, and finds a segment without frames.
//!
//! What the file held before stands in it until it is written over. No frame of that is valid any more: a
//! frame's checksum begins with the salt and the position.

use std::sync::Arc;

use super::Inner;
use super::spare::{self, Spare};
use crate::error::{Error, Result};
use crate::segment::{Segment, names};

/// The most that are kept.
const MOST: usize = 4;

/// Under names that an open removes.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<(String, Spare)>);

impl Inner {
    /// Keeps the file of a segment that was freed, durably so, and that is on no list any more: true if it did,
    /// and its name is gone.
    pub(super) fn keep_for_next(&self, segment: &mut Arc<Segment>) -> Result<bool> {
        let (storage, wanted) = (self.home.storage.as_ref(), self.options.segment_bytes);
        if !self.options.recycles() || self.kept.lock().0.len() >= self.worth_keeping() {
            return Ok(false);
        }
        // Whoever has the segment may read on; who has its file by other ways is found by the storage.
        if Arc::get_mut(segment).is_none_or(|segment| !segment.let_go(wanted)) {
            return Ok(false);
        }
        let (name, kept_as) = (segment.name(), names::free(segment.base()));
        // What goes wrong here goes wrong where it is removed, or costs a file that the next open removes.
        let Ok(Some(file)) = storage.reclaim(name, &kept_as) else { return Ok(false) };
        let fits = file.size().is_ok_and(|size| size == wanted);
        // No byte of it changes before the old name is gone for good.
        if fits && storage.sync_directory().is_ok() {
            self.kept.lock().0.push((kept_as, Spare { file, capacity: wanted, recycled: true }));
        } else {
            storage.remove(&kept_as).map_err(|e| Error::io("remove", &kept_as, e))?;
        }
        Ok(true)
    }

    /// Fewer than there are segments: a log takes no more than twice what is live in it, and one that is
    /// purged as a whole gives everything back.
    fn worth_keeping(&self) -> usize {
        MOST.min(self.segments().len().saturating_sub(1))
    }

    /// Gives back those that are no longer worth it.
    pub(super) fn keep_no_more(&self) {
        self.keep_only(self.worth_keeping());
    }

    /// Gives back all but so many; false if there were no more. A failure leaves a file for the next open.
    pub(super) fn keep_only(&self, few: usize) -> bool {
        let mut kept = self.kept.lock();
        let few = few.min(kept.0.len());
        let mut some = false;
        for (name, _) in kept.0.drain(few..) {
            let _ = self.home.storage.remove(&name);
            some = true;
        }
        some
    }

    /// Names one of them as the spare; the last one that came, whose pages may be in memory still.
    pub(super) fn recycle(&self, capacity: u64) -> Option<Spare> {
        let (name, spare) = self.kept.lock().0.pop_if(|(_, spare)| spare.capacity >= capacity)?;
        self.home.storage.rename(&name, spare::NAME).is_ok().then_some(spare)
    }
}
