//! Batches that have their numbers and wait to be written: what the log's one lock protects.

use std::sync::Arc;
use std::time::Duration;

use super::decision::{Decision, Ticket};
use super::pending::Appended;
use super::producers::Producers;
use super::streams::Streams;
use super::terms::Terms;
use super::write::Active;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::checkpoint::StreamState;
use crate::format::control::{Control, NOTE_BYTES, Point, Produced};
use crate::format::frame::{self, FrameHeader, Kind, RecordEntry};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::storage::StorageLock;

/// Frames that will be written together, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Whole frames, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` a new segment begins.
    pub(super) rolls: Vec<Roll>,
    /// Where those who wait will hear of it, and how many they are.
    pub(super) decision: Arc<Decision>,
    pub(super) waiting: usize,
    /// Of them, threads that do nothing else meanwhile.
    pub(super) blocked: usize,
    /// What each batch changed, to be taken back if it is not committed.
    undo: Vec<Undo>,
    /// Control records and their SeqIds: applied when they are committed.
    pub(super) controls: Vec<(u64, Control)>,
    /// The SeqId after the last one in the group.
    pub(super) next_seq: u64,
    pub(super) records: u64,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.waiting == 0
    }

    /// The streams that got records, in the order of the batches; several times, if several did.
    pub(super) fn streams(&self) -> impl Iterator<Item = StreamId> + Clone + '_ {
        self.undo.iter().map(|undo| StreamId::from_bytes(undo.stream))
    }

    /// Empties the group and keeps its memory, unless an unusual burst made it large.
    pub(super) fn clear(&mut self) {
        const KEEP: usize = 8 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.rolls.clear();
        self.waiting = 0;
        self.blocked = 0;
        self.undo.clear();
        self.controls.clear();
        self.records = 0;
    }
}

/// A stream as it was before the batch that begins at a SeqId.
#[derive(Debug, Clone, Copy)]
struct Undo {
    first_seq: u64,
    stream: [u8; 16],
    before: Option<StreamState>,
    producer: Option<([u8; 16], Option<Produced>)>,
}

/// A segment to be begun in the middle of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roll {
    /// The first byte of the group that goes into it.
    pub(super) at: usize,
    pub(super) base: u64,
    pub(super) salt: u32,
    pub(super) capacity: u64,
    pub(super) unix_micros: i64,
}

/// How often patience is tried: not at all for longer and longer while it does not pay.
#[derive(Debug, Default)]
pub(super) struct Hurry {
    pause: u32,
    left: u32,
}

impl Hurry {
    const LONGEST: u32 = 63;

    pub(super) fn due(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    pub(super) fn learn(&mut self, paid: bool) {
        self.pause = if paid { 0 } else { (self.pause * 2 + 1).min(Self::LONGEST) };
        self.left = self.pause + 1;
    }
}

/// Where the next frame goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) base: u64,
    pub(super) salt: u32,
    pub(super) position: u64,
    pub(super) capacity: u64,
}

/// `committed < next_seq` at all times; what lies between is in a group.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) next_seq: u64,
    pub(super) last_micros: i64,
    pub(super) streams: Streams,
    pub(super) producers: Producers,
    /// `None` before the first append of this life and after a failed write: the next frame
    /// begins a segment.
    pub(super) spot: Option<Spot>,
    /// Capacity of the next segment.
    pub(super) planned_capacity: u64,
    /// `None` while somebody leads: he has it.
    pub(super) active: Option<Active>,
    /// `None` once the log is closed, and in a log opened for reading only.
    pub(super) lock: Option<Box<dyn StorageLock>>,
    pub(super) group: Group,
    /// A group's memory, to be used again.
    pub(super) idle: Option<Group>,
    /// Memory for the head of a batch that goes by itself.
    pub(super) head: Vec<u8>,
    /// Bytes in `group` and in the one being written.
    pub(super) queued_bytes: u64,
    /// Somebody is writing a group.
    pub(super) leading: bool,
    /// Threads that waited for the last group or for the next one when it was told.
    pub(super) crowd: usize,
    /// Once so many threads are in the group, the last of them leads: nobody else is waited for.
    pub(super) awaited: Option<usize>,
    pub(super) hurry: Hurry,
    /// What a sync takes, and what is written before it, about.
    pub(super) sync_time: Duration,
    pub(super) sync_bytes: u64,
    /// The committer was told that there is work.
    pub(super) called: bool,
    /// Frames were written since the last witness.
    pub(super) unwitnessed: bool,
    /// Times uncommitted numbers were taken back.
    pub(super) setbacks: u64,
    /// Why nothing may be appended any more.
    pub(super) stopped: Option<Error>,
}

