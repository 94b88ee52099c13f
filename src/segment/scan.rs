//! Frames of one segment, read with positioned reads: a bad sector is an error here, where a
//! map would end the process.

use std::io::ErrorKind;

use bytes::Bytes;

use super::heads::Heads;
use crate::error::{Error, Result};
use crate::format::frame::{self, FrameHeader};
use crate::format::segment_header::SegmentHeader;
use crate::format::{ALIGNMENT, DATA_START, FRAME_HEADER_BYTES, Invalid, SEGMENT_HEADER_BYTES, whole_bytes};
use crate::options::ReadMode;
use crate::storage::{StorageFile, read_full};

const CHUNK: u64 = 256 << 10;
/// Zeros are looked for in pieces of this size.
const PAGE: u64 = 4096;

/// Reads and checks the header of a segment.
pub(crate) fn read_header(file: &dyn StorageFile, name: &str) -> Result<SegmentHeader> {
    let mut bytes = [0u8; SEGMENT_HEADER_BYTES];
    let n = read_full(file, &mut bytes, 0).map_err(|e| Error::io("read", name, e))?;
    SegmentHeader::decode(bytes.get(..n).unwrap_or_default()).map_err(|e| e.in_file(name))
}

/// A whole checkpoint or index, mapped where that is possible and wanted. Of a file that is larger
/// than it says, no more than shows that it is damaged.
pub(crate) fn read_table(file: &dyn StorageFile, name: &str, mode: ReadMode) -> Result<Bytes> {
    let read = |buffer: &mut [u8]| read_full(file, buffer, 0).map_err(|e| Error::io("read", name, e));
    let mut head = [0u8; SEGMENT_HEADER_BYTES];
    let n = read(&mut head)?;
    let whole = whole_bytes(head.get(..n).unwrap_or_default());
    let size = file.size().map_err(|e| Error::io("stat", name, e))?.min(whole.saturating_add(1));
    if mode == ReadMode::Mapped
        && let Ok(Some(mapping)) = file.map(size)
    {
        return Ok(mapping.window(0, mapping.len()));
    }
    let mut bytes = Vec::new();
    let room = usize::try_from(size).ok().filter(|room| bytes.try_reserve_exact(*room).is_ok());
    let room = room.ok_or_else(|| Error::io("read", name, ErrorKind::OutOfMemory.into()))?;
    bytes.resize(room, 0);
    let n = read(&mut bytes)?;
    bytes.truncate(n);
    Ok(bytes.into())
}

