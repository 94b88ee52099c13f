//! A record as a consumer gets it.

use crate::ids::{LogOffset, SeqId};
use crate::log::Record;

use super::codec::{DecodeError, RecordView};
use super::record::OperationRecord;

/// An operation record with its numbers, as it stands in the log: nothing is copied, and one that
/// was just committed and the same one read years later are equal.
///
/// It may be kept; the file it stands in stays mapped for as long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the whole log.
    pub seq_id: SeqId,
    /// Its place in its collection.
    pub log_offset: LogOffset,
    /// When its batch was submitted, in microseconds since 1970; never decreases.
    pub unix_micros: i64,
    /// What was submitted.
    pub record: RecordView,
}

impl LogRecord {
    /// Checks a record of a log to its last byte.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not an operation record.
    pub fn decode(record: Record) -> Result<Self, DecodeError> {
        Ok(LogRecord {
            seq_id: record.seq_id,
            log_offset: record.log_offset,
            unix_micros: record.unix_micros,
            record: RecordView::decode(record.payload)?,
        })
    }

    /// What was submitted, copied.
    #[must_use]
    pub fn to_record(&self) -> OperationRecord {
        self.record.to_record()
    }
}
