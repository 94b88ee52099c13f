//! What a log does from being open to being closed: its segments grow, its syncs succeed or
//! poison it, and it leaves clean.

use std::sync::Arc;
use std::time::Duration;

use super::decision::in_a_waker;
use super::{Inner, Shared};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::atomic::Ordering;
use crate::sync::thread;

impl Shared {
    pub(super) fn close(&self) -> Result<()> {
        let here = thread::current().id();
        let mut threads = if in_a_waker() {
            // Whoever closes it already may wait for this very thread, or be it.
            let Some(threads) = self.threads.try_lock() else { return Ok(()) };
            threads
        } else {
            self.threads.lock()
        };
        if let Err(forked @ Error::Forked { .. }) = self.inner.tail.lock().check_process() {
            // The files are the parent's, and the threads never came along.
            std::mem::take(&mut *threads).into_iter().for_each(std::mem::forget);
            return Err(forked);
        }
        let outcome = match self.inner.follow {
            Some(_) => Ok(false),
            None => self.inner.stop_appending(),
        };
        self.inner.duty.stop();
        // Under the lock, so that the committer has either seen the stop or hears the call.
        drop(self.inner.tail.lock());
        self.inner.work.notify_all();
        for thread in threads.drain(..).filter(|thread| thread.thread().id() != here) {
            // A thread that panicked has poisoned the log already.
            let _ = thread.join();
        }
        let outcome = outcome.and_then(|running| if running { self.inner.leave_clean() } else { Ok(()) });
        self.inner.tail.lock().stopped = Some(Error::Closed);
        {
            // A checkpoint that was begun before is written to the end while the lock is held.
            let _none_is_written = self.inner.checkpointing.lock();
            let lock = self.inner.tail.lock().lock.take();
            drop(lock);
        }
        self.inner.tail_moved.notify();
        self.inner.listeners.closed();
        outcome
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody is left to be told; the next open recovers what this could not finish.
        let _ = self.close();
    }
}

impl Inner {
    /// For calls that write.
    pub(super) fn check_running(&self) -> Result<()> {
        match &self.tail.lock().stopped {
            Some(stopped) => Err(stopped.clone()),
            None => Ok(()),
        }
    }

    /// For calls that read: a poisoned log can still be read.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.duty.stopped() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    /// The newest SeqId that readers are shown. A commit shows in its segment first, and `committed`
    /// follows; whoever was shown a record must be able to name it at once.
    pub(super) fn newest(&self) -> u64 {
        let shown = self.segments.read().last().map_or(0, |last| last.end_seq().saturating_sub(1));
        shown.max(self.committed.load(Ordering::Acquire))
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut grown = Vec::with_capacity(segments.len() + 1);
        grown.extend(segments.iter().filter(|held| held.base() < segment.base()).cloned());
        if let Some(sealed) = grown.last() {
            self.unindexed.lock().push(Arc::clone(sealed));
        }
        grown.push(segment);
        *segments = Arc::new(grown);
    }

    /// Syncs every segment that holds something not yet durable, oldest first.
    pub(super) fn sync_all(&self) -> Result<()> {
        // One at a time, the poisoning included: behind a sync that failed, the next one of the same
        // file may succeed and mean nothing.
        let mut synced = self.syncing.lock();
        if let Some(error @ Error::Poisoned(_)) = &self.tail.lock().stopped {
            return Err(error.clone());
        }
        let segments = self.segments();
        for (k, segment) in segments.iter().enumerate() {
            let upto = segment.end_seq() - 1;
            if upto <= self.durable.load(Ordering::Acquire) {
                continue;
            }
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = synced.sync(segment)? {
                return Err(self.poison(Error::io("sync", segment.name(), error)));
            }
            self.durable.fetch_max(upto, Ordering::AcqRel);
            // It grew meanwhile: what follows it is not durable without the rest of it.
            if segments.get(k + 1).is_some_and(|next| next.base() != upto + 1) {
                break;
            }
        }
        Ok(())
    }

    /// Acknowledges nothing any more.
    pub(super) fn poison(&self, error: Error) -> Error {
        let mut tail = self.tail.lock();
        tail.stopped = Some(error.poisoned());
        // A leader tells its own group when it comes back and sees why the log stopped.
        let next_seq = self.committed.load(Ordering::Acquire) + 1;
        let told = (!tail.leading).then(|| tail.set_back(next_seq, None));
        drop(tail);
        self.room.notify_all();
        if let Some(told) = told {
            told.leave(0, Some(error.clone()));
        }
        error
    }

    /// Refuses new appends and commits what was submitted. False if the log was closed before.
    pub(super) fn stop_appending(&self) -> Result<bool> {
        let barrier = {
            let mut tail = self.tail.lock();
            match &tail.stopped {
                Some(Error::Closed) => return Ok(false),
                Some(stopped) => return Err(stopped.clone()),
                None => tail.stopped = Some(Error::Closed),
            }
            tail.stage_barrier()
        };
        self.room.notify_all();
        self.lead_if_idle(&barrier);
        barrier.wait()?;
        Ok(true)
    }

    /// The last words of a log that is being closed.
    pub(super) fn leave_clean(&self) -> Result<()> {
        self.sync_all()?;
        let changed = self.committed.load(Ordering::Acquire) > 0
            && (!self.report.clean || self.counters.groups.load(Ordering::Relaxed) > 0);
        if changed {
            self.witness();
            self.checkpoint(true)?;
        }
        let active = self.tail.lock().active.take();
        if let Some(active) = active {
            // What was preallocated and is not needed goes back; readers look at less than this.
            active
                .file
                .set_len(active.position)
                .map_err(|e| Error::io("truncate", active.segment.name(), e))?;
            self.unindexed.lock().push(active.segment);
        }
        self.keep_only(0);
        self.index_sealed()
    }

    /// Whether the wait for more is over, one way or the other.
    pub(super) fn wait_for_more(&self, seen: u64, timeout: Option<Duration>) -> Result<bool> {
        let more = || self.committed.load(Ordering::Acquire) > seen || self.duty.stopped();
        match self.follow {
            None => self.tail_moved.wait(timeout, more),
            Some(_) => self.poll_for_more(timeout, more)?,
        }
        self.check_open()?;
        Ok(self.committed.load(Ordering::Acquire) > seen)
    }
}
