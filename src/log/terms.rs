//! What must hold for a batch to be appended, and who appends it.

use crate::format::control::Note;
use crate::ids::{LogOffset, ProducerId, SeqId};

/// Conditions of an append, and its producer's own count of it. All of them are looked at under the
/// lock that gives the numbers, so nothing comes in between.
///
/// ```
/// use stratalog::{Batch, Log, LogOffset, ProducerId, StreamId, Terms};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// # let stream = StreamId::from_u128(1);
/// let terms = Terms::new().producer(ProducerId::from_u128(7), 1).next_offset(LogOffset(1));
/// let first = log.append_on(&terms, stream, &Batch::one(b"once"))?;
/// // The acknowledgement was lost, so it is tried again: the same answer, and nothing is written.
/// assert_eq!(log.append_on(&terms, stream, &Batch::one(b"once"))?, first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    pub(super) first_seq_id: Option<SeqId>,
    pub(super) next_offset: Option<LogOffset>,
    pub(super) note: Option<Note>,
}

impl Terms {
    /// No conditions.
    #[must_use]
    pub fn new() -> Self {
        Terms::default()
    }

    /// Only if the first record gets this very SeqId: who submits several batches in a row can be
    /// sure that none is in the log without those before it. Otherwise
    /// [`Error::OutOfTurn`](crate::Error::OutOfTurn).
    #[must_use]
    pub fn first_seq_id(mut self, first: SeqId) -> Self {
        self.first_seq_id = Some(first);
        self
    }

    /// Only if the first record gets this very log_offset, so that nobody else has appended to the
    /// stream meanwhile. Otherwise [`Error::Conflict`](crate::Error::Conflict).
    #[must_use]
    pub fn next_offset(mut self, next: LogOffset) -> Self {
        self.next_offset = Some(next);
        self
    }

    /// This is batch `sequence` of this producer, who counts its batches upwards. If it is the one
    /// it appended last, the first result is returned and nothing is written, whatever the other
    /// conditions; an earlier one is [`Error::OldSequence`](crate::Error::OldSequence). The log
    /// Numbers may be left out, so a producer with several batches on its way adds
    /// [`next_offset`](Terms::next_offset), lest one is written without those before it. The log
    /// remembers it, across restarts, for the 16,384 producers that appended most recently.
    #[must_use]
    pub fn producer(mut self, producer: ProducerId, sequence: u64) -> Self {
        self.note = Some(Note { producer: *producer.as_bytes(), sequence });
        self
    }
}
