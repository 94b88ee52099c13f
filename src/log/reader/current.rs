//! The records of the frame at hand.

use super::{At, Reader, RecordRef, Scope};
use crate::error::Result;
use crate::format::frame::{RecordEntry, padded};
use crate::segment::{Frame, View};

/// A frame, and how far it was read.
pub(super) struct Current {
    pub(super) frame: Frame,
    /// The record to be taken next, and the first one that is not: `next < stop` while there is one.
    next: usize,
    stop: usize,
    /// The range ends at `stop`.
    last: bool,
    /// Where in the frame the next record begins.
    start: usize,
    /// Where in the frame the record taken last begins, and its bytes.
    taken: (usize, usize),
}

impl Current {
    pub(super) const NONE: Current =
        Current { frame: Frame::NONE, next: 0, stop: 0, last: false, start: 0, taken: (0, 0) };

    /// Before another frame is read.
    #[inline]
    pub(super) fn clear(&mut self) {
        (self.next, self.stop, self.last) = (0, 0, false);
    }

    /// Begins the frame, of which something may be wanted.
    #[inline(always)]
    pub(super) fn begin(&mut self, view: &View, scope: &Scope, next_seq: u64, end_seq: u64) {
        let header = &self.frame.header;
        let mut end = end_seq.saturating_sub(header.first_seq);
        if let Scope::Stream { end_log_offset, .. } = scope {
            end = end.min(end_log_offset.saturating_sub(header.first_log_offset));
        }
        self.last = end <= u64::from(header.count);
        self.stop = end.min(u64::from(header.count)) as usize;
        (self.next, self.start) = (0, header.head_bytes());
        self.skip(view, scope, next_seq);
    }

    /// Passes over the records before the one that is wanted next.
    #[inline]
    pub(super) fn skip(&mut self, view: &View, scope: &Scope, next_seq: u64) {
        let skipped = scope.skipped(&self.frame, next_seq).min(self.stop as u64) as usize;
        if skipped > self.next {
            (self.next, self.start) = (skipped, view.record_start(&self.frame, skipped));
        }
    }

    /// Length and checksum of the record to be taken next.
    #[inline]
    fn entry(&self, view: &View) -> Option<RecordEntry> {
        if self.next < self.stop { view.entry(&self.frame, self.next) } else { None }
    }

    #[inline]
    fn pass(&mut self, entry: RecordEntry) {
        self.taken = (self.start, entry.len as usize);
        self.start += padded(entry.len as usize);
        self.next += 1;
    }

    #[inline]
    fn take_good(&mut self, view: &View) -> bool {
        let Some(entry) = self.entry(view) else { return false };
        let good = view.record(&self.frame, entry, self.start).is_ok();
        if good {
            self.pass(entry);
        }
        good
    }

    /// Numbers of the record wanted next, if it is in this frame and in the range.
    pub(super) fn next_numbers(&self) -> Option<(u64, u64)> {
        let (header, k) = (&self.frame.header, self.next as u64);
        (self.next < self.stop).then(|| (header.first_seq + k, header.first_log_offset + k))
    }

    /// The record that was taken last; it was verified then.
    #[inline]
    pub(super) fn taken<'v>(&self, view: &'v View) -> RecordRef<'v> {
        let (start, len) = self.taken;
        RecordRef::new(view, &self.frame, self.next.saturating_sub(1), view.part(&self.frame, start, len))
    }
}

impl Scope {
    /// How many of the frame's records come before the one that is wanted next.
    pub(super) fn skipped(&self, frame: &Frame, next_seq: u64) -> u64 {
        let by_seq = next_seq.saturating_sub(frame.header.first_seq);
        match self {
            Scope::Log => by_seq,
            Scope::Stream { next_log_offset, .. } => {
                by_seq.max(next_log_offset.saturating_sub(frame.header.first_log_offset))
            }
        }
    }
}

impl Reader {
    /// Takes the next record of the frame at hand, if there is one and it is good.
    #[inline]
    pub(super) fn take_good(&mut self) -> bool {
        let Some(At { view, current, .. }) = &mut self.at else { return false };
        if !current.take_good(view) {
            return false;
        }
        self.took();
        true
    }

    /// The frame's record before `current.next` is behind the reader.
    #[inline]
    fn took(&mut self) {
        let Some(At { current, .. }) = &self.at else { return };
        let header = &current.frame.header;
        self.next_seq = header.first_seq + current.next as u64;
        if let Scope::Stream { next_log_offset, in_order, .. } = &mut self.scope {
            *next_log_offset = header.first_log_offset + current.next as u64;
            *in_order = true;
        }
        self.finished = current.last && current.next == current.stop;
    }

    /// Takes the next record of the frame at hand; false if none of it is wanted any more.
    #[inline]
    pub(super) fn next_of_frame(&mut self) -> Result<bool> {
        if self.take_good() { Ok(true) } else { self.end_or_damage() }
    }

    /// The frame at hand has no good record next: it is at its end, or one is damaged.
    fn end_or_damage(&mut self) -> Result<bool> {
        let Some(At { segment, view, current, .. }) = &mut self.at else { return Ok(false) };
        let Some(entry) = current.entry(view) else {
            self.finished |= current.last;
            return Ok(false);
        };
        let damaged = view.record(&current.frame, entry, current.start);
        let damaged = damaged.map_err(|invalid| invalid.in_file(segment.name(), current.frame.position));
        current.pass(entry);
        let damaged = damaged.map(|_| true);
        self.took();
        damaged
    }
}
