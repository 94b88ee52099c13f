//! Group commit: one writes and syncs for all that wait.
//!
//! `tail` is never held while waiting for a decision. The leader takes the active segment out of it, so
//! that others stage while it writes.
//!
//! Who waits is told once a group is written, and synced where that is promised (`write`).

use std::sync::Arc;

use super::background::CROWD;
use super::decision::{Decision, Ticket};
use super::pending::{Appended, PendingAppend};
use super::tail::{Group, Stamp, Tail};
use super::terms::Terms;
use super::write::{Failure, Outcome};
use super::{Inner, spare};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::format::RECORD_ENTRY_BYTES;
use crate::format::control::{Control, NOTE_BYTES};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::options::{Durability, Upkeep};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    Wait,
    Fail,
}

/// What became of a batch that was handed over.
enum HandedOver<'a> {
    Committed(Appended),
    Staged(Appended, Ticket, MutexGuard<'a, Tail>),
}

/// What a batch is to the log.
enum Admission {
    /// Nothing to commit.
    Empty,
    /// Its first attempt is in the log, or on its way.
    Retry(Appended, Ticket),
    New,
}

impl Inner {
    /// Blocks until the batch is committed.
    pub(super) fn append(
        self: &Arc<Self>,
        stream: StreamId,
        batch: &Batch,
        terms: &Terms,
    ) -> Result<Appended> {
        match self.hand_over(stream, batch, WhenFull::Wait, terms)? {
            HandedOver::Committed(appended) => Ok(appended),
            HandedOver::Staged(appended, ticket, tail) => self.commit(&ticket, tail).map(|()| appended),
        }
    }

    /// Writes down a control record, and blocks until it is committed and applied. Its SeqId.
    pub(super) fn control(&self, control: Control) -> Result<u64> {
        let mut tail = self.tail.lock();
        if let Some(stopped) = &tail.stopped {
            return Err(stopped.clone());
        }
        self.disturb(&mut tail);
        let storage = &self.home.storage;
        let stamp = self.stamp();
        let (seq, ticket) = tail.stage_control(control, stamp, || storage.random() as u32)?;
        self.commit(&ticket, tail)?;
        Ok(seq)
    }

    /// Blocks until everything staged so far is committed, or taken back.
    pub(super) fn settle_staged(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        if let Some(stopped) = &tail.stopped {
            return Err(stopped.clone());
        }
        let ticket = tail.stage_barrier();
        let _either_way = self.commit(&ticket, tail);
        Ok(())
    }

    /// Blocks until what was staged is committed: leads, or waits for whoever does.
    fn commit(&self, ticket: &Ticket, mut tail: MutexGuard<'_, Tail>) -> Result<()> {
        tail.group.blocked += 1;
        let all_here = tail.awaited.is_some_and(|awaited| tail.group.blocked >= awaited);
        let crowded =
            (tail.awaited.is_some() || tail.crowd > CROWD) && self.options.upkeep == Upkeep::Threads;
        if tail.leading || (crowded && !all_here) {
            self.call_committer(&mut tail);
            drop(tail);
        } else {
            if tail.awaited.take().is_some() {
                tail.hurry.learn(true);
            }
            self.lead_once(tail);
        }
        ticket.wait()
    }

    pub(super) fn submit(
        self: &Arc<Self>,
        stream: StreamId,
        batch: &Batch,
        full: WhenFull,
        terms: &Terms,
    ) -> Result<PendingAppend> {
        let inner = Arc::clone(self);
        match self.hand_over(stream, batch, full, terms)? {
            HandedOver::Committed(appended) => Ok(PendingAppend { inner, ticket: None, appended }),
            HandedOver::Staged(appended, ticket, mut tail) => {
                self.call_committer(&mut tail);
                drop(tail);
                Ok(PendingAppend { inner, ticket: Some(ticket), appended })
            }
        }
    }

