//! Two threads per log that is open for writing, or whoever calls `tend` in their place.
//!
//! The *committer* commits what was submitted by callers who don't wait in a thread of their
//! own, and leaves a witness when the log falls idle. The *keeper* does what must not hold up a
//! commit: the next segment, indexes of sealed ones, checkpoints, timed syncs.

use std::sync::Arc;
use std::time::Duration;

use super::tail::Tail;
use super::{Inner, Log, spare};
use crate::error::{Error, Result};
use crate::options::{Durability, Upkeep};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{Builder, JoinHandle};

/// With more than this that wait for the log at a time, the committer leads: the first to come back with
/// its next batch would sync for itself alone, and all others would wait for that.
pub(super) const CROWD: usize = 3;

/// Of a larger crowd half is enough: the others stage while those are synced.
const LARGE: usize = 32;

/// How many of a crowd are worth waiting for.
fn enough(crowd: usize) -> usize {
    if crowd < LARGE { crowd } else { crowd.div_ceil(2) }
}

/// The part of a sync's time that those who were just served are waited for.
const PATIENCE: u32 = 4;

/// After a failure in the background, the same is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn start(inner: &Arc<Inner>) -> Result<Vec<JoinHandle<()>>> {
    if inner.options.upkeep == Upkeep::Caller {
        return Ok(Vec::new());
    }
    let spawn = |name: &str, work: fn(&Inner)| {
        let inner = Arc::clone(inner);
        Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&inner))
            .map_err(|e| Error::io("start thread", name, e))
    };
    let committer = spawn("stratalog-commit", Inner::committer)?;
    match spawn("stratalog-keep", Inner::keeper) {
        Ok(keeper) => Ok(vec![committer, keeper]),
        Err(error) => {
            // The first would hold the log, and its lock, for as long as the process lives.
            inner.duty.stop();
            drop(inner.tail.lock());
            inner.work.notify_all();
            let _ = committer.join();
            Err(error)
        }
    }
}

impl Log {
    /// Does now what the log's own threads would do, for a log opened with
    /// [`Upkeep::Caller`](crate::Upkeep::Caller): commits what was submitted, readies the next segment,
    /// writes the checkpoint and the indexes that are due, syncs under
    /// [`Durability::SyncEvery`](crate::Durability::SyncEvery), gives back the space of what was purged,
    /// and leaves the witness of an idle moment. Harmless beside threads.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Poisoned`], and the system's; what could not be done stays due.
    pub fn tend(&self) -> Result<()> {
        let inner = self.inner();
        inner.settle_staged()?;
        inner.keep(matches!(inner.options.durability, Durability::SyncEvery(_)))?;
        inner.witness();
        inner.check_running()
    }
}

impl Inner {
    fn committer(&self) {
        crate::storage::end_waits_on_time();
        let mut tail = self.tail.lock();
        loop {
            if (tail.awaited.is_some() || tail.crowd > CROWD) && tail.group.blocked < enough(tail.crowd) {
                tail = self.gather(tail);
            }
            tail.called = false;
            if !tail.leading && !tail.group.is_empty() {
                tail = self.lead(tail);
            } else if self.duty.stopped() {
                return;
            } else if tail.unwitnessed && tail.stopped.is_none() {
                let before = tail.next_seq;
                let idle = self.work.wait_for(&mut tail, self.options.idle_witness).timed_out();
                if idle && tail.next_seq == before && !tail.leading && tail.group.is_empty() {
                    drop(tail);
                    self.witness();
                    tail = self.tail.lock();
                }
            } else {
                self.work.wait(&mut tail);
            }
        }
    }

    /// Those who were just served are about to append again: one sync can serve them all. So they are given
    /// a part of the time that a sync takes. While nobody comes in that time, it is given less and less often.
    fn gather<'a>(&'a self, tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        drop(tail);
        crate::sync::thread::yield_now();
        let mut tail = self.tail.lock();
        let here = tail.group.blocked;
        let patience = tail.sync_time / PATIENCE;
        if here > 0 && !tail.leading && tail.awaited.is_some() && patience > Duration::ZERO {
            self.work.wait_for(&mut tail, patience);
            // Otherwise they all came, and the last one leads.
            if tail.awaited.take().is_some() {
                let came = tail.group.blocked > here;
                tail.hurry.learn(came);
            }
        }
        tail
    }

    /// Writes down that everything so far is durable, so that damage to the last records can be
    /// told from a torn tail. A failure poisons the log or is nobody's loss.
    pub(super) fn witness(&self) {
        if self.sync_all().is_err() {
            return;
        }
        let mut tail = self.tail.lock();
        if !tail.unwitnessed || tail.leading || !tail.group.is_empty() {
            return;
        }
        if self.durable.load(Ordering::Acquire) + 1 != tail.next_seq {
            return;
        }
        tail.unwitnessed = false;
        if tail.stage_witness(self.home.storage.unix_micros()) {
            self.lead_once(tail);
        }
    }

    fn keeper(&self) {
        let pause = match self.options.durability {
            Durability::SyncEvery(interval) => Some(interval),
            _ => None,
        };
        let mut retry = false;
        while !self.duty.stopped() {
            self.duty.wait(if retry { Some(pause.map_or(RETRY, |pause| pause.min(RETRY))) } else { pause });
            if self.duty.stopped() || self.tail.lock().stopped.is_some() {
                // A poisoned log has no duties left; `stop` ends the wait.
                retry = false;
                continue;
            }
            let outcome = self.keep(pause.is_some());
            retry = outcome.is_err();
            *self.background_error.lock() = outcome.err();
        }
    }

    fn keep(&self, timed_sync: bool) -> Result<()> {
        if timed_sync {
            self.sync_all()?;
        }
        let (begun, planned) = {
            let tail = self.tail.lock();
            (tail.spot.map(|spot| spot.capacity), tail.planned_capacity)
        };
        if let Some(capacity) = begun {
            let next = spare::capacity_after(capacity, self.options.segment_bytes).max(planned);
            let made = spare::prepare(self, next)?;
            self.tail.lock().planned_capacity = made;
        }
        if self.since_checkpoint.load(Ordering::Relaxed) >= self.checkpoint_due.load(Ordering::Relaxed) {
            self.checkpoint(false)?;
        }
        let sealed =
            !self.unindexed.lock().is_empty() || self.freeing.try_lock().is_some_and(|left| !left.is_empty());
        self.index_sealed()?;
        // What was purged while the segment was the last one could not be given back then.
        if sealed { self.free_dead() } else { Ok(()) }
    }

    /// Writes the indexes of segments sealed in this life.
    pub(super) fn index_sealed(&self) -> Result<()> {
        loop {
            let Some(segment) = self.unindexed.lock().pop() else { return Ok(()) };
            if let Err(error) = segment.store_index() {
                self.unindexed.lock().push(segment);
                return Err(error);
            }
        }
    }
}
