//! Writing a segment anew, with what is good of it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::control::NOTE_BYTES;
use crate::format::frame::{self, FrameHeader, Kind, RecordEntry};
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES};
use crate::segment::names;
use crate::storage::{Storage, StorageFile};

use super::walk::{Seen, Walk};

/// A segment that gets its name once it is whole and synced.
pub(super) struct SegmentWriter<'a> {
    storage: &'a dyn Storage,
    name: String,
    temporary: String,
    file: Arc<dyn StorageFile>,
    salt: u32,
    position: u64,
    pending: Vec<u8>,
}

/// Bytes handed to the file at once.
const PIECE: usize = 1 << 20;

impl<'a> SegmentWriter<'a> {
    /// `room` is how much space is taken at first: as much as will be needed, if that is known.
    pub(super) fn begin(storage: &'a dyn Storage, header: &SegmentHeader, room: u64) -> Result<Self> {
        let name = names::segment(header.base);
        let temporary = names::temporary(&name);
        let file = storage
            .create(&temporary, room.max(DATA_START))
            .map_err(|e| Error::io("create", &temporary, e))?;
        file.write_at(&header.encode(), 0).map_err(|e| Error::io("write", &temporary, e))?;
        let salt = header.salt;
        Ok(SegmentWriter { storage, name, temporary, file, salt, position: DATA_START, pending: Vec::new() })
    }

    fn frame(&mut self, header: &FrameHeader, table: &[RecordEntry], body: &[u8]) -> Result<()> {
        let position = self.position + self.pending.len() as u64;
        header.encode_into(table.iter().copied(), frame::seed(self.salt, position), &mut self.pending);
        self.pending.extend_from_slice(body);
        if self.pending.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file
            .write_at(&self.pending, self.position)
            .map_err(|e| Error::io("write", &self.temporary, e))?;
        self.position += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Writes the good records of a frame: all of it, or each unbroken run of them as a frame of
    /// its own. A batch is whole or absent after a crash; damage is no crash, and costs no record
    /// but those that it hit.
    pub(super) fn keep(&mut self, seen: &Seen, content: &[u8]) -> Result<u64> {
        let header = &seen.header;
        let (head, mut body) = content.split_at(header.head_bytes().min(content.len()));
        let mut entries: Vec<RecordEntry> =
            frame::entries(head.get(FRAME_HEADER_BYTES..).unwrap_or_default()).collect();
        if seen.bad.is_empty() {
            self.frame(header, &entries, body)?;
            return Ok(u64::from(header.count));
        }
        let bad = |k: usize| seen.bad.binary_search_by_key(&k, |bad| bad.number as usize).is_ok();
        let count = header.count as usize;
        // Who appended the batch is said by the last of its parts.
        let note = header.note.then(|| entries.pop()).flatten().filter(|_| !bad(count));
        let note_bytes = content.get(content.len().saturating_sub(NOTE_BYTES)..).unwrap_or_default();
        let last_good = (0..count).rev().find(|k| !bad(*k));
        let (mut first, mut kept) = (0, 0);
        let numbers: Vec<usize> = (0..count).collect();
        for run in numbers.chunk_by(|a, b| bad(*a) == bad(*b)) {
            let mut table = entries.get(first..first + run.len()).unwrap_or_default().to_vec();
            let len: usize = table.iter().map(|entry| frame::padded(entry.len as usize)).sum();
            let (records, rest) = body.split_at(len.min(body.len()));
            body = rest;
            if !bad(first) {
                let mut records = records.to_vec();
                let note = note.filter(|_| run.last().copied() == last_good);
                if let Some(note) = note {
                    table.push(note);
                    records.extend_from_slice(note_bytes);
                }
                // Control records have no log_offset.
                let numbered = if header.kind == Kind::Batch { first as u64 } else { 0 };
                let part = FrameHeader {
                    note: note.is_some(),
                    count: run.len() as u32,
                    body_bytes: records.len() as u32,
                    first_seq: header.first_seq + first as u64,
                    first_log_offset: header.first_log_offset + numbered,
                    ..*header
                };
                self.frame(&part, &table, &records)?;
                kept += run.len() as u64;
            }
            first += run.len();
        }
        Ok(kept)
    }

    /// Ends the segment with a witness of SeqId `end`, syncs it, and gives it its name.
    pub(super) fn close(mut self, end: u64, unix_micros: i64) -> Result<()> {
        self.frame(&FrameHeader::witness(end, unix_micros), &[], &[])?;
        self.finish()
    }

    /// As [`close`](Self::close), without a witness.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.set_len(self.position).map_err(|e| Error::io("truncate", &self.temporary, e))?;
        self.file.sync().map_err(|e| Error::io("sync", &self.temporary, e))?;
        self.storage
            .rename(&self.temporary, &self.name)
            .map_err(|e| Error::io("rename", &self.temporary, e))?;
        self.storage.sync_directory().map_err(|e| Error::io("sync directory", self.storage.name(), e))
    }
}

/// Writes into `writer` whatever is good of a segment before SeqId `end`. Returns how many records
/// that is, and the time of the last frame.
pub(super) fn keep_good(
    walk: &mut Walk<'_>,
    base: u64,
    end: u64,
    writer: &mut SegmentWriter<'_>,
) -> Result<(u64, i64)> {
    let (mut due, mut kept, mut time) = (base, 0, 0);
    loop {
        let next = walk.next_head(walk.position, |head| head.first_seq >= due && head.next_seq() <= end)?;
        let Some((position, _)) = next else { return Ok((kept, time)) };
        walk.position = position;
        let Ok(seen) = walk.look()? else { return Ok((kept, time)) };
        if seen.header.kind != Kind::Witness {
            kept += writer.keep(&seen, walk.content(&seen)?)?;
        }
        (due, time) = (seen.header.next_seq(), seen.header.unix_micros.max(time));
        walk.pass(&seen);
    }
}