    /// Commits a batch at once where that can be, and stages it elsewhere.
    fn hand_over(
        &self,
        stream: StreamId,
        batch: &Batch,
        full: WhenFull,
        terms: &Terms,
    ) -> Result<HandedOver<'_>> {
        let (admission, mut tail) = self.admit(stream, batch, full, terms)?;
        let (appended, ticket) = match admission {
            Admission::Empty => return Ok(HandedOver::Committed(NOTHING)),
            Admission::Retry(first, ticket) => (first, ticket),
            Admission::New => {
                let stamp = self.stamp();
                let alone = terms.note.is_none().then(|| self.append_alone(&mut tail, stream, batch, stamp));
                if let Some(outcome) = alone.flatten() {
                    drop(tail);
                    let appended = outcome?;
                    self.listeners.committed([stream].into_iter());
                    return Ok(HandedOver::Committed(appended));
                }
                let storage = &self.home.storage;
                tail.stage(stream, batch, terms, stamp, || storage.random() as u32)?
            }
        };
        Ok(HandedOver::Staged(appended, ticket, tail))
    }

    /// Checks limits, waits for room, and checks the terms. A retry is not staged again: it waits for what
    /// is, the first attempt included.
    fn admit(
        &self,
        stream: StreamId,
        batch: &Batch,
        full: WhenFull,
        terms: &Terms,
    ) -> Result<(Admission, MutexGuard<'_, Tail>)> {
        self.check_limits(batch)?;
        let bytes = (batch.frame_bytes() + terms.note.map_or(0, |_| RECORD_ENTRY_BYTES + NOTE_BYTES)) as u64;
        let mut tail = self.tail.lock();
        loop {
            if let Some(stopped) = &tail.stopped {
                return Err(stopped.clone());
            }
            if batch.is_empty() {
                return Ok((Admission::Empty, tail));
            }
            if let Some(note) = terms.note
                && let Some(first) = tail.producers.retried(note, stream)?
            {
                let ticket = tail.stage_retry(first.last_seq_id().unwrap_or_default());
                return Ok((Admission::Retry(first, ticket), tail));
            }
            if tail.queued_bytes == 0 || tail.queued_bytes + bytes <= self.options.queue_bytes {
                break;
            }
            if full == WhenFull::Fail {
                return Err(Error::QueueFull {
                    queued_bytes: tail.queued_bytes,
                    limit: self.options.queue_bytes,
                });
            }
            if self.options.upkeep == Upkeep::Caller && !tail.leading {
                tail = self.lead(tail);
                continue;
            }
            self.call_committer(&mut tail);
            self.room.wait(&mut tail);
        }
        if let Some(expected) = terms.first_seq_id.filter(|expected| expected.0 != tail.next_seq) {
            return Err(Error::OutOfTurn { expected, next: SeqId(tail.next_seq) });
        }
        if let Some(expected) = terms.next_offset {
            let next = LogOffset(tail.streams.next_log_offset(stream.as_bytes()));
            if next != expected {
                return Err(Error::Conflict { stream, expected, next });
            }
        }
        self.disturb(&mut tail);
        Ok((Admission::New, tail))
    }

    /// Something is staged: the log will have to be witnessed when it falls idle.
    fn disturb(&self, tail: &mut Tail) {
        if !tail.unwitnessed {
            tail.unwitnessed = true;
            self.work.notify_one();
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            committed_when_written: self.options.durability != Durability::Sync,
            durable_upto: self.durable.load(Ordering::Acquire),
            now_micros: self.home.storage.unix_micros(),
        }
    }

    /// What the log knows changes when a control record is committed, before anybody is told.
    fn apply(&self, group: &Group, next_seq: u64) {
        let committed = group.controls.partition_point(|(seq, _)| *seq < next_seq);
        let controls = group.controls.get(..committed).unwrap_or_default();
        if !controls.is_empty() {
            let mut registry = self.registry.write();
            controls.iter().for_each(|(_, control)| registry.apply(control));
            drop(registry);
            self.purges.fetch_add(1, Ordering::Release);
        }
    }

    fn check_limits(&self, batch: &Batch) -> Result<()> {
        let limits = [
            ("record bytes", batch.largest_record() as u64, self.options.max_record_bytes),
            ("records in a batch", batch.len() as u64, self.options.max_batch_records),
            ("batch bytes", batch.frame_bytes() as u64, self.options.max_batch_bytes),
        ];
        for (what, size, limit) in limits {
            if size > limit {
                return Err(Error::Limit { what, size, limit });
            }
        }
        Ok(())
    }

    /// Wakes the committer if nobody leads and it was not called yet.
    pub(super) fn call_committer(&self, tail: &mut Tail) {
        if !tail.leading && !tail.called {
            tail.called = true;
            self.work.notify_one();
        }
    }

    /// A thread about to wait leads, if nobody does: it saves the switch to the committer.
    pub(super) fn lead_if_idle(&self, ticket: &Ticket) {
        if ticket.outcome().is_some() {
            return;
        }
        let tail = self.tail.lock();
        if !tail.leading && !tail.group.is_empty() {
            self.lead_once(tail);
        }
    }

    /// Commits one group, then leaves what came in meanwhile to the committer, if there is one.
    pub(super) fn lead_once(&self, tail: MutexGuard<'_, Tail>) {
        let mut tail = self.lead(tail);
        while self.options.upkeep == Upkeep::Caller && !tail.leading && !tail.group.is_empty() {
            tail = self.lead(tail);
        }
        if !tail.group.is_empty() {
            self.call_committer(&mut tail);
        }
    }

    /// Takes the group, commits it, tells everybody; returns with the lock, leading no more.
    pub(super) fn lead<'a>(&'a self, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        tail.leading = true;
        let process = tail.check_process();
        let mut lead = Lead { inner: self, group: Some(tail.take_group()) };
        let mut active = tail.active.take();
        drop(tail);
        let group = lead.group.as_ref();
        let outcome = group.map(|group| {
            let outcome = self.write_group(&mut active, group, process);
            self.apply(group, outcome.next_seq);
            outcome
        });

        let mut tail = self.tail.lock();
        tail.leading = false;
        if let Some((synced_in, written)) = outcome.as_ref().and_then(Outcome::synced) {
            tail.sync_time = (tail.sync_time * 7 + synced_in) / 8;
            tail.sync_bytes = (tail.sync_bytes * 7 + written) / 8;
        }
        tail.active = active;
        tail.crowd = group.map_or(0, |group| group.blocked) + tail.group.blocked;
        tail.awaited = (tail.crowd > 1 && tail.hurry.due()).then_some(tail.crowd);
        let Some((mut group, mut outcome)) = lead.group.take().zip(outcome) else {
            return tail;
        };
        if let Some(error @ Error::Poisoned(_)) = &tail.stopped {
            // A sync in the background failed meanwhile: nothing is acknowledged any more.
            outcome.next_seq = 0;
            outcome.failure = Some(Failure { error: error.clone(), poison: true });
        }
        tail.queued_bytes = tail.queued_bytes.saturating_sub(group.bytes.len() as u64);
        let behind = outcome.failure.as_ref().map(|failure| self.take_back(&mut tail, failure, Some(&group)));
        self.room.notify_all();
        drop(tail);
        let error = outcome.failure.map(|failure| failure.error);
        for decision in [Some(&group.decision), behind.as_ref()].into_iter().flatten() {
            decision.leave(outcome.next_seq, error.clone());
        }
        self.listeners.committed(group.streams());
        group.clear();
        let mut tail = self.tail.lock();
        tail.idle = Some(group);
        tail
    }

    /// Forgets what was not written, in `failed` and in what was staged behind it: who waits for the latter
    /// has to be told.
    pub(super) fn take_back(
        &self,
        tail: &mut Tail,
        failure: &Failure,
        failed: Option<&Group>,
    ) -> Arc<Decision> {
        let next_seq = self.committed.load(Ordering::Acquire) + 1;
        if failure.poison {
            tail.stopped = Some(failure.error.poisoned());
        } else if spare::is_full(&failure.error) {
            tail.planned_capacity = spare::smaller(tail.planned_capacity);
        }
        tail.set_back(next_seq, failed)
    }
}

const NOTHING: Appended = Appended { first_seq_id: SeqId(0), first_log_offset: LogOffset(0), count: 0 };

/// Whoever leads leaves nobody waiting, even if it panics.
struct Lead<'a> {
    inner: &'a Inner,
    group: Option<Group>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        let error = Error::Invalid("a thread panicked while it committed".into()).poisoned();
        let mut tail = self.inner.tail.lock();
        tail.leading = false;
        tail.stopped = Some(error.clone());
        let staged = std::mem::take(&mut tail.group);
        drop(tail);
        self.inner.room.notify_all();
        for decision in [group.decision, staged.decision] {
            decision.leave(0, Some(error.clone()));
        }
    }
}
