//! Group commit: one writes and syncs for all that wait.
//!
//! Lock order: `writer` before `tail`, and neither while waiting for a slot. Only the leader
//! (`tail.leading`) takes `writer`, so it is never contended.
//!
//! Crash order within a group: frames are written, then synced (`Durability::Sync`), then
//! published to readers, then acknowledged. A new segment is begun only when the one before it
//! is durable (`Sync`), and gets its name, durably, before it holds a frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::pending::{Appended, PendingAppend, Slot};
use super::tail::{Group, Roll, Stamp, Tail};
use super::terms::Terms;
use super::{Inner, spare};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::format::control::{Control, NOTE_BYTES};
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES, RECORD_ENTRY_BYTES};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::options::{Durability, Upkeep};
use crate::segment::Segment;
use crate::storage::StorageFile;

/// Up to here a copy into the map is the cheaper write, where nobody syncs each one.
const STORE_BYTES: usize = 8 << 10;

/// With more in a group than this, the first to come back with its next batch does not lead: it
/// would sync for itself alone, and all others would wait for that.
const CROWD: usize = 3;

/// The file that is written to; only the leader has it.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) active: Option<Active>,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) position: u64,
}

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    Wait,
    Fail,
}

/// How far a group came.
struct Outcome {
    /// The SeqId after the last one committed.
    next_seq: u64,
    /// Bytes of the group up to there.
    written: usize,
    failure: Option<Failure>,
}

struct Failure {
    error: Error,
    /// Nobody can say any more what is on the disk.
    poison: bool,
}

impl Inner {
    /// Blocks until the batch is committed.
    pub(super) fn append(
        self: &Arc<Self>,
        stream: StreamId,
        batch: &Batch,
        terms: &Terms,
    ) -> Result<Appended> {
        let Some((appended, slot, tail)) = self.stage(stream, batch, WhenFull::Wait, terms)? else {
            return Ok(NOTHING);
        };
        self.commit(&slot, tail)?;
        Ok(appended)
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
        let (seq, slot) = tail.stage_control(control, stamp, || storage.random() as u32)?;
        self.commit(&slot, tail)?;
        Ok(seq)
    }

    /// Blocks until everything staged so far is committed, or taken back.
    pub(super) fn settle_staged(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        if let Some(stopped) = &tail.stopped {
            return Err(stopped.clone());
        }
        let slot = tail.stage_barrier();
        let _either_way = self.commit(&slot, tail);
        Ok(())
    }

    /// Blocks until what was staged is committed: leads, or waits for whoever does.
    fn commit(&self, slot: &Slot, mut tail: MutexGuard<'_, Tail>) -> Result<()> {
        if tail.leading || (tail.crowded && self.options.upkeep == Upkeep::Threads) {
            self.call_committer(&mut tail);
            drop(tail);
        } else {
            self.lead_once(tail);
        }
        slot.wait()
    }

    pub(super) fn submit(
        self: &Arc<Self>,
        stream: StreamId,
        batch: &Batch,
        full: WhenFull,
        terms: &Terms,
    ) -> Result<PendingAppend> {
        let inner = Arc::clone(self);
        let Some((appended, slot, mut tail)) = self.stage(stream, batch, full, terms)? else {
            return Ok(PendingAppend { inner, slot: None, appended: NOTHING });
        };
        self.call_committer(&mut tail);
        drop(tail);
        Ok(PendingAppend { inner, slot: Some(slot), appended })
    }

