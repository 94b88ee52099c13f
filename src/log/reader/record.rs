//! What reading gives.

use std::fmt;

use bytes::Bytes;

use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::{Frame, View};

/// One committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub seq_id: SeqId,
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream.
    pub log_offset: LogOffset,
    /// When its batch was appended, in microseconds since 1970; never decreases.
    pub unix_micros: i64,
    /// What was appended: not copied, the segment stays mapped while this is held.
    pub payload: Bytes,
}

/// One committed record, borrowed from the [`Reader`](super::Reader) that stands at it: see
/// [`next_ref`](super::Reader::next_ref).
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its place in the log.
    pub seq_id: SeqId,
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream.
    pub log_offset: LogOffset,
    /// When its batch was appended, in microseconds since 1970; never decreases.
    pub unix_micros: i64,
    /// What was appended: not copied, and good until the reader moves on.
    pub payload: &'a [u8],
    view: &'a View,
}

impl<'a> RecordRef<'a> {
    /// Record `k` of a frame in `view`.
    #[inline]
    pub(super) fn new(view: &'a View, frame: &Frame, k: usize, payload: &'a [u8]) -> Self {
        let header = &frame.header;
        RecordRef {
            seq_id: SeqId(header.first_seq + k as u64),
            stream: StreamId::from_bytes(header.stream),
            log_offset: LogOffset(header.first_log_offset + k as u64),
            unix_micros: header.unix_micros,
            payload,
            view,
        }
    }

    /// The record to keep. Nothing is copied: it shares the map of its segment.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            seq_id: self.seq_id,
            stream: self.stream,
            log_offset: self.log_offset,
            unix_micros: self.unix_micros,
            payload: self.view.share(self.payload),
        }
    }
}

impl PartialEq<Record> for RecordRef<'_> {
    fn eq(&self, other: &Record) -> bool {
        (self.seq_id, self.stream, self.log_offset) == (other.seq_id, other.stream, other.log_offset)
            && self.unix_micros == other.unix_micros
            && *self.payload == *other.payload
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRef")
            .field("seq_id", &self.seq_id)
            .field("stream", &self.stream)
            .field("log_offset", &self.log_offset)
            .field("unix_micros", &self.unix_micros)
            .field("payload", &self.payload)
            .finish()
    }
}
