//! A sync of what nobody waits for, so that it holds up nobody.

use std::io;
use std::iter::successors;

use crate::error::Result;
use crate::segment::Segment;

/// A disk takes its requests in order, and the file system's journal waits for what it is about: whoever
/// syncs or renames beside a sync of a whole segment waits for most of it. Between pieces it is their turn.
const PIECE: u64 = 2 << 20;

/// Up to where the segment that was synced last is on the disk.
#[derive(Debug, Default)]
pub(super) struct Synced {
    base: u64,
    position: u64,
}

impl Synced {
    /// Everything of the segment that readers see is durable then. Errors of the file are the inner ones.
    pub(super) fn sync(&mut self, segment: &Segment) -> Result<io::Result<()>> {
        let file = &segment.opened()?.file;
        let begun = if self.base == segment.base() { self.position } else { 0 };
        let end = segment.end_position().unwrap_or(0);
        let pieces = successors(Some(begun), |at| Some(at + PIECE)).take_while(|at| at + PIECE < end);
        for start in pieces {
            if let Err(error) = file.write_out(start, start + PIECE) {
                return Ok(Err(error));
            }
        }
        let synced = file.sync();
        if synced.is_ok() {
            *self = Synced { base: segment.base(), position: end };
        }
        Ok(synced)
    }
}