/// What a frame says beside its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) committed_when_written: bool,
    pub(super) durable_upto: u64,
    pub(super) now_micros: i64,
}

impl Tail {
    /// A forked child shares the files and has none of the threads.
    pub(super) fn check_process(&self) -> Result<()> {
        match &self.lock {
            Some(lock) if !lock.held_here() => Err(Error::Forked { opened_by: lock.holder() }),
            Some(_) => Ok(()),
            None => Err(Error::Closed),
        }
    }

    /// Gives a batch its numbers and puts it into the group. Limits and terms were checked.
    pub(super) fn stage(
        &mut self,
        stream: StreamId,
        batch: &Batch,
        terms: &Terms,
        stamp: Stamp,
        random: impl FnOnce() -> u32,
    ) -> Result<(Appended, Ticket)> {
        let count = batch.len() as u64;
        let before = self.streams.find(stream.as_bytes());
        let mut header = self.batch_header(stream, batch, before, stamp)?;
        if terms.note.is_some() {
            header.note = true;
            header.body_bytes += NOTE_BYTES as u32;
        }
        let FrameHeader { first_seq, first_log_offset, .. } = header;
        let seed = self.place(header.frame_bytes(), random);
        let note = terms.note.map(|note| note.encode());
        let entry = note.map(|note| RecordEntry::of(&note));
        header.encode_into(batch.table().iter().copied().chain(entry), seed, &mut self.group.bytes);
        self.group.bytes.extend_from_slice(batch.body());
        self.group.bytes.extend_from_slice(note.as_ref().map_or(&[], |note| note.as_slice()));

        let producer = terms.note.map(|note| {
            let known = self.producers.last(&note.producer);
            let stream = *stream.as_bytes();
            self.producers.set(Produced { note, stream, first_seq, first_log_offset, count: header.count });
            (note.producer, known)
        });
        self.group.undo.push(Undo { first_seq, stream: *stream.as_bytes(), before, producer });
        self.streams.advance_from(before, stream.as_bytes(), first_log_offset, first_seq, count);
        let appended = Appended {
            first_seq_id: SeqId(first_seq),
            first_log_offset: LogOffset(first_log_offset),
            count: header.count,
        };
        self.group.records += count;
        Ok((appended, self.number(count)))
    }

    /// The header of a batch that is given the next numbers.
    pub(super) fn batch_header(
        &mut self,
        stream: StreamId,
        batch: &Batch,
        before: Option<StreamState>,
        stamp: Stamp,
    ) -> Result<FrameHeader> {
        let first_log_offset = before.map_or(1, |state| state.next_log_offset);
        self.check_numbers(batch.len() as u64, first_log_offset)?;
        Ok(FrameHeader {
            kind: Kind::Batch,
            committed_when_written: stamp.committed_when_written,
            note: false,
            count: batch.len() as u32,
            body_bytes: batch.body().len() as u32,
            first_seq: self.next_seq,
            durable_upto: stamp.durable_upto.min(self.next_seq - 1),
            stream: *stream.as_bytes(),
            first_log_offset,
            unix_micros: self.time(stamp.now_micros),
        })
    }

    /// Puts a control record into the group. A deletion is of everything before it.
    pub(super) fn stage_control(
        &mut self,
        mut control: Control,
        stamp: Stamp,
        random: impl FnOnce() -> u32,
    ) -> Result<(u64, Ticket)> {
        self.check_numbers(1, 1)?;
        let first_seq = self.next_seq;
        if let Control::Delete { stream, upto } = &mut control {
            let log_offset = self.streams.next_log_offset(stream) - 1;
            let last_seq = self.streams.find(stream).map_or(0, |state| state.last_seq);
            *upto = Point { seq: last_seq, log_offset };
        }
        let mut batch = Batch::new();
        batch.push_with(|bytes| control.encode_into(bytes));
        let header = FrameHeader {
            kind: Kind::Control,
            committed_when_written: stamp.committed_when_written,
            note: false,
            count: 1,
            body_bytes: batch.body().len() as u32,
            first_seq,
            durable_upto: stamp.durable_upto.min(first_seq - 1),
            stream: control.stream(),
            first_log_offset: 0,
            unix_micros: self.time(stamp.now_micros),
        };
        let seed = self.place(header.frame_bytes(), random);
        header.encode_into(batch.table().iter().copied(), seed, &mut self.group.bytes);
        self.group.bytes.extend_from_slice(batch.body());
        self.group.controls.push((first_seq, control));
        Ok((first_seq, self.number(1)))
    }

