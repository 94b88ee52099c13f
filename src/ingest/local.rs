//! The contract over a log and a hub of this process.

mod consume;
mod lifetime;
mod submit;
mod written;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::options::IngestOptions;
use crate::error::Result;
use crate::hub::{Hub, HubOptions};
use crate::ids::SeqId;
use crate::log::Log;
use crate::storage::{MemoryStorage, Storage};

pub use consume::NotARecord;

/// [`Ingest`](super::Ingest) over a log of this process: in a directory, in memory, or on any storage.
///
/// Clones are handles on the same one; it is closed when [`close`](super::Ingest::close) is called or
/// the last handle goes. A callback that holds a handle keeps it open: unsubscribe it, or close.
///
/// ```
/// use stratalog::ingest::{ConsumeOptions, Consumer, Ingest, LocalIngest, OperationRecord, Producer};
/// use stratalog::{Delivery, SeqId, StreamId};
///
/// let ingest = LocalIngest::ephemeral()?; // or LocalIngest::open(directory)
/// let collection = StreamId::from_u128(7);
/// let inline = ConsumeOptions::new().start(SeqId(0)).delivery(Delivery::Inline);
/// ingest.subscribe(collection, inline, Box::new(|records| {
///     for one in records {
///         println!("{} {}", one.seq_id, one.record.id());
///     }
///     Ok(()) // they were taken; an error: offer them again
/// }))?;
/// let seq_ids = ingest.submit_embeddings(collection, &[OperationRecord::add("a").embedding([0.5])])?;
/// assert_eq!(seq_ids, [SeqId(1)]); // and the consumer has been called with it
/// ingest.close()?;
/// # Ok::<(), stratalog::Error>(())
/// ```
#[derive(Clone)]
pub struct LocalIngest {
    hub: Hub,
    options: Arc<IngestOptions>,
}

impl LocalIngest {
    /// Opens what is in `directory` with default options: made if it isn't there, recovered if it was
    /// not closed. See [`IngestOptions`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<LocalIngest> {
        IngestOptions::new().open(directory)
    }

    /// One in memory, which forgets everything when it is closed.
    ///
    /// # Errors
    /// As [`IngestOptions::ephemeral`].
    pub fn ephemeral() -> Result<LocalIngest> {
        IngestOptions::new().ephemeral()
    }

    /// The log underneath: readers, figures, checkpoints. What is appended to it past this is
    /// delivered as well, if it is an operation record.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.hub.log()
    }

    /// The hub underneath: subscriptions to bytes, and reading at one's own pace,
    /// [`Hub::pull`](crate::Hub::pull).
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Fails once it is closed, and not when it is poisoned: what is there can still be read.
    fn check_open(&self) -> Result<()> {
        self.log().reader(SeqId(1)..SeqId(1)).map(drop)
    }
}

impl IngestOptions {
    /// Opens what is in `directory`.
    ///
    /// # Errors
    /// As [`Options::open`](crate::Options::open).
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<LocalIngest> {
        self.over(self.log.open(directory)?)
    }

    /// One in memory, which forgets everything when it is closed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for options out of range.
    pub fn ephemeral(&self) -> Result<LocalIngest> {
        self.open_storage(Arc::new(MemoryStorage::new()))
    }

    /// Opens what is on a storage.
    ///
    /// # Errors
    /// As [`Options::open_storage`](crate::Options::open_storage).
    pub fn open_storage(&self, storage: Arc<dyn Storage>) -> Result<LocalIngest> {
        self.over(self.log.open_storage(storage)?)
    }

    /// One over a log that is open already, with the options it was opened with. Of a log opened for
    /// reading only, collections can be subscribed to, and not written.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn over(&self, log: Log) -> Result<LocalIngest> {
        let hub = Hub::new(log, HubOptions::new())?;
        Ok(LocalIngest { hub, options: Arc::new(self.clone()) })
    }
}

impl fmt::Debug for LocalIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIngest").field("log", self.log()).finish_non_exhaustive()
    }
}
