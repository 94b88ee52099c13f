//! Whether frames begin at many places, with each byte read about twice, however long the tables are
//! that stand there: a record may hold millions of heads with tables of megabytes, one in the other.

use crate::error::{Error, Result};
use crate::format::frame::{self, FrameHeader};
use crate::storage::{StorageFile, read_full};

/// Between two checksums that are kept; a head no longer than this is cheap to check as it is.
const STEP: u64 = 4096;

/// Checksums of a file from one place up to every [`STEP`] behind it.
#[derive(Debug)]
pub(crate) struct Heads<'a> {
    file: &'a dyn StorageFile,
    name: &'a str,
    salt: u32,
    start: u64,
    sums: Vec<u32>,
}

impl<'a> Heads<'a> {
    /// For places from `start` on.
    pub(crate) fn new(file: &'a dyn StorageFile, name: &'a str, salt: u32, start: u64) -> Self {
        Heads { file, name, salt, start, sums: vec![0] }
    }

    /// False if the checksum of this header, found at `position`, does not hold; true if it does, or is
    /// cheap to check.
    pub(crate) fn may_hold(&mut self, position: u64, header: &FrameHeader) -> Result<bool> {
        let len = header.head_bytes() as u64;
        if len <= STEP || position < self.start {
            return Ok(true);
        }
        let mut stored = [0; frame::CHECKSUM_BYTES];
        self.read(&mut stored, position)?;
        let covered = position + stored.len() as u64;
        let (before, after) = (self.sum(covered)?, self.sum(position + len)?);
        let len = position + len - covered;
        let table = after ^ frame::behind(before, len);
        let seed = frame::seed(self.salt, position);
        Ok(u32::from_le_bytes(stored) == table ^ frame::behind(seed, len))
    }

    /// The checksum of everything from the start up to `end`.
    fn sum(&mut self, end: u64) -> Result<u32> {
        let mut piece = [0; STEP as usize];
        let steps = (end - self.start) / STEP;
        while (self.sums.len() as u64) <= steps {
            self.read(&mut piece, self.start + (self.sums.len() as u64 - 1) * STEP)?;
            let last = self.sums.last().copied().unwrap_or_default();
            self.sums.push(frame::checksum(last, &piece));
        }
        let at = self.start + steps * STEP;
        let rest = piece.get_mut(..(end - at) as usize).unwrap_or_default();
        self.read(rest, at)?;
        let known = self.sums.get(steps as usize).copied().unwrap_or_default();
        Ok(frame::checksum(known, rest))
    }

    /// What lies behind the end of the file counts as zeros.
    fn read(&self, buffer: &mut [u8], position: u64) -> Result<()> {
        buffer.fill(0);
        read_full(self.file, buffer, position).map(drop).map_err(|e| Error::io("read", self.name, e))
    }
}
