//! An embedded, segmented, append-only write-ahead log: the ingest layer of a vector database.
//!
//! Producers append batches of records to streams; each record gets a [`SeqId`], ascending over
//! the whole log, and a [`LogOffset`], dense in its stream. A batch is durable when its append
//! returns, all of it or nothing survives a crash, and readers see it, in order, from the moment
//! it is committed. A [`Hub`] calls subscribers; cursors remember how far each consumer came; what all
//! of them have passed can be purged. [`ingest`] is what a vector database needs on top.

mod batch;
pub mod check;
mod error;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod ids;
pub mod ingest;
mod log;
mod options;
mod segment;
pub mod storage;
mod sync;

pub use batch::Batch;
pub use error::{Corruption, Error, Result};
pub use format::{FORMAT_VERSION, MAX_BATCH_RECORDS, MAX_BODY_BYTES, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES};
pub use hub::{
    ConsumeError, Delivery, GiveUp, Hub, HubOptions, Pull, Start, SubscribeOptions, SubscriptionId,
    SubscriptionState, SubscriptionStatus,
};
pub use ids::{LogOffset, ParseStreamIdError, ProducerId, SeqId, StreamId};
pub use log::{
    Appended, Backlog, CheckpointStats, CommitCounters, Cursor, DirectoryStats, FileStats, Holder, Log,
    LogStats, PendingAppend, PurgePoint, Reader, Record, RecordRef, RecoveryReport, SegmentLife,
    SegmentStats, StreamStats, Terms, TornTail,
};
pub use options::{Durability, Options, ReadMode, Upkeep};

/// The program in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
