//! Control records, for people.

use std::fmt;
use std::ops::RangeInclusive;

use crate::format::control::{Control, Note, Point};
use crate::ids::{LogOffset, ProducerId, SeqId, StreamId};
use crate::log::{Cursor, PurgePoint};

/// What the log wrote about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlFacts {
    /// A cursor was moved forward, or made.
    Advanced(Cursor),
    /// A cursor was set back.
    RolledBack(Cursor),
    /// A cursor was dropped.
    Dropped {
        /// Its stream.
        stream: StreamId,
        /// Its name.
        name: String,
    },
    /// A stream was purged.
    Purged {
        /// The stream.
        stream: StreamId,
        /// Up to where.
        upto: PurgePoint,
    },
    /// A stream was deleted: purged, and its cursors dropped.
    Deleted {
        /// The stream.
        stream: StreamId,
        /// Up to where.
        upto: PurgePoint,
    },
    /// No segment holds these SeqIds any more.
    Freed(RangeInclusive<SeqId>),
    /// The last batch of a producer; in a checkpoint only.
    Produced {
        /// Who appended it.
        note: NoteFacts,
        /// To which stream.
        stream: StreamId,
        /// SeqId of its first record.
        first_seq_id: SeqId,
        /// log_offset of its first record.
        first_log_offset: LogOffset,
        /// How many records it has.
        records: u32,
    },
}

/// Who appended a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoteFacts {
    /// The producer.
    pub producer: ProducerId,
    /// Its number of the batch.
    pub sequence: u64,
}

impl NoteFacts {
    pub(super) fn of(note: &Note) -> Self {
        NoteFacts { producer: ProducerId::from_bytes(note.producer), sequence: note.sequence }
    }
}

impl ControlFacts {
    pub(super) fn of(control: &Control) -> Self {
        let cursor = |stream: &[u8; 16], name: &str, to: &Point| Cursor {
            stream: StreamId::from_bytes(*stream),
            name: name.to_owned(),
            seq_id: SeqId(to.seq),
            log_offset: LogOffset(to.log_offset),
        };
        let point =
            |upto: &Point| PurgePoint { seq_id: SeqId(upto.seq), log_offset: LogOffset(upto.log_offset) };
        match control {
            Control::Advance { stream, name, to } => ControlFacts::Advanced(cursor(stream, name, to)),
            Control::Rollback { stream, name, to } => ControlFacts::RolledBack(cursor(stream, name, to)),
            Control::Drop { stream, name } => {
                ControlFacts::Dropped { stream: StreamId::from_bytes(*stream), name: name.clone() }
            }
            Control::Purge { stream, upto } => {
                ControlFacts::Purged { stream: StreamId::from_bytes(*stream), upto: point(upto) }
            }
            Control::Delete { stream, upto } => {
                ControlFacts::Deleted { stream: StreamId::from_bytes(*stream), upto: point(upto) }
            }
            Control::Freed { first, end } => {
                ControlFacts::Freed(SeqId(*first)..=SeqId(end.saturating_sub(1)))
            }
            Control::Produced(last) => ControlFacts::Produced {
                note: NoteFacts::of(&last.note),
                stream: StreamId::from_bytes(last.stream),
                first_seq_id: SeqId(last.first_seq),
                first_log_offset: LogOffset(last.first_log_offset),
                records: last.count,
            },
        }
    }
}

impl fmt::Display for NoteFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {} of producer {}", self.sequence, self.producer)
    }
}

impl fmt::Display for ControlFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place =
            |seq_id: &SeqId, log_offset: &LogOffset| format!("SeqId {seq_id} (log_offset {log_offset})");
        match self {
            ControlFacts::Advanced(Cursor { stream, name, seq_id, log_offset }) => {
                write!(f, "cursor {name:?} of stream {stream} stands at {}", place(seq_id, log_offset))
            }
            ControlFacts::RolledBack(Cursor { stream, name, seq_id, log_offset }) => {
                write!(f, "cursor {name:?} of stream {stream} set back to {}", place(seq_id, log_offset))
            }
            ControlFacts::Dropped { stream, name } => write!(f, "cursor {name:?} of stream {stream} dropped"),
            ControlFacts::Purged { stream, upto } => {
                write!(f, "stream {stream} purged up to {}", place(&upto.seq_id, &upto.log_offset))
            }
            ControlFacts::Deleted { stream, upto } => {
                write!(f, "stream {stream} deleted up to {}", place(&upto.seq_id, &upto.log_offset))
            }
            ControlFacts::Freed(freed) => write!(f, "SeqIds {} to {} freed", freed.start(), freed.end()),
            ControlFacts::Produced { note, stream, first_seq_id, first_log_offset, records } => {
                let at = place(first_seq_id, first_log_offset);
                write!(f, "{note}: {records} records of stream {stream} from {at} on")
            }
        }
    }
}
