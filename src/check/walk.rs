//! The frames of one segment, one by one, each checked as far as it goes: a frame whose header
//! holds is seen even where some of its records are damaged.

use crate::error::Result;
use crate::format::frame::{self, FrameHeader};
use crate::format::{ALIGNMENT, DATA_START, FRAME_HEADER_BYTES, Invalid};
use crate::segment::scan::Scanner;
use crate::storage::StorageFile;

pub(super) struct Walk<'a> {
    pub(super) scanner: Scanner<'a>,
    /// Where the next frame is due.
    pub(super) position: u64,
}

/// A frame whose header and table are as they were written.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) position: u64,
    pub(super) header: FrameHeader,
    /// Its damaged records, ascending.
    pub(super) bad: Vec<BadRecord>,
}

#[derive(Debug)]
pub(super) struct BadRecord {
    pub(super) number: u32,
    /// Counted from the frame's start.
    pub(super) invalid: Invalid,
}

/// A record as it stands in a frame, with its padding.
pub(super) struct Stored<'a> {
    /// Counted from the frame's start.
    pub(super) at: u64,
    pub(super) bytes: &'a [u8],
}

/// The records of a frame, without the note that may stand behind them.
pub(super) fn records<'a>(header: &FrameHeader, content: &'a [u8]) -> impl Iterator<Item = Stored<'a>> {
    let (head, mut body) = content.split_at(header.head_bytes().min(content.len()));
    let mut at = head.len() as u64;
    let entries = frame::entries(head.get(FRAME_HEADER_BYTES..).unwrap_or_default());
    entries.take(header.count as usize).map(move |entry| {
        let (bytes, rest) = body.split_at(frame::padded(entry.len as usize).min(body.len()));
        let stored = Stored { at, bytes };
        at += bytes.len() as u64;
        body = rest;
        stored
    })
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a dyn StorageFile, name: &'a str, salt: u32) -> Result<Self> {
        Ok(Walk { scanner: Scanner::new(file, name, salt)?, position: DATA_START })
    }

    /// The header at `position` with its table verified, or why there is none.
    pub(super) fn head_at(&mut self, position: u64) -> Result<Result<FrameHeader, Invalid>> {
        let seed = frame::seed(self.scanner.salt(), position);
        let remaining = self.scanner.size().saturating_sub(position);
        let header =
            match FrameHeader::peek(self.scanner.bytes(position, FRAME_HEADER_BYTES as u64)?, remaining) {
                Ok(header) => header,
                Err(invalid) => return Ok(Err(invalid)),
            };
        let head = self.scanner.bytes(position, header.head_bytes() as u64)?;
        Ok(header.verify(head, seed).map(|()| header))
    }

    /// What stands where the next frame is due.
    pub(super) fn look(&mut self) -> Result<Result<Seen, Invalid>> {
        let position = self.position;
        let header = match self.head_at(position)? {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let whole = self.scanner.bytes(position, header.frame_bytes())?;
        let (head, mut body) = whole.split_at(header.head_bytes().min(whole.len()));
        let (mut bad, mut at) = (Vec::new(), head.len() as u64);
        let entries = frame::entries(head.get(FRAME_HEADER_BYTES..).unwrap_or_default());
        for (number, entry) in (0..).zip(entries) {
            let len = frame::padded(entry.len as usize);
            let (record, rest) = body.split_at(len.min(body.len()));
            if let Err(invalid) = frame::verify_record(entry, record) {
                bad.push(BadRecord { number, invalid: invalid.behind(at) });
            }
            at += len as u64;
            body = rest;
        }
        Ok(Ok(Seen { position, header, bad }))
    }

    /// The first place from `from` on with a good header that `accept` takes.
    pub(super) fn next_head(
        &mut self,
        from: u64,
        mut accept: impl FnMut(&FrameHeader) -> bool,
    ) -> Result<Option<(u64, FrameHeader)>> {
        const PAGE: u64 = 4096;
        let mut position = from.max(DATA_START).next_multiple_of(ALIGNMENT);
        let mut heads = self.scanner.heads(position);
        while position + FRAME_HEADER_BYTES as u64 <= self.scanner.size() {
            // Most of what was preallocated is zeros still: no frame begins in a page of them.
            if position.is_multiple_of(PAGE)
                && self.scanner.bytes(position, PAGE)?.iter().all(|byte| *byte == 0)
            {
                position += PAGE;
                continue;
            }
            let remaining = self.scanner.size() - position;
            let head = self.scanner.bytes(position, FRAME_HEADER_BYTES as u64)?;
            if FrameHeader::may_begin(head)
                && let Ok(header) = FrameHeader::peek(head, remaining)
                && accept(&header)
                && heads.may_hold(position, &header)?
                && let Ok(header) = self.head_at(position)?
            {
                return Ok(Some((position, header)));
            }
            position += ALIGNMENT;
        }
        Ok(None)
    }

    /// Goes on behind a frame.
    pub(super) fn pass(&mut self, seen: &Seen) {
        self.position = seen.position + seen.header.frame_bytes();
    }

    /// The bytes of a frame.
    pub(super) fn content(&mut self, seen: &Seen) -> Result<&[u8]> {
        self.scanner.bytes(seen.position, seen.header.frame_bytes())
    }

    /// What a header at `position` claims, though its checksum does not hold.
    pub(super) fn claim(&mut self, position: u64) -> Result<Option<FrameHeader>> {
        let remaining = self.scanner.size().saturating_sub(position);
        let head = self.scanner.bytes(position, FRAME_HEADER_BYTES as u64)?;
        Ok(FrameHeader::peek(head, remaining).ok())
    }
}
