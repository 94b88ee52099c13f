//! Frames into the active segment, and from one segment to the next.
//!
//! Crash order within a group: frames are written, then synced (`Durability::Sync`), then published to
//! readers; who waits is told after that. A new segment is begun only when the one before it is durable
//! (`Sync`), and gets its name, durably, before it holds a frame.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::tail::{Group, Roll};
use super::{Inner, spare};
use crate::error::{Error, Result};
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES};
use crate::options::Durability;
use crate::segment::Segment;
use crate::storage::StorageFile;
use crate::sync::Instant;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Up to here a copy into the map is the cheaper write, where nobody syncs each one.
const STORE_BYTES: usize = 8 << 10;

/// The file that is written to, by the leader, or by whoever has the tail while nobody leads.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) position: u64,
}

/// How far a group came.
pub(super) struct Outcome {
    /// The SeqId after the last one committed.
    pub(super) next_seq: u64,
    /// Bytes of the group up to there.
    pub(super) written: usize,
    /// How long the last sync took, if there was one.
    pub(super) synced_in: Option<Duration>,
    pub(super) failure: Option<Failure>,
}

impl Outcome {
    /// How long the sync took, and what it was for.
    pub(super) fn synced(&self) -> Option<(Duration, u64)> {
        self.synced_in.map(|synced_in| (synced_in, self.written as u64))
    }
}

pub(super) struct Failure {
    pub(super) error: Error,
    /// Nobody can say any more what is on the disk.
    pub(super) poison: bool,
}

impl Active {
    /// Writes where nobody waits for a sync, the cheaper way.
    pub(super) fn put(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if bytes.len() <= STORE_BYTES {
            self.file.store_at(bytes, position)
        } else {
            self.file.write_at(bytes, position)
        }
    }

    /// No frame is written over what a failed write left behind: the next one begins a new segment, and
    /// where that begins, this one ends.
    pub(super) fn write_failed(&self, e: io::Error, len: usize, sync: bool) -> Failure {
        // Until then a whole frame passes for a committed one, to who follows, where nobody waits for a
        // sync. So the first loses its header, and what stands behind it cannot be reached.
        let wipe = len.min(FRAME_HEADER_BYTES);
        let taken_back = sync || self.file.write_at(&[0; FRAME_HEADER_BYTES][..wipe], self.position).is_ok();
        Failure { error: Error::io("write", self.segment.name(), e), poison: !taken_back }
    }
}

impl Inner {
    /// Writes a group and makes it committed.
    pub(super) fn write_group(
        &self,
        active: &mut Option<Active>,
        group: &Group,
        process: Result<()>,
    ) -> Outcome {
        let next_seq = self.committed.load(Ordering::Acquire) + 1;
        let mut outcome = Outcome { next_seq, written: 0, synced_in: None, failure: None };
        if group.bytes.is_empty() {
            outcome.next_seq = group.next_seq.max(outcome.next_seq);
            return outcome;
        }
        if let Err(error) = process {
            outcome.failure = Some(Failure { error, poison: true });
            return outcome;
        }
        let mut rolls = group.rolls.iter().peekable();
        while outcome.written < group.bytes.len() {
            if let Some(roll) = rolls.next_if(|roll| roll.at == outcome.written)
                && let Err(failure) = self.roll(active, roll)
            {
                outcome.failure = Some(failure);
                break;
            }
            let end = rolls.peek().map_or(group.bytes.len(), |roll| roll.at);
            let next_seq = rolls.peek().map_or(group.next_seq, |roll| roll.base);
            let part = group.bytes.get(outcome.written..end).unwrap_or_default();
            match self.write_part(active, part, next_seq) {
                Ok(synced_in) => outcome.synced_in = synced_in,
                Err(failure) => {
                    outcome.failure = Some(failure);
                    break;
                }
            }
            (outcome.written, outcome.next_seq) = (end, next_seq);
        }
        self.count(group.records, outcome.written as u64);
        outcome
    }

    /// Something was written; the checkpoint may be due.
    pub(super) fn count(&self, records: u64, bytes: u64) {
        // One at a time writes and counts, so that a plain addition loses nothing.
        let add = |counter: &AtomicU64, more| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.counters.groups, 1);
        add(&self.counters.records, records);
        add(&self.counters.bytes, bytes);
        let since = self.since_checkpoint.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if since >= self.checkpoint_due.load(Ordering::Relaxed) {
            self.duty.notify();
        }
    }

    fn write_part(
        &self,
        active: &mut Option<Active>,
        part: &[u8],
        next_seq: u64,
    ) -> Result<Option<Duration>, Failure> {
        let Some(active) = active else {
            let error = Error::Invalid("no segment to write to".into());
            return Err(Failure { error, poison: true });
        };
        let name = active.segment.name();
        let sync = self.options.durability == Durability::Sync;
        let written = if sync {
            active.file.write_at(part, active.position)
        } else {
            active.put(part, active.position)
        };
        written.map_err(|e| active.write_failed(e, part.len(), sync))?;
        active.position += part.len() as u64;
        let mut synced_in = None;
        if sync {
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            active.file.sync().map_err(|e| Failure { error: Error::io("sync", name, e), poison: true })?;
            synced_in = Some(begun.elapsed());
            self.durable.store(next_seq - 1, Ordering::Release);
        }
        self.publish(active, next_seq);
        Ok(synced_in)
    }

    /// What was written so far is committed: readers see it.
    pub(super) fn publish(&self, active: &Active, next_seq: u64) {
        active.segment.publish(next_seq, active.position);
        self.committed.store(next_seq - 1, Ordering::Release);
        self.tail_moved.notify();
    }

    /// Begins a new segment.
    fn roll(&self, active: &mut Option<Active>, roll: &Roll) -> Result<(), Failure> {
        let harmless = |error| Failure { error, poison: false };
        let storage = &self.home.storage;
        let name = crate::segment::names::segment(roll.base);
        let mut header = SegmentHeader {
            log_id: self.home.own_log_id(),
            base: roll.base,
            durable_upto: self.durable.load(Ordering::Acquire),
            created_micros: roll.unix_micros,
            salt: roll.salt,
            rewritten: false,
            recycled: false,
            end: 0,
        };
        // Held until the file has its own name: the keeper must not put another one under this.
        self.spare_wanted.store(true, Ordering::Relaxed);
        let mut ready = self.spare.lock();
        let spare = spare::take(self, &mut ready, roll.capacity);
        self.spare_wanted.store(false, Ordering::Relaxed);
        let spare = spare.map_err(harmless)?;
        let file = spare.file;
        header.recycled = spare.recycled;
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
        *active = Some(Active { segment, file, position: DATA_START });
        self.duty.notify();
        Ok(())
    }
}
