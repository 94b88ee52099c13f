//! A reader's hold on the bytes of a segment.

use bytes::{Buf, Bytes};

use super::heads::Heads;
use super::{Opened, Segment};
use crate::error::{Error, Result};
use crate::format::frame::{self, FrameHeader, RecordCheck, RecordEntry};
use crate::format::index::Place;
use crate::format::{ALIGNMENT, DATA_START, FRAME_HEADER_BYTES, Invalid, RECORD_ENTRY_BYTES};
use crate::storage::{prefetch, read_full};

/// Read at once, when there is no map, by who reads frame after frame.
const AHEAD: u64 = 64 << 10;
/// And by who picks frames here and there.
const LITTLE: u64 = 1 << 10;

/// Records of this size and more are fetched into the processor's cache before their turn, by who reads
/// frame after frame: it does not look beyond a page on its own, and takes smaller ones as fast as they
/// can be checked.
const LARGE: usize = 1 << 10;
/// This many bytes before: several measured alike.
const FETCHED_AHEAD: usize = 4 << 10;

/// Part of a segment in memory. Mapped, it is everything committed so far and keeps the map
/// alive; otherwise it is what was read last.
#[derive(Debug, Clone)]
pub(crate) struct View {
    start: u64,
    bytes: Bytes,
    /// The segment's, once there are bytes of it.
    salt: u32,
    check: RecordCheck,
    ahead: u64,
}

/// A frame whose header and table are verified; its records are verified as they are taken. All of it is
/// in the view that it was looked for with, until another one is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) position: u64,
}

impl Frame {
    /// In the place of one that was not read yet.
    pub(crate) const NONE: Frame = Frame { header: FrameHeader::NONE, position: 0 };
}

impl View {
    /// For frames here and there.
    pub(crate) fn scattered() -> Self {
        View { start: 0, bytes: Bytes::new(), salt: 0, check: RecordCheck::default(), ahead: LITTLE }
    }

    /// For frame after frame.
    pub(crate) fn sequential() -> Self {
        View { ahead: AHEAD, ..View::scattered() }
    }

