//! Many segments, commits, streams, checkpoints: the log itself. It knows nothing of what the
//! records mean.

mod alone;
mod background;
mod checkpoints;
mod commit;
mod cursors;
mod decision;
mod directory;
mod follow;
#[cfg(test)]
mod last_numbers;
mod life;
mod lifetime;
mod listen;
mod open;
mod pending;
pub(crate) mod producers;
mod purge;
mod reader;
mod recovery;
mod recycle;
pub(crate) mod registry;
mod replay;
mod spare;
mod stats;
mod streams;
mod synced;
mod tail;
mod terms;
mod watch;
mod write;

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

pub use cursors::{Backlog, Cursor};
pub use life::{Holder, SegmentLife};
pub(crate) use listen::CommitListener;
pub use pending::{Appended, PendingAppend};
pub use purge::PurgePoint;
pub use reader::{Reader, Record, RecordRef};
pub use recovery::{RecoveryReport, TornTail};
pub use stats::{
    CheckpointStats, CommitCounters, DirectoryStats, FileStats, LogStats, SegmentStats, StreamStats,
};
pub use terms::Terms;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::format::checkpoint::StreamTable;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::options::Options;
use crate::segment::{Home, Segment};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{Condvar, Mutex, RwLock};
use commit::WhenFull;
use registry::Registry;
use synced::Synced;
use tail::Tail;
use watch::{Signal, Watch};

/// A log: appended to by many threads, read by many, each in its own time.
///
/// Clones are handles on the same log; it is closed when [`close`](Log::close) is called or the
/// last handle goes.
///
/// ```
/// use stratalog::{Batch, Log, SeqId, StreamId};
/// # let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path())?;
/// let stream = StreamId::from_u128(1);
/// let appended = log.append(stream, &Batch::one(b"hello"))?;
/// assert_eq!(appended.first_seq_id, SeqId(1));
/// assert_eq!(log.record(SeqId(1))?.unwrap().payload, &b"hello"[..]);
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

