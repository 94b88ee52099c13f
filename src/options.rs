//! How a log is opened.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::{MAX_BATCH_RECORDS, MAX_BODY_BYTES, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES};

/// What "committed" means: when an append returns, and when readers see its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Committed means synced: it survives a power cut. Appends that wait at the same time
    /// share one sync.
    #[default]
    Sync,
    /// Committed means handed to the operating system: it survives a crash of the process.
    /// What was committed is synced within about this interval.
    SyncEvery(Duration),
    /// Committed means handed to the operating system. The log itself syncs when a segment is
    /// full, at a checkpoint and when it is closed.
    Buffered,
}

/// How readers get at the bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// Through a memory map, without a copy. A disk that fails under a mapped page ends the
    /// process with SIGBUS; that is the operating system's only way to report it.
    #[default]
    Mapped,
    /// With positioned reads into memory of our own: a failing disk is an error value.
    Positioned,
}

/// Who does what must not hold up a commit: readies the next segment, writes checkpoints and indexes,
/// syncs in intervals, commits what nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upkeep {
    /// Two threads of the log.
    #[default]
    Threads,
    /// Whoever calls [`Log::tend`](crate::Log::tend): the log starts no thread, and the same calls make
    /// the same accesses to its storage, in the same order. What was submitted is committed by the next
    /// append, by a wait for it, by `tend` or by `close`.
    Caller,
}

/// Options of a log. Defaults suit a server with some tens of GiB of log.
///
/// ```
/// use stratalog::{Durability, Options};
/// # let dir = tempfile::tempdir()?;
/// let log = Options::new()
///     .durability(Durability::Buffered)
///     .segment_bytes(16 << 20)
///     .open(dir.path())?;
/// # log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) read_mode: ReadMode,
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) max_record_bytes: u64,
    pub(crate) max_batch_bytes: u64,
    pub(crate) max_batch_records: u64,
    pub(crate) queue_bytes: u64,
    pub(crate) idle_witness: Duration,
    pub(crate) upkeep: Upkeep,
    pub(crate) recycle: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::Sync,
            read_mode: ReadMode::Mapped,
            segment_bytes: 64 << 20,
            checkpoint_bytes: 32 << 20,
            max_record_bytes: 16 << 20,
            max_batch_bytes: 64 << 20,
            max_batch_records: MAX_BATCH_RECORDS as u64,
            queue_bytes: 64 << 20,
            idle_witness: Duration::from_millis(50),
            upkeep: Upkeep::Threads,
            recycle: false,
        }
    }
}

impl Options {
    /// The defaults, named at each method.
    #[must_use]
    pub fn new() -> Self {
        Options::default()
    }

    /// What an acknowledged append survives. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How readers get at the bytes. Default: [`ReadMode::Mapped`].
    #[must_use]
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// Bytes preallocated for a full-sized segment; a batch that is larger gets a segment of
    /// its own size. The first segments of a life are smaller. Default: 64 MiB; from 64 KiB to 16 GiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// A checkpoint is written after about this many bytes: the most that recovery has to scan
    /// (more, if the log has so many streams that the checkpoint itself is large).
    /// Default: 32 MiB; at least 64 KiB.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// The largest record, in bytes. Default: 16 MiB; at most 256 MiB.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: u64) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// The largest batch as stored, in bytes. Default: 64 MiB; at most 256 MiB.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// The most records in a batch. Default, and the most: 1,048,576.
    #[must_use]
    pub fn max_batch_records(mut self, records: u64) -> Self {
        self.max_batch_records = records;
        self
    }

    /// Bytes of batches that may wait for their commit; beyond it `append` and `submit` wait and
    /// `try_submit` fails. A batch larger than this passes when nothing else waits. Default: 64 MiB.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// After this long without an append the log writes down that all of it is durable, so that
    /// damage to its last records can be told from a torn tail. Default: 50 ms; at least 1 ms.
    #[must_use]
    pub fn idle_witness(mut self, pause: Duration) -> Self {
        self.idle_witness = pause;
        self
    }

    /// Who does the work that no call waits for. Default: [`Upkeep::Threads`].
    #[must_use]
    pub fn upkeep(mut self, upkeep: Upkeep) -> Self {
        self.upkeep = upkeep;
        self
    }

    /// Makes the next segments of the files of freed ones, instead of removing those and filling new ones with
    /// zeros: then each byte is written to the disk once, and no zeros are on their way beside a sync. Takes
    /// effect under [`Durability::Sync`]; elsewhere no zeros are written anyway. Default: no.
    ///
    /// No more of them are kept than four, or than there are segments behind the first: a log that is always
    /// purged to its newest segment keeps none. Until it is written over, what was purged or deleted stays in
    /// them, and behind the end of the segments made of them: where it must leave the disk, leave this off. A
    /// file is used again only if it has one name and nobody, here or in another process, has it open through
    /// this library; a copy made by other means while its segment is being freed may be of both its uses, and is
    /// then found damaged. Needs ext4, xfs, f2fs or tmpfs, and no reader that comes by the directory over a
    /// network or out of a virtual machine.
    #[must_use]
    pub fn recycle(mut self, recycle: bool) -> Self {
        self.recycle = recycle;
        self
    }

    pub(crate) fn recycles(&self) -> bool {
        self.recycle && self.durability == Durability::Sync
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let ranges = [
            ("segment_bytes", self.segment_bytes, MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            ("checkpoint_bytes", self.checkpoint_bytes, 64 << 10, u64::MAX),
            ("max_record_bytes", self.max_record_bytes, 1, MAX_BODY_BYTES as u64),
            ("max_batch_bytes", self.max_batch_bytes, 4096, MAX_BODY_BYTES as u64),
            ("max_batch_records", self.max_batch_records, 1, MAX_BATCH_RECORDS as u64),
            ("queue_bytes", self.queue_bytes, 4096, 16 << 30),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(Error::Invalid(format!("{name}: expected {least} to {most}, found {value}")));
            }
        }
        if self.idle_witness < Duration::from_millis(1) {
            return Err(Error::Invalid(format!(
                "idle_witness: expected at least 1 ms, found {:?}",
                self.idle_witness
            )));
        }
        if self.durability == Durability::SyncEvery(Duration::ZERO) {
            return Err(Error::Invalid(
                "SyncEvery: expected an interval above zero, found 0; use Durability::Sync".into(),
            ));
        }
        Ok(())
    }
}