    /// Checks limits, waits for room, and stages if the terms hold. `None` for an empty batch. A
    /// retry is not staged: it waits for what is, the first attempt included.
    #[allow(clippy::type_complexity)]
    fn stage(
        &self,
        stream: StreamId,
        batch: &Batch,
        full: WhenFull,
        terms: &Terms,
    ) -> Result<Option<(Appended, Arc<Slot>, MutexGuard<'_, Tail>)>> {
        self.check_limits(batch)?;
        let bytes = (batch.frame_bytes() + terms.note.map_or(0, |_| RECORD_ENTRY_BYTES + NOTE_BYTES)) as u64;
        let mut tail = self.tail.lock();
        loop {
            if let Some(stopped) = &tail.stopped {
                return Err(stopped.clone());
            }
            if batch.is_empty() {
                return Ok(None);
            }
            if let Some(note) = terms.note
                && let Some(first) = tail.producers.retried(note, stream)?
            {
                let slot = tail.stage_retry(first.last_seq_id().unwrap_or_default());
                return Ok(Some((first, slot, tail)));
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
        let storage = &self.home.storage;
        let (appended, slot) = tail.stage(stream, batch, terms, self.stamp(), || storage.random() as u32)?;
        Ok(Some((appended, slot, tail)))
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
    pub(super) fn lead_if_idle(&self, slot: &Slot) {
        if slot.outcome().is_some() {
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
        let mut lead = Lead { inner: self, group: Some(tail.take_group()) };
        drop(tail);
        let group = lead.group.as_ref();
        let outcome = group.map(|group| {
            let outcome = self.write_group(group);
            self.apply(group, outcome.next_seq);
            outcome
        });

        let mut tail = self.tail.lock();
        tail.leading = false;
        tail.crowded = group.is_some_and(|group| group.slots.len() > CROWD);
        let Some((mut group, mut outcome)) = lead.group.take().zip(outcome) else {
            return tail;
        };
        if let Some(error @ Error::Poisoned(_)) = &tail.stopped {
            // A sync in the background failed meanwhile: nothing is acknowledged any more.
            outcome.next_seq = 0;
            outcome.failure = Some(Failure { error: error.clone(), poison: true });
        }
        tail.queued_bytes = tail.queued_bytes.saturating_sub(group.bytes.len() as u64);
        let mut failed = Vec::new();
        if let Some(failure) = &outcome.failure {
            let next_seq = self.committed.load(Ordering::Acquire) + 1;
            failed = tail.set_back(next_seq, Some(&group));
            if failure.poison {
                tail.stopped = Some(failure.error.poisoned());
            } else if spare::is_full(&failure.error) {
                tail.planned_capacity = spare::smaller(tail.planned_capacity);
            }
        }
        self.room.notify_all();
        drop(tail);
        for (seq, slot) in group.slots.drain(..).chain(failed) {
            match &outcome.failure {
                Some(failure) if seq >= outcome.next_seq => slot.complete(Err(failure.error.clone())),
                _ => slot.complete(Ok(())),
            }
        }
        self.listeners.committed(&group);
        group.clear();
        let mut tail = self.tail.lock();
        tail.idle = group;
        tail
    }

    /// Writes a group and makes it committed.
    fn write_group(&self, group: &Group) -> Outcome {
        let mut outcome =
            Outcome { next_seq: self.committed.load(Ordering::Acquire) + 1, written: 0, failure: None };
        if group.bytes.is_empty() {
            outcome.next_seq = group.next_seq.max(outcome.next_seq);
            return outcome;
        }
        if let Err(error) = self.check_process() {
            outcome.failure = Some(Failure { error, poison: true });
            return outcome;
        }
        let mut writer = self.writer.lock();
        let mut rolls = group.rolls.iter().peekable();
        while outcome.written < group.bytes.len() {
            if let Some(roll) = rolls.next_if(|roll| roll.at == outcome.written)
                && let Err(failure) = self.roll(&mut writer, roll)
            {
                outcome.failure = Some(failure);
                break;
            }
            let end = rolls.peek().map_or(group.bytes.len(), |roll| roll.at);
            let next_seq = rolls.peek().map_or(group.next_seq, |roll| roll.base);
            let part = group.bytes.get(outcome.written..end).unwrap_or_default();
            if let Err(failure) = self.write_part(&mut writer, part, next_seq) {
                outcome.failure = Some(failure);
                break;
            }
            (outcome.written, outcome.next_seq) = (end, next_seq);
        }
        drop(writer);
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.counters.records.fetch_add(group.records, Ordering::Relaxed);
        self.counters.bytes.fetch_add(outcome.written as u64, Ordering::Relaxed);
        if self.since_checkpoint.fetch_add(outcome.written as u64, Ordering::Relaxed) + outcome.written as u64
            >= self.checkpoint_due.load(Ordering::Relaxed)
        {
            self.duty.notify();
        }
        outcome
    }

    fn write_part(&self, writer: &mut Writer, part: &[u8], next_seq: u64) -> Result<(), Failure> {
        let Some(active) = &mut writer.active else {
            let error = Error::Invalid("no segment to write to".into());
            return Err(Failure { error, poison: true });
        };
        let name = active.segment.name();
        let sync = self.options.durability == Durability::Sync;
        let written = if !sync && part.len() <= STORE_BYTES {
            active.file.store_at(part, active.position)
        } else {
            active.file.write_at(part, active.position)
        };
        // No frame is written over what a failed write left behind: the next one begins a new segment,
        // and where that begins, this one ends.
        if let Err(e) = written {
            // Until then a whole frame passes for a committed one, to who follows, where nobody waits
            // for a sync. So the first loses its header, and what stands behind it cannot be reached.
            let wipe = part.len().min(FRAME_HEADER_BYTES);
            let taken_back =
                sync || active.file.write_at(&[0; FRAME_HEADER_BYTES][..wipe], active.position).is_ok();
            return Err(Failure { error: Error::io("write", name, e), poison: !taken_back });
        }
        active.position += part.len() as u64;
        if sync {
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
            active.file.sync().map_err(|e| Failure { error: Error::io("sync", name, e), poison: true })?;
            self.durable.store(next_seq - 1, Ordering::Release);
        }
        active.segment.publish(next_seq, active.position);
        self.committed.store(next_seq - 1, Ordering::Release);
        self.tail_moved.notify();
        Ok(())
    }

    /// Begins a new segment.
    fn roll(&self, writer: &mut Writer, roll: &Roll) -> Result<(), Failure> {
        let harmless = |error| Failure { error, poison: false };
        let storage = &self.home.storage;
        let name = crate::segment::names::segment(roll.base);
        let header = SegmentHeader {
            log_id: self.home.own_log_id(),
            base: roll.base,
            durable_upto: self.durable.load(Ordering::Acquire),
            created_micros: roll.unix_micros,
            salt: roll.salt,
            rewritten: false,
            end: 0,
        };
        // Held until the file has its own name: the keeper must not put another one under this.
        let mut ready = self.spare.lock();
        let file = spare::take(&mut ready, storage.as_ref(), roll.capacity).map_err(harmless)?;
        file.write_at(&header.encode(), 0).map_err(|e| harmless(Error::io("write", spare::NAME, e)))?;
        let fatal = |operation, file: &str, e| Failure { error: Error::io(operation, file, e), poison: true };
        file.sync().map_err(|e| fatal("sync", spare::NAME, e))?;
        storage.rename(spare::NAME, &name).map_err(|e| harmless(Error::io("rename", spare::NAME, e)))?;
        drop(ready);
        storage.sync_directory().map_err(|e| fatal("sync directory", &storage.name(), e))?;
        self.counters.syncs.fetch_add(2, Ordering::Relaxed);

        let segment =
            Segment::open(&self.home, Arc::clone(&file), header, roll.base, DATA_START).map_err(harmless)?;
        let segment = Arc::new(segment);
        self.push_segment(Arc::clone(&segment));
        writer.active = Some(Active { segment, file, position: DATA_START });
        self.duty.notify();
        Ok(())
    }

    /// A forked child shares the files and has none of the threads.
    pub(super) fn check_process(&self) -> Result<()> {
        match &*self.lock.lock() {
            Some(lock) if !lock.held_here() => Err(Error::Forked { opened_by: lock.holder() }),
            Some(_) => Ok(()),
            None => Err(Error::Closed),
        }
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
        for (_, slot) in group.slots.into_iter().chain(staged.slots) {
            slot.complete(Err(error.clone()));
        }
    }
}
