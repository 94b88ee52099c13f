//! On what terms a batch is submitted: who submits it, and what must hold when it is written.

use crate::ids::{LogOffset, ProducerId};

/// What must hold at the instant at which a batch is written; otherwise nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The first record of the batch gets this log_offset: nobody else wrote to the collection
    /// meanwhile. Otherwise [`Error::Conflict`](crate::Error::Conflict) says which one is due.
    NextOffset(LogOffset),
    /// None of these ids was written after that log_offset.
    /// Otherwise [`Error::IdConflict`](crate::Error::IdConflict) names the id and its newest record.
    NoneWritten {
        /// The ids the caller has looked at. None at all: the condition holds.
        ids: Vec<String>,
        /// The last log_offset the caller has seen; 0 if it has seen none. It must have been given
        /// out, and must not lie before a purge point: what was purged cannot be looked at.
        since: LogOffset,
    },
}

/// On what terms a batch is submitted; by default on none.
///
/// ```
/// use stratalog::ingest::{Condition, SubmitTerms};
/// use stratalog::{LogOffset, ProducerId};
///
/// let mine = ProducerId::from_u128(0x5eed);
/// let terms = SubmitTerms::new().producer(mine, 17).condition(Condition::NextOffset(LogOffset(40)));
/// assert_eq!(terms.producer, Some((mine, 17)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubmitTerms {
    /// Who submits, and the number of the batch in that producer's own count.
    pub producer: Option<(ProducerId, u64)>,
    /// What must hold.
    pub condition: Option<Condition>,
}

impl SubmitTerms {
    /// On no terms.
    #[must_use]
    pub fn new() -> Self {
        SubmitTerms::default()
    }

    /// Makes a retry safe: if this producer's last batch had this very sequence, it is there already,
    /// the first result is returned and nothing is written, also after a restart, and whether or not
    /// the condition still holds. Sequences of a producer ascend; an older one is refused with
    /// [`Error::OldSequence`](crate::Error::OldSequence).
    #[must_use]
    pub fn producer(mut self, producer: ProducerId, sequence: u64) -> Self {
        self.producer = Some((producer, sequence));
        self
    }

    /// Only if this holds.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }
}
