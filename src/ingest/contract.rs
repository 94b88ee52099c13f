//! What producers, consumers and operators are promised, whoever keeps the log.
//!
//! The words are Chroma's (`Producer`, `Consumer`, `submit_embeddings`, `purge_log`), the promises
//! are its documented ones, also where its own queue breaks them. A collection is a [`StreamId`].
//! Every call on a backend that was closed fails with [`Error::Closed`](crate::Error::Closed), "not
//! running". The suite in `ingest::conformance` (feature `test-util`) holds every backend to this.

use super::log_record::LogRecord;
use super::options::ConsumeOptions;
use super::pending::PendingSubmit;
use super::record::OperationRecord;
use super::terms::SubmitTerms;
use crate::error::Result;
use crate::hub::{ConsumeError, SubscriptionId, SubscriptionStatus};
use crate::ids::{SeqId, StreamId};
use crate::log::{Backlog, Cursor, PurgePoint};

/// What a subscription calls: with records in order, one call at a time. `Ok`: they were taken.
/// An error, or a panic: the same records are offered again after a pause.
pub type Consume = Box<dyn FnMut(&[LogRecord]) -> Result<(), ConsumeError> + Send>;

/// Who puts records into collections, and drops them.
pub trait Producer: Send + Sync {
    /// Submits a batch: after any crash all of it is there, or nothing. Returns once it is committed
    /// (under `Durability::Sync`: durable), with the SeqIds position by position, also where ids
    /// occur twice. An empty batch returns an empty list and writes nothing.
    ///
    /// # Errors
    /// [`Error::BatchSize`](crate::Error::BatchSize) and [`Error::Limit`](crate::Error::Limit) over
    /// [`max_batch_size`](Self::max_batch_size) and [`max_batch_bytes`](Self::max_batch_bytes),
    /// [`Error::Invalid`](crate::Error::Invalid) for a record that cannot be encoded: nothing was
    /// written. Otherwise as [`Log::append`](crate::Log::append).
    fn submit_embeddings(&self, collection: StreamId, records: &[OperationRecord]) -> Result<Vec<SeqId>> {
        self.submit_with(collection, records, &SubmitTerms::new())
    }

    /// Submits a batch of one.
    ///
    /// # Errors
    /// As [`submit_embeddings`](Self::submit_embeddings).
    fn submit_embedding(&self, collection: StreamId, record: &OperationRecord) -> Result<SeqId> {
        let seq_ids = self.submit_embeddings(collection, std::slice::from_ref(record))?;
        Ok(seq_ids.first().copied().unwrap_or_default())
    }