/// A window that slides over a segment's file.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn StorageFile,
    name: &'a str,
    salt: u32,
    size: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn StorageFile, name: &'a str, salt: u32) -> Result<Self> {
        let size = file.size().map_err(|e| Error::io("stat", name, e))?;
        Ok(Scanner { file, name, salt, size, buffer: Vec::new(), start: 0 })
    }

    /// For looking for heads from `start` on.
    pub(crate) fn heads(&self, start: u64) -> Heads<'a> {
        Heads::new(self.file, self.name, self.salt, start)
    }

    pub(crate) fn salt(&self) -> u32 {
        self.salt
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `position`; fewer at the end of the file.
    pub(crate) fn bytes(&mut self, position: u64, len: u64) -> Result<&[u8]> {
        let len = len.min(self.size.saturating_sub(position));
        let held = self.start + self.buffer.len() as u64;
        if position < self.start || position + len > held {
            let want = len.max(CHUNK).min(self.size.saturating_sub(position));
            self.buffer.resize(want as usize, 0);
            let n = read_full(self.file, &mut self.buffer, position)
                .map_err(|e| Error::io("read", self.name, e))?;
            self.buffer.truncate(n);
            self.start = position;
        }
        let from = (position - self.start) as usize;
        let to = self.buffer.len().min(from + len as usize);
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }

    /// The frame at `position`, every checksum verified, or why there is none.
    pub(crate) fn frame_at(&mut self, position: u64) -> Result<Result<FrameHeader, Invalid>> {
        let remaining = self.size.saturating_sub(position);
        let seed = frame::seed(self.salt, position);
        let header = match FrameHeader::peek(self.bytes(position, FRAME_HEADER_BYTES as u64)?, remaining) {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        // Header and table first: a frame's length is believed only once its checksum holds.
        if let Err(invalid) = header.verify(self.bytes(position, header.head_bytes() as u64)?, seed) {
            return Ok(Err(invalid));
        }
        let whole = self.bytes(position, header.frame_bytes())?;
        let (head, body) = whole.split_at(header.head_bytes().min(whole.len()));
        let table = head.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let verified = frame::verify_body(table, body);
        Ok(verified.map(|()| header).map_err(|invalid| invalid.behind(header.head_bytes() as u64)))
    }

    /// The bytes of a frame that [`frame_at`](Self::frame_at) found valid.
    pub(crate) fn frame_content(&mut self, position: u64, header: &FrameHeader) -> Result<&[u8]> {
        self.bytes(position, header.frame_bytes())
    }

    /// Bytes from `position` to the last one that is not zero.
    pub(crate) fn written_bytes(&mut self, position: u64) -> Result<u64> {
        let (mut at, mut end) = (position, position);
        while at < self.size {
            let bytes = self.bytes(at, PAGE)?;
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len() as u64;
            if !is_zeros(bytes)
                && let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
            {
                end = at + last as u64 + 1;
            }
            at += len;
        }
        Ok(end - position)
    }

    /// Bytes from `position`, where `due` was due, to the last one that was written in this use of the file. In
    /// a recycled one that is known of whole frames and of a head that speaks of this use, and of nothing else.
    pub(crate) fn unfinished_bytes(
        &mut self,
        position: u64,
        due: u64,
        header: &SegmentHeader,
    ) -> Result<u64> {
        if !header.recycled {
            return self.written_bytes(position);
        }
        let mut end = position + self.begun_bytes(position, due, header)?;
        let mut from = position + ALIGNMENT;
        while let Some((at, frame)) = self.next_valid(from, |frame| frame.first_seq >= due)? {
            end = end.max(at + frame.frame_bytes());
            from = at + frame.frame_bytes();
        }
        Ok(end - position)
    }

    /// In a recycled segment, bytes of the frame that was begun at `position`, where `due` was due; 0 if none
    /// was. Numbers of an earlier use are lower than those of this one, so either of a head's two says whose it
    /// is, the other one damaged or torn. (Not those that a failed write left: then a torn tail is told of
    /// that is none.) Where nobody knows its length, it is all there is.
    pub(crate) fn begun_bytes(&mut self, position: u64, due: u64, header: &SegmentHeader) -> Result<u64> {
        let remaining = self.size.saturating_sub(position);
        let head = self.bytes(position, FRAME_HEADER_BYTES as u64)?;
        let Some(numbers) = FrameHeader::numbers(head) else { return Ok(0) };
        let ours = numbers.0 == due || (header.base.saturating_sub(1)..due).contains(&numbers.1);
        let whole = FrameHeader::peek(head, remaining).map_or(remaining, |frame| frame.frame_bytes());
        Ok(if ours { whole } else { 0 })
    }

    /// The first valid frame at or after `from` that `accept` takes. Costs a look at every
    /// eighth byte, so it is for damaged files only.
    pub(crate) fn next_valid(
        &mut self,
        from: u64,
        mut accept: impl FnMut(&FrameHeader) -> bool,
    ) -> Result<Option<(u64, FrameHeader)>> {
        let mut position = from.max(DATA_START).next_multiple_of(ALIGNMENT);
        let mut heads = self.heads(position);
        while position + FRAME_HEADER_BYTES as u64 <= self.size {
            // Most of what was preallocated is zeros still: no frame begins in a page of them.
            if position.is_multiple_of(PAGE) && is_zeros(self.bytes(position, PAGE)?) {
                position += PAGE;
                continue;
            }
            let remaining = self.size - position;
            let bytes = self.bytes(position, FRAME_HEADER_BYTES as u64)?;
            if FrameHeader::may_begin(bytes)
                && let Ok(header) = FrameHeader::peek(bytes, remaining)
                && accept(&header)
                && heads.may_hold(position, &header)?
                && let Ok(header) = self.frame_at(position)?
            {
                return Ok(Some((position, header)));
            }
            position += ALIGNMENT;
        }
        Ok(None)
    }
}

/// Sixteen bytes at a time: most of what was preallocated is passed over this way.
fn is_zeros(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