/// Owned by the handles alone, so that the last one to go closes the log.
struct Shared {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// `durable <= newest < tail.next_seq`, where `newest` is what readers are shown; `committed` follows it.
/// Under `Durability::Sync` durable moves first, and `newest <= durable`.
#[derive(Debug)]
pub(crate) struct Inner {
    options: Options,
    home: Arc<Home>,
    report: RecoveryReport,
    tail: Mutex<Tail>,
    /// The queue has room again.
    room: Condvar,
    /// There is work for the committer.
    work: Condvar,
    /// Replaced as a whole, so that readers take a snapshot and no lock while they read.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    committed: AtomicU64,
    durable: AtomicU64,
    tail_moved: Watch,
    spare: Mutex<Option<spare::Spare>>,
    kept: Mutex<recycle::Kept>,
    /// Somebody waits for it while it is made.
    spare_wanted: AtomicBool,
    duty: Signal,
    syncing: Mutex<Synced>,
    checkpointing: Mutex<()>,
    checkpoint_slot: Mutex<CheckpointSlot>,
    since_checkpoint: AtomicU64,
    checkpoint_due: AtomicU64,
    hints: RwLock<Hints>,
    registry: RwLock<Registry>,
    /// Moves with every purge, for readers that hold none of the above.
    purges: AtomicU64,
    /// Held by whoever may set a cursor back or purge: one must not miss the other.
    holding: Mutex<()>,
    /// Held by whoever frees segments: those whose files could not be removed yet.
    freeing: Mutex<Vec<Arc<Segment>>>,
    /// Sealed in this life, and without an index file yet.
    unindexed: Mutex<Vec<Arc<Segment>>>,
    counters: Counters,
    /// What went wrong in the background and did not stop the log.
    background_error: Mutex<Option<Error>>,
    follow: Option<Mutex<replay::Start>>,
    listeners: listen::Listeners,
}

/// Where a stream's records may be, as of the last checkpoint.
#[derive(Debug, Default)]
struct Hints {
    table: StreamTable,
    /// Streams that are not in the table have nothing before this.
    next_seq: u64,
}

/// What the two checkpoint files hold.
#[derive(Debug, Default)]
struct CheckpointSlot {
    generation: u64,
    /// Where a scan from each would begin; 0 while it does not exist or is of no use.
    scan_bases: [u64; 2],
}

#[derive(Debug, Default)]
struct Counters {
    syncs: AtomicU64,
    groups: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Log {
    /// Opens the log in `directory` with default options: for writing, made if it isn't there,
    /// recovered if it was not closed. See [`Options`].
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody has it open for writing, [`Error::NotALog`] if something
    /// else lives there, [`Error::Version`] if it is newer than this build, [`Error::Corrupt`] if
    /// committed bytes behind the checkpoint are damaged, [`Error::Io`]. Nothing is changed then.
    pub fn open(directory: impl AsRef<std::path::Path>) -> Result<Log> {
        Options::default().open(directory)
    }

    /// Opens the log in `directory` for reading only, also while another process writes: takes no
    /// lock, changes nothing, recovers nothing. It shows what is known to be committed, and under
    /// `Durability::Sync` that is what is known to be durable: the last commit shows once another
    /// follows or the writer has been idle for a moment. [`refresh`](Log::refresh) shows more.
    ///
    /// # Errors
    /// As [`open`](Log::open), but for the lock.
    pub fn open_read_only(directory: impl AsRef<std::path::Path>) -> Result<Log> {
        Options::default().open_read_only(directory)
    }

    /// Appends a batch to a stream and blocks until it is committed. All of it is in the log
    /// after any crash, or nothing. An empty batch writes nothing.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Exhausted`], [`Error::Closed`]: nothing was written.
    /// [`Error::Io`]: it is not in the log as long as this log stays open; a crash soon after may
    /// still bring it back, whole. [`Error::Poisoned`]: only opening the log again can tell.
    pub fn append(&self, stream: StreamId, batch: &Batch) -> Result<Appended> {
        self.inner().append(stream, batch, &Terms::default())
    }

    /// As [`append`](Log::append), if the terms hold.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::Conflict`], [`Error::OldSequence`], with nothing written, and as
    /// [`append`](Log::append).
    pub fn append_on(&self, terms: &Terms, stream: StreamId, batch: &Batch) -> Result<Appended> {
        self.inner().append(stream, batch, terms)
    }

    /// As [`append`](Log::append) without the wait: the outcome is waited for, or awaited, later.
    /// Blocks only while the queue is full. Where nobody waits for a sync (not `Durability::Sync`) the
    /// batch may be committed when this returns.
    ///
    /// # Errors
    /// As [`append`](Log::append): before anything is written, or instead of the commit at once.
    pub fn submit(&self, stream: StreamId, batch: &Batch) -> Result<PendingAppend> {
        self.inner().submit(stream, batch, WhenFull::Wait, &Terms::default())
    }

    /// As [`submit`](Log::submit), if the terms hold now: batches that were submitted before and are
    /// not committed yet count.
    ///
    /// # Errors
    /// As [`append_on`](Log::append_on) and [`submit`](Log::submit).
    pub fn submit_on(&self, terms: &Terms, stream: StreamId, batch: &Batch) -> Result<PendingAppend> {
        self.inner().submit(stream, batch, WhenFull::Wait, terms)
    }

    /// As [`submit`](Log::submit), but fails where that would block.
    ///
    /// # Errors
    /// [`Error::QueueFull`], and as [`submit`](Log::submit).
    pub fn try_submit(&self, stream: StreamId, batch: &Batch) -> Result<PendingAppend> {
        self.inner().submit(stream, batch, WhenFull::Fail, &Terms::default())
    }

    /// Makes everything committed so far durable, whatever the durability.
    ///
    /// # Errors
    /// The failed sync; the log is then poisoned.
    pub fn sync(&self) -> Result<()> {
        self.inner().check_running()?;
        self.inner().sync_all()
    }

    /// The newest committed SeqId; 0 if there is none.
    #[must_use]
    pub fn committed(&self) -> SeqId {
        SeqId(self.inner().newest())
    }

    /// Every SeqId up to this one survives a power cut.
    #[must_use]
    pub fn durable(&self) -> SeqId {
        SeqId(self.inner().durable.load(Ordering::Acquire))
    }

    /// One record; `None` if its SeqId is not committed yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is damaged, [`Error::Purged`] if its stream was purged,
    /// [`Error::Gone`] if its segment was freed, or a repair cut it out.
    pub fn record(&self, seq_id: SeqId) -> Result<Option<Record>> {
        self.inner().check_open()?;
        self.inner().record(seq_id)
    }

    /// One record of a stream; `None` if its log_offset is not committed yet.
    ///
    /// # Errors
    /// As [`record`](Log::record).
    pub fn record_at(&self, stream: StreamId, log_offset: LogOffset) -> Result<Option<Record>> {
        let mut reader = self.stream_reader(stream, log_offset..=log_offset)?;
        reader.next_record()
    }

    /// Reads the whole log, or a range of it, in order.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn reader(&self, range: impl RangeBounds<SeqId>) -> Result<Reader> {
        self.inner().check_open()?;
        Ok(Reader::of_log(Arc::clone(self.inner()), &range))
    }

    /// Reads one stream, or a range of its log_offsets, in order.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stream_reader(&self, stream: StreamId, range: impl RangeBounds<LogOffset>) -> Result<Reader> {
        self.inner().check_open()?;
        Ok(Reader::of_stream(Arc::clone(self.inner()), stream, &range))
    }

    /// Reads what one stream has in a range of SeqIds, in order.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stream_reader_by_seq_id(
        &self,
        stream: StreamId,
        range: impl RangeBounds<SeqId>,
    ) -> Result<Reader> {
        self.inner().check_open()?;
        Ok(Reader::of_stream_by_seq(Arc::clone(self.inner()), stream, &range))
    }

    /// Writes a checkpoint now: recovery after a crash begins behind what is committed here.
    ///
    /// # Errors
    /// The system's; an earlier checkpoint then stays in force.
    pub fn checkpoint(&self) -> Result<()> {
        self.inner().check_running()?;
        self.inner().checkpoint(false)
    }

    /// In a log opened for reading only, looks for what was committed since; true if anything was.
    ///
    /// # Errors
    /// As [`open_read_only`](Log::open_read_only).
    pub fn refresh(&self) -> Result<bool> {
        self.inner().check_open()?;
        self.inner().refresh(replay::Verdict::Peek)
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner().report
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner().options
    }

    /// Commits what was submitted, makes all of it durable, leaves a clean checkpoint and gives
    /// the directory free. Every later call on any handle fails with [`Error::Closed`]. Records
    /// and readers that are held stay good for what they can already see.
    ///
    /// # Errors
    /// What kept the log from being closed cleanly; it is closed all the same, and the next open
    /// recovers it. Closing twice is no error.
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("storage", &self.inner().home.storage.name())
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}