    #[inline]
    fn peek(&self, position: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(position.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// Makes `frame` the one at `position`, if all of it is in view, header and table verified.
    #[inline(always)]
    pub(super) fn load(&self, position: u64, frame: &mut Frame) -> bool {
        let held = self.held(position);
        frame.position = position;
        held.len() >= FRAME_HEADER_BYTES
            && frame.header.read(held, held.len() as u64).is_ok()
            && frame.header.verify(held, frame::seed(self.salt, position)).is_ok()
    }

    /// What there is from `position` on.
    #[inline]
    fn held(&self, position: u64) -> &[u8] {
        let from = position.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.bytes.get(from..)).unwrap_or_default()
    }

    /// See [`FrameHeader::stride`].
    pub(super) fn stride(&self, position: u64) -> Option<(u64, u64)> {
        FrameHeader::stride(self.held(position))
    }

    /// Has the processor fetch a frame that will be read soon and is about this long.
    pub(crate) fn fetch(&self, position: u64, bytes: u64) {
        prefetch(self.peek(position, bytes.min(LARGE as u64) as usize).unwrap_or_default());
    }

    /// Has the processor fetch what would be at `delta` if all between two places were of one size, while
    /// the index is asked where it is.
    pub(super) fn guess(&self, first: Place, last: Place, delta: u64) {
        let slots = u64::from(last.slot.saturating_sub(first.slot));
        let records = u64::from(last.delta.saturating_sub(first.delta));
        let before = delta.saturating_sub(u64::from(first.delta)).min(records);
        let Some(slot) = (slots * before).checked_div(records) else { return };
        let each = (slots * ALIGNMENT / records).min(LARGE as u64);
        let from = first.position() + slot * ALIGNMENT;
        prefetch(self.peek(from, each as usize).unwrap_or_default());
    }

    /// Has the processor fetch at once what is wanted of record `k` of the `records` in `bytes` from
    /// `position` on, if they are one frame and of about one size: otherwise it would wait for the frame's
    /// header first, and then for the record.
    pub(super) fn expect(&self, position: u64, bytes: u64, records: u64, k: u64) {
        let most = LARGE as u64;
        let fetch =
            |from: u64, len: u64| prefetch(self.peek(position + from, len as usize).unwrap_or_default());
        let head = (FRAME_HEADER_BYTES as u64) + records * RECORD_ENTRY_BYTES as u64;
        let Some(each) = bytes.checked_sub(head).and_then(|body| body.checked_div(records)) else { return };
        if bytes <= most {
            fetch(0, bytes);
        } else {
            fetch(0, head.min(most));
            fetch(head + k * each, each.min(most));
        }
    }

    /// A part of this view, shared and not copied.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// As [`share`](Self::share), of a view that is not needed any more.
    pub(crate) fn into_part(mut self, frame: &Frame, start: usize, len: usize) -> Bytes {
        let from = frame.position.saturating_sub(self.start) as usize + start;
        if len == 0 || from + len > self.bytes.len() {
            return Bytes::new();
        }
        self.bytes.advance(from);
        self.bytes.truncate(len);
        self.bytes
    }

    /// Length and checksum of record `k` of `frame`.
    #[inline]
    pub(crate) fn entry(&self, frame: &Frame, k: usize) -> Option<RecordEntry> {
        let at = FRAME_HEADER_BYTES + k * RECORD_ENTRY_BYTES;
        frame::entry(self.part(frame, at, RECORD_ENTRY_BYTES), 0)
    }

    /// The record with this entry, which begins `start` bytes into `frame`, its checksum verified; `at`
    /// of an error counts from the frame's start.
    #[inline(always)]
    pub(crate) fn record(&self, frame: &Frame, entry: RecordEntry, start: usize) -> Result<&[u8], Invalid> {
        let stored = self.part(frame, start, frame::padded(entry.len as usize));
        if stored.len() >= LARGE && self.ahead == AHEAD {
            prefetch(self.part(frame, start + FETCHED_AHEAD, stored.len()));
        }
        match self.check.verify(entry, stored) {
            Ok(()) => Ok(stored.get(..entry.len as usize).unwrap_or_default()),
            Err(invalid) => Err(invalid.behind(start as u64)),
        }
    }

    /// `len` bytes of `frame` from its byte `start` on.
    #[inline]
    pub(crate) fn part(&self, frame: &Frame, start: usize, len: usize) -> &[u8] {
        self.peek(frame.position + start as u64, len).unwrap_or_default()
    }

    /// Record `k` of `frame`, found by the lengths of those before it.
    /// Where in the frame it begins, and its bytes.
    pub(crate) fn nth_record(&self, frame: &Frame, k: usize) -> Result<(usize, usize), Invalid> {
        let entry = (k < frame.header.count as usize).then(|| self.entry(frame, k)).flatten();
        let Some(entry) = entry else {
            return Err(Invalid::new(8, format!("record {k}"), format!("{} records", frame.header.count)));
        };
        let start = self.record_start(frame, k);
        self.record(frame, entry, start).map(|record| (start, record.len()))
    }

    /// Where record `k` of `frame` begins, in bytes from the frame's first.
    pub(crate) fn record_start(&self, frame: &Frame, k: usize) -> usize {
        let table = frame.position + FRAME_HEADER_BYTES as u64;
        let before = self.peek(table, k * RECORD_ENTRY_BYTES).unwrap_or_default();
        frame.header.head_bytes() + frame::stored_bytes(before)
    }
}

impl Segment {
    /// Makes `view` hold `start..end`, as far as that is committed.
    fn fill(&self, view: &mut View, start: u64, end: u64) -> Result<()> {
        let opened = self.opened()?;
        let limit = self.limit(opened)?;
        view.salt = opened.header.salt;
        (view.start, view.bytes) = if opened.mapping.is_some() {
            (0, self.mapped(opened, end.min(limit), limit))
        } else {
            let end = end.max(start + view.ahead).min(limit);
            let mut bytes = vec![0; end.saturating_sub(start) as usize];
            let n = read_full(opened.file.as_ref(), &mut bytes, start)
                .map_err(|e| Error::io("read", self.name(), e))?;
            bytes.truncate(n);
            (start, bytes.into())
        };
        Ok(())
    }

