//! A reader's hold on the bytes of a segment.

use bytes::Bytes;

use super::heads::Heads;
use super::{Opened, Segment};
use crate::error::{Error, Result};
use crate::format::frame::{self, FrameHeader};
use crate::format::{ALIGNMENT, DATA_START, FRAME_HEADER_BYTES, Invalid};
use crate::storage::read_full;

/// Read at once, when there is no map, by who reads frame after frame.
const AHEAD: u64 = 64 << 10;
/// And by who picks frames here and there.
const LITTLE: u64 = 1 << 10;

/// Part of a segment in memory. Mapped, it is everything committed so far and keeps the map
/// alive; otherwise it is what was read last.
#[derive(Debug, Clone)]
pub(crate) struct View {
    start: u64,
    bytes: Bytes,
    ahead: u64,
}

impl View {
    /// For frames here and there.
    pub(crate) fn scattered() -> Self {
        View { start: 0, bytes: Bytes::new(), ahead: LITTLE }
    }

    /// For frame after frame.
    pub(crate) fn sequential() -> Self {
        View { ahead: AHEAD, ..View::scattered() }
    }

    fn get(&self, start: u64, end: u64) -> Option<Bytes> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(end.checked_sub(self.start)?).ok()?;
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }

    fn peek(&self, start: u64, len: u64) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len as usize)?)
    }
}

/// A frame whose header and table are verified; its records are verified as they are taken.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) position: u64,
    bytes: Bytes,
}

impl Frame {
    /// Record `k`, its checksum verified; `at` of an error counts from the frame's start.
    pub(crate) fn record(&self, k: usize) -> Result<Bytes, Invalid> {
        let start = self.table().chunks_exact(8).take(k).fold(self.header.head_bytes(), |at, entry| {
            at + frame::padded(frame::entry(entry, 0).map_or(0, |e| e.len as usize))
        });
        self.record_at(k, start).map(|(record, _)| record)
    }

    /// Record `k`, which begins `start` bytes into the frame, and where the next one begins.
    pub(crate) fn record_at(&self, k: usize, start: usize) -> Result<(Bytes, usize), Invalid> {
        let entry = frame::entry(self.table(), k).ok_or_else(|| {
            Invalid::new(8, format!("record {k}"), format!("{} records", self.header.count))
        })?;
        let next = start + frame::padded(entry.len as usize);
        let stored = self.bytes.get(start..next).unwrap_or_default();
        frame::verify_record(entry, stored).map_err(|mut invalid| {
            invalid.at = start as u64;
            invalid
        })?;
        Ok((self.bytes.slice(start..start + entry.len as usize), next))
    }

    /// Where the record after record `k` begins, damaged or not.
    pub(crate) fn skip(&self, k: usize, start: usize) -> usize {
        start + frame::entry(self.table(), k).map_or(0, |entry| frame::padded(entry.len as usize))
    }

    fn table(&self) -> &[u8] {
        self.bytes.get(FRAME_HEADER_BYTES..self.header.head_bytes()).unwrap_or_default()
    }
}

impl Segment {
    /// Makes `view` hold `start..end`, as far as that is committed.
    fn fill(&self, view: &mut View, start: u64, end: u64) -> Result<()> {
        if view.get(start, end).is_some() {
            return Ok(());
        }
        let opened = self.opened()?;
        let limit = self.limit(opened)?;
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
        let known = self.view.read().clone();
        if known.len() as u64 >= end {
            return known;
        }
        let window = opened.mapping.as_ref().map_or_else(Bytes::new, |map| map.window(0, limit as usize));
        let mut view = self.view.write();
        if window.len() > view.len() {
            view.clone_from(&window);
        }
        window
    }

    /// The frame at `position`, header and table verified. The inner error says why there is none.
    pub(crate) fn frame_at(&self, view: &mut View, position: u64) -> Result<Result<Frame, Invalid>> {
        let opened = self.opened()?;
        let remaining = self.limit(opened)?.saturating_sub(position);
        self.fill(view, position, position + FRAME_HEADER_BYTES as u64)?;
        let head = view.peek(position, FRAME_HEADER_BYTES as u64).unwrap_or_default();
        let header = match FrameHeader::peek(head, remaining) {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let end = position + header.frame_bytes();
        // The length is bounded by the bytes that exist, but not yet verified: the table comes first.
        self.fill(view, position, position + header.head_bytes() as u64)?;
        let head = view.peek(position, header.head_bytes() as u64).unwrap_or_default();
        if let Err(invalid) = header.verify(head, frame::seed(opened.header.salt, position)) {
            return Ok(Err(invalid));
        }
        self.fill(view, position, end)?;
        Ok(match view.get(position, end) {
            Some(bytes) => Ok(Frame { header, position, bytes }),
            None => Err(Invalid::new(
                0,
                format!("a frame of {} bytes", header.frame_bytes()),
                "the end of the file",
            )),
        })
    }

    /// The first frame at or after `from` with a valid header and table and a SeqId in
    /// `least..end_seq`. For damaged segments only: looks at every eighth byte.
    pub(crate) fn frame_after_damage(&self, view: &mut View, from: u64, least: u64) -> Result<Option<Frame>> {
        let opened = self.opened()?;
        let (limit, end_seq) = (self.limit(opened)?, self.end_seq());
        let mut position = from.max(DATA_START).next_multiple_of(ALIGNMENT);
        let mut heads = Heads::new(opened.file.as_ref(), self.name(), opened.header.salt, position);
        while position + FRAME_HEADER_BYTES as u64 <= limit {
            self.fill(view, position, position + FRAME_HEADER_BYTES as u64)?;
            let head = view.peek(position, FRAME_HEADER_BYTES as u64).unwrap_or_default();
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