    /// As [`submit_embeddings`](Self::submit_embeddings), on terms: safe to retry, or only if a
    /// condition holds. An empty batch writes nothing on any terms.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict), [`Error::IdConflict`](crate::Error::IdConflict),
    /// [`Error::OldSequence`](crate::Error::OldSequence): nothing was written.
    /// [`Error::Purged`](crate::Error::Purged) if a condition asks for what was purged. Otherwise as
    /// [`submit_embeddings`](Self::submit_embeddings).
    fn submit_with(
        &self,
        collection: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<Vec<SeqId>>;

    /// As [`submit_with`](Self::submit_with) without the wait: what is returned can be awaited in
    /// any executor. Blocks only where the log's queue is full, and, on
    /// [`Condition::NoneWritten`](super::Condition::NoneWritten), while it looks at the ids.
    ///
    /// # Errors
    /// As [`submit_with`](Self::submit_with), here or from what is returned.
    fn submit_async(
        &self,
        collection: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<PendingSubmit>;

    /// The most records of a batch: a constant of the backend, at least 100,000 unless it was opened
    /// with less.
    fn max_batch_size(&self) -> usize;

    /// The most bytes of a batch as it is stored.
    fn max_batch_bytes(&self) -> u64;

    /// Drops what **every** registered cursor of the collection has passed. Without a cursor it drops
    /// nothing and returns `None`; otherwise, up to where the collection is purged now.
    ///
    /// # Errors
    /// The log's.
    fn purge_log(&self, collection: StreamId) -> Result<Option<PurgePoint>>;

    /// Drops the collection's records up to a SeqId.
    ///
    /// # Errors
    /// [`Error::Held`](crate::Error::Held) if a cursor stands before it; nothing was dropped.
    fn purge_upto(&self, collection: StreamId, seq_id: SeqId) -> Result<PurgePoint>;

    /// Drops the collection with its cursors. Its numbers are not given out again; who submits to it
    /// afterwards goes on where they ended.
    ///
    /// # Errors
    /// The log's.
    fn delete_log(&self, collection: StreamId) -> Result<()>;
}

/// Who is called with the records of collections, and remembers how far they were applied.
pub trait Consumer: Send + Sync {
    /// Calls `consume` with the collection's records of `start < SeqId <= end`, in SeqId order, each
    /// at least once, in batches, one call at a time, without a gap between what was there and what
    /// commits later. It sees only what is committed. See [`ConsumeOptions`] for the rest.
    ///
    /// A callback that fails gets the same records again; after a number of tries the subscription
    /// stops with the error kept in its status. It never skips a record. A record that is not an
    /// operation record stops it in the same way, at once.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if `start >= end`, if `start` is beyond the newest
    /// SeqId, or the id is in use; [`Error::Purged`](crate::Error::Purged) if it is below the purge
    /// point, which a backend may also tell by stopping the subscription.
    fn subscribe(
        &self,
        collection: StreamId,
        options: ConsumeOptions,
        consume: Consume,
    ) -> Result<SubscriptionId>;

    /// Ends a subscription. When it returns, the callback is not running and will not run again;
    /// from inside the callback itself it returns at once, and no further call follows. An unknown
    /// id is no error.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn unsubscribe(&self, id: &SubscriptionId) -> Result<()>;

    /// How a subscription is doing; `None` if there is none of that id.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn subscription(&self, id: &SubscriptionId) -> Result<Option<SubscriptionStatus>>;

    /// The start that lies before every record: 0.
    fn min_seqid(&self) -> SeqId {
        SeqId(0)
    }

    /// The largest SeqId a record can have: `i64::MAX`.
    fn max_seqid(&self) -> SeqId {
        SeqId::MAX
    }

    /// Stores durably that the consumer of this name has applied the collection up to a SeqId, and
    /// registers it if it is new. From then on no purge passes it. Forward only.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) beyond the newest SeqId or behind where it stands.
    fn advance_cursor(&self, collection: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor>;

    /// Moves a cursor back, not below what was purged.
    ///
    /// # Errors
    /// [`Error::NoCursor`](crate::Error::NoCursor), [`Error::Purged`](crate::Error::Purged),
    /// [`Error::Invalid`](crate::Error::Invalid) if that would be forward.
    fn rollback_cursor(&self, collection: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor>;

    /// Forgets a cursor; purges no longer wait for it. False if there was none.
    ///
    /// # Errors
    /// The log's.
    fn drop_cursor(&self, collection: StreamId, name: &str) -> Result<bool>;

    /// Every cursor of a collection.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn cursors(&self, collection: StreamId) -> Result<Vec<Cursor>>;

    /// How many records of the collection are behind this cursor: not yet applied. Without such a
    /// cursor: all there are.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn backlog(&self, collection: StreamId, name: &str) -> Result<u64>;

    /// The collections with at least so many records behind the cursor of that name.
    ///
    /// # Errors
    /// The log's.
    fn backlogs(&self, name: &str, at_least: u64) -> Result<Vec<Backlog>>;
}

/// A whole backend: producer, consumer, and what its operator does with it.
pub trait Ingest: Producer + Consumer {
    /// Where it stands.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    fn status(&self) -> Result<IngestStatus>;

    /// Ends every subscription and drops every collection with its cursors. Numbers go on: neither
    /// SeqIds nor log_offsets are given out again. What others submit meanwhile may stay.
    ///
    /// # Errors
    /// The log's; some of the collections may be dropped then, and calling it again goes on.
    fn reset(&self) -> Result<()>;

    /// Ends every subscription, commits what is on its way and closes the log. Twice is no error.
    ///
    /// # Errors
    /// What kept it from closing cleanly; it is closed all the same.
    fn close(&self) -> Result<()>;
}

/// Where a backend stands.
#[derive(Debug, Clone)]
pub struct IngestStatus {
    /// The newest committed SeqId; 0 if there is none.
    pub newest_seq_id: SeqId,
    /// Every subscription that was not ended by `unsubscribe`.
    pub subscriptions: Vec<SubscriptionStatus>,
    /// Every cursor of every collection.
    pub cursors: Vec<Cursor>,
}
