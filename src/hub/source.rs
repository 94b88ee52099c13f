//! Reading a stream from a position on, batch by batch.

use std::ops::Bound;
use std::sync::Arc;

use super::options::BatchLimits;
use crate::error::{Error, Result};
use crate::ids::{SeqId, StreamId};
use crate::log::{Log, Reader, Record};
use crate::sync::{Instant, Mutex};

/// Where in a stream its next records are read. Holds a reader while it is in use.
#[derive(Debug)]
pub(super) struct Source {
    stream: StreamId,
    /// Nothing of the stream is left up to this SeqId.
    passed: SeqId,
    end: Option<SeqId>,
    reader: Option<Reader>,
    /// What was met behind records that were not handed over yet.
    trouble: Option<Error>,
}

impl Source {
    pub(super) fn new(stream: StreamId, start: SeqId, end: Option<SeqId>) -> Self {
        Source { stream, passed: start, end, reader: None, trouble: None }
    }

    /// Puts the next records into `records`, up to the limits and up to `last`. No records: nothing
    /// more was committed when the call was made, or the end is reached.
    ///
    /// # Errors
    /// As reading, once the records before it are out.
    pub(super) fn fill(
        &mut self,
        log: &Log,
        limits: BatchLimits,
        last: Option<SeqId>,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        records.clear();
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let visible = log.committed();
        let mut bytes = 0;
        while records.len() < limits.records && bytes < limits.bytes {
            let Some(next) = self.next(log).transpose() else { break };
            match next {
                Ok(record) => {
                    bytes += record.payload.len() as u64;
                    let enough = Some(record.seq_id) == last;
                    records.push(record);
                    if enough {
                        break;
                    }
                }
                Err(error) if records.is_empty() => return Err(error),
                Err(error) => {
                    self.trouble = Some(error);
                    break;
                }
            }
        }
        if records.is_empty() {
            let upto = self.end.map_or(visible, |end| end.min(visible));
            self.passed = self.passed.max(upto);
        }
        Ok(())
    }

    fn next(&mut self, log: &Log) -> Result<Option<Record>> {
        if self.reader.is_none() {
            // Spares a search through the segments, where it would find nothing.
            let nothing = || log.stream(self.stream).is_none_or(|stats| stats.last_seq_id <= self.passed);
            if !log.is_read_only() && nothing() {
                return Ok(None);
            }
            let end = self.end.map_or(Bound::Unbounded, Bound::Included);
            self.reader =
                Some(log.stream_reader_by_seq_id(self.stream, (Bound::Excluded(self.passed), end))?);
        }
        match &mut self.reader {
            Some(reader) => reader.next_record(),
            None => Ok(None),
        }
    }

    /// Everything up to `upto` is out for good.
    pub(super) fn took(&mut self, upto: SeqId) {
        self.passed = self.passed.max(upto);
    }

    /// What was read and not taken will be read again.
    pub(super) fn step_back(&mut self) {
        self.reader = None;
        self.trouble = None;
    }

    /// Leaves the reader on the shelf, where it can be taken away.
    pub(super) fn rest(&mut self, shelf: &Shelf) {
        let mut shelved = shelf.shelved.lock();
        shelved.reader = self.reader.take();
        shelved.since = Some(Instant::now());
    }

    pub(super) fn resume(&mut self, shelf: &Shelf) {
        if self.reader.is_none() {
            self.reader = shelf.shelved.lock().reader.take();
        }
    }
}

/// The reader of somebody who is idle. It holds the map of a segment, so it is taken away after a while.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    shelved: Mutex<Shelved>,
}

#[derive(Debug, Default)]
struct Shelved {
    reader: Option<Reader>,
    since: Option<Instant>,
    /// The clock knows of it.
    listed: bool,
}

impl Shelf {
    /// True if the clock has to be told of it.
    pub(super) fn list(&self) -> bool {
        let mut shelved = self.shelved.lock();
        let new = shelved.reader.is_some() && !shelved.listed;
        shelved.listed |= new;
        new
    }

    pub(super) fn take(&self) -> Option<Reader> {
        self.shelved.lock().reader.take()
    }

    /// Moves a reader that was put here before `before` to `stale`, which must be dropped where no lock
    /// is held: it may be the last to hold a map. Says since when there is one that stays.
    pub(super) fn clear(&self, before: Instant, stale: &mut Vec<Reader>) -> Option<Instant> {
        let mut shelved = self.shelved.lock();
        let recent = shelved.since.filter(|since| shelved.reader.is_some() && *since > before);
        if recent.is_none() {
            shelved.listed = false;
            stale.extend(shelved.reader.take());
        }
        recent
    }
}

pub(super) type SharedShelf = Arc<Shelf>;
