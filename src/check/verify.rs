//! Reading every byte of a log.

use super::examine::examine;
use super::finding::{Finding, Progress, Severity};
use crate::error::Result;
use crate::ids::SeqId;
use crate::storage::Storage;

/// What [`verify`] found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files of the log.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// Good frames in them.
    pub frames: u64,
    /// Good records in the frames.
    pub records: u64,
    /// Good control records, which have SeqIds as well: cursors moved, purges, freed segments.
    pub controls: u64,
    /// The newest SeqId, damaged or not; 0 if there is none.
    pub last_seq_id: SeqId,
    /// Every SeqId up to here is known to be durable, by what the files themselves say.
    pub durable: SeqId,
    /// Whatever there is to tell, sorted by file and position.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// True if nothing is wrong: an unfinished last commit and the traces of an earlier repair are
    /// not wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

/// Reads every byte of every file of the log in `storage` and lists all damage: with file and
/// position, what was expected there and what was found, and which records it hits. Writes nothing
/// and takes no lock; a writer may be at work meanwhile.
///
/// ```
/// # use stratalog::{Batch, Options, StreamId, check, storage::MemoryStorage};
/// # use std::sync::Arc;
/// let storage = MemoryStorage::new();
/// let log = Options::new().open_storage(Arc::new(storage.clone()))?;
/// log.append(StreamId::from_u128(1), &Batch::one(b"hello"))?;
/// let report = check::verify(&storage, &mut |_| {})?;
/// assert!(report.is_clean());
/// assert_eq!(report.records, 1);
/// # Ok::<(), stratalog::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotALog`](crate::Error::NotALog), and the system's where the directory can't be read.
/// Damage and files that can't be read are findings and no errors.
pub fn verify(storage: &dyn Storage, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport> {
    let found = examine(storage, progress)?;
    Ok(VerifyReport {
        files: found.counts.files,
        bytes: found.counts.bytes,
        segments: found.counts.segments,
        frames: found.counts.frames,
        records: found.counts.records,
        controls: found.counts.controls,
        last_seq_id: SeqId(found.end.saturating_sub(1)),
        durable: SeqId(found.durable),
        findings: found.findings,
    })
}