    fn check_numbers(&self, count: u64, first_log_offset: u64) -> Result<()> {
        let last = self.next_seq.checked_add(count - 1).filter(|last| *last <= SeqId::MAX.0);
        let next_offset = first_log_offset.checked_add(count).filter(|next| *next <= SeqId::MAX.0);
        if last.is_none() || next_offset.is_none() { Err(Error::Exhausted) } else { Ok(()) }
    }

    /// The clock may step back, timestamps do not.
    fn time(&mut self, now_micros: i64) -> i64 {
        self.last_micros = self.last_micros.max(now_micros);
        self.last_micros
    }

    /// Takes the place of a frame of `len` bytes; the seed of its checksum.
    fn place(&mut self, len: u64, random: impl FnOnce() -> u32) -> u32 {
        let spot = self.spot_for(len, random);
        self.queued_bytes += len;
        frame::seed(spot.salt, spot.position)
    }

    /// Gives out `count` SeqIds to what was just put into the group.
    fn number(&mut self, count: u64) -> Ticket {
        self.next_seq += count;
        self.stage_barrier()
    }

    /// Puts a witness into the group, if the segment has room for one: it is a help, not a must.
    pub(super) fn stage_witness(&mut self, now_micros: i64) -> bool {
        let header = FrameHeader::witness(self.next_seq, now_micros.max(self.last_micros));
        let Some(spot) = self.spot.as_mut().filter(|s| s.position + header.frame_bytes() <= s.capacity)
        else {
            return false;
        };
        header.encode_into([].into_iter(), frame::seed(spot.salt, spot.position), &mut self.group.bytes);
        spot.position += header.frame_bytes();
        self.queued_bytes += header.frame_bytes();
        self.group.next_seq = self.next_seq;
        true
    }

    /// Somebody to be told when everything staged so far is committed.
    pub(super) fn stage_barrier(&mut self) -> Ticket {
        self.ticket(self.next_seq - 1)
    }

    /// As [`stage_barrier`](Self::stage_barrier), for who waits for `seq` only: whatever becomes of
    /// what was staged behind it.
    pub(super) fn stage_retry(&mut self, seq: SeqId) -> Ticket {
        self.ticket(seq.0)
    }

    fn ticket(&mut self, seq: u64) -> Ticket {
        self.group.next_seq = self.next_seq;
        self.group.waiting += 1;
        Ticket::new(&self.group.decision, seq)
    }

    /// The spot for a frame of `len` bytes, taken.
    fn spot_for(&mut self, len: u64, random: impl FnOnce() -> u32) -> Spot {
        if let Some(spot) = self.spot.as_mut().filter(|spot| spot.position + len <= spot.capacity) {
            let taken = *spot;
            spot.position += len;
            return taken;
        }
        let roll = Roll {
            at: self.group.bytes.len(),
            base: self.next_seq,
            salt: random(),
            capacity: self.planned_capacity.max(DATA_START + len),
            unix_micros: self.last_micros,
        };
        self.group.rolls.push(roll);
        let taken = Spot { base: roll.base, salt: roll.salt, position: DATA_START, capacity: roll.capacity };
        self.spot = Some(Spot { position: DATA_START + len, ..taken });
        taken
    }

    /// Takes the group to be written.
    pub(super) fn take_group(&mut self) -> Group {
        let mut next = self.idle.take().unwrap_or_default();
        next.decision = Decision::renewed(next.decision);
        std::mem::replace(&mut self.group, next)
    }

    /// Forgets everything that is not committed, in `failed`, which was being written, and in what
    /// was staged behind it: from `next_seq` on numbers will be given out again, in a new segment.
    /// Those who wait for the latter have to be told.
    pub(super) fn set_back(&mut self, next_seq: u64, failed: Option<&Group>) -> Arc<Decision> {
        let staged = std::mem::take(&mut self.group);
        let undo = failed.into_iter().chain([&staged]).flat_map(|group| &group.undo);
        let undo: Vec<Undo> = undo.filter(|undo| undo.first_seq >= next_seq).copied().collect();
        for undo in undo.iter().rev() {
            self.streams.restore(&undo.stream, undo.before);
            if let Some((producer, known)) = undo.producer {
                self.producers.restore(producer, known);
            }
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(staged.bytes.len() as u64);
        self.next_seq = next_seq;
        self.spot = None;
        self.setbacks += 1;
        staged.decision
    }
}
