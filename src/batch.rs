//! Records that commit together, all or none.

use crate::format::frame::{self, RecordEntry};

/// Records on their way into the log, already in the form in which the log stores them.
///
/// Checksums are made here, in the caller's thread, so that the log's own lock is held for
/// a copy only. A batch can be appended as often as wanted, and cleared to be filled again.
///
/// ```
/// let mut batch = stratalog::Batch::new();
/// batch.push(b"first");
/// batch.push_with(|bytes| bytes.extend_from_slice(b"second"));
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    table: Vec<RecordEntry>,
    body: Vec<u8>,
    largest_record: usize,
    /// Where a record is written before it is taken: whoever writes can't reach the others.
    scratch: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// A batch of one record.
    #[must_use]
    pub fn one(record: &[u8]) -> Self {
        let mut batch = Batch::new();
        batch.push(record);
        batch
    }

    /// Adds a record. Limits are checked by the log the batch is appended to.
    pub fn push(&mut self, record: &[u8]) {
        let start = self.body.len();
        self.body.extend_from_slice(record);
        self.body.resize(start + frame::padded(record.len()), 0);
        let checksum = crc32fast::hash(self.body.get(start..).unwrap_or_default());
        self.largest_record = self.largest_record.max(record.len());
        // A record over u32 is refused by the log through `largest_record`.
        self.table.push(RecordEntry { len: record.len() as u32, checksum });
    }

    /// Adds the record that `write` puts into the empty buffer it is given.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        write(&mut record);
        self.push(&record);
        self.scratch = record;
    }

    /// As [`push_with`](Batch::push_with); after an error the batch is as it was.
    ///
    /// # Errors
    /// Whatever `write` returns.
    pub fn try_push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        write(&mut record)?;
        self.push(&record);
        self.scratch = record;
        Ok(())
    }

    /// Records in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes the batch takes in the log, its header included.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        frame::frame_len(self.table.len(), self.body.len())
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.table.clear();
        self.body.clear();
        self.largest_record = 0;
    }

    pub(crate) fn largest_record(&self) -> usize {
        self.largest_record
    }

    pub(crate) fn table(&self) -> &[RecordEntry] {
        &self.table
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_a_record_can_spoil_that_one_only() {
        let mut good = Batch::one(b"first");
        good.push(b"");
        let mut batch = Batch::one(b"first");
        batch.push_with(Vec::clear);
        assert_eq!((batch.body(), batch.table()), (good.body(), good.table()));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            batch.push_with(|bytes| {
                bytes.extend_from_slice(b"half");
                panic!("the caller's");
            });
        }));
        assert!(caught.is_err());
        let refused = batch.try_push_with(|bytes| {
            bytes.push(1);
            Err("no")
        });
        assert_eq!(refused, Err("no"));
        assert_eq!((batch.body(), batch.table()), (good.body(), good.table()));
    }
}