    /// The committed bytes through the map: at least up to `end`, and kept for the next caller.
    fn mapped(&self, opened: &Opened, end: u64, limit: u64) -> Bytes {
        let window = || opened.mapping.as_ref().map_or_else(Bytes::new, |map| map.window(0, limit as usize));
        // Only a segment that is whole has its index in a file.
        let whole = self.whole.get().or_else(|| self.stored.get().map(|_| self.whole.get_or_init(window)));
        if let Some(whole) = whole.filter(|whole| whole.len() as u64 >= end) {
            return whole.clone();
        }
        let known = self.view.read().clone();
        if known.len() as u64 >= end {
            return known;
        }
        let window = window();
        let mut view = self.view.write();
        if window.len() > view.len() {
            view.clone_from(&window);
        }
        window
    }

    /// Makes `view` hold at least the header of the frame at `position`.
    pub(super) fn show(&self, view: &mut View, position: u64) -> Result<()> {
        self.look(view, position, FRAME_HEADER_BYTES).map(drop)
    }

    /// `len` bytes at `position`, which are read first if `view` has them not; none if there are fewer.
    #[inline]
    fn look<'v>(&self, view: &'v mut View, position: u64, len: usize) -> Result<&'v [u8]> {
        if view.peek(position, len).is_none() {
            self.fill(view, position, position + len as u64)?;
        }
        Ok(view.peek(position, len).unwrap_or_default())
    }

    /// The frame at `position`, header and table verified. The inner error says why there is none.
    pub(crate) fn frame_at(&self, view: &mut View, position: u64) -> Result<Result<Frame, Invalid>> {
        let mut frame = Frame::NONE;
        Ok(self.load_frame(view, position, &mut frame)?.map(|()| frame))
    }

    /// As [`frame_at`](Self::frame_at), into `frame`, where nothing is to be relied on if there is none:
    /// for who reads one after the other, and would feel each copy.
    #[inline(always)]
    pub(crate) fn load_frame(
        &self,
        view: &mut View,
        position: u64,
        frame: &mut Frame,
    ) -> Result<Result<(), Invalid>> {
        if view.load(position, frame) { Ok(Ok(())) } else { self.read_frame(view, position, frame) }
    }

    /// As [`load_frame`](Self::load_frame), where `view` does not hold all of a good frame.
    #[cold]
    fn read_frame(&self, view: &mut View, position: u64, frame: &mut Frame) -> Result<Result<(), Invalid>> {
        let opened = self.opened()?;
        let remaining = self.limit(opened)?.saturating_sub(position);
        frame.position = position;
        let header = &mut frame.header;
        if let Err(invalid) = header.read(self.look(view, position, FRAME_HEADER_BYTES)?, remaining) {
            return Ok(Err(invalid));
        }
        // The length is bounded by the bytes that exist, but not yet verified: the table comes first.
        let head = self.look(view, position, header.head_bytes())?;
        if let Err(invalid) = header.verify(head, frame::seed(opened.header.salt, position)) {
            return Ok(Err(invalid));
        }
        let frame_bytes = header.frame_bytes();
        if self.look(view, position, frame_bytes as usize)?.is_empty() {
            let expected = format!("a frame of {frame_bytes} bytes");
            return Ok(Err(Invalid::new(0, expected, "the end of the file")));
        }
        Ok(Ok(()))
    }

    /// The first frame at or after `from` with a valid header and table and a SeqId in
    /// `least..end_seq`. For damaged segments only: looks at every eighth byte.
    pub(crate) fn frame_after_damage(&self, view: &mut View, from: u64, least: u64) -> Result<Option<Frame>> {
        let opened = self.opened()?;
        let (limit, end_seq) = (self.limit(opened)?, self.end_seq());
        let mut position = from.max(DATA_START).next_multiple_of(ALIGNMENT);
        let mut heads = Heads::new(opened.file.as_ref(), self.name(), opened.header.salt, position);
        while position + FRAME_HEADER_BYTES as u64 <= limit {
            let head = self.look(view, position, FRAME_HEADER_BYTES)?;
            if FrameHeader::may_begin(head)
                && let Ok(header) = FrameHeader::peek(head, limit - position)
                && header.first_seq >= least
                && header.next_seq() <= end_seq
                && heads.may_hold(position, &header)?
                && let Ok(frame) = self.frame_at(view, position)?
            {
                return Ok(Some(frame));
            }
            position += ALIGNMENT;
        }
        Ok(None)
    }
}
