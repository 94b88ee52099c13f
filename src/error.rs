//! What can go wrong, split where a caller would act differently.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::ids::{LogOffset, ProducerId, SeqId, StreamId};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the log. Cheap to clone: one failed sync is told to every waiter.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// An argument is over a limit. Nothing was written.
    Limit {
        /// What is limited, in words: "record bytes".
        what: &'static str,
        /// What was asked for.
        size: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// More embeddings were submitted at once than a batch may have. Nothing was written.
    BatchSize {
        /// How many were submitted.
        size: u64,
        /// The most that may be.
        limit: u64,
    },
    /// An option or argument makes no sense. Nothing was written.
    Invalid(String),
    /// The batch was to be written only if none of certain ids had been written since, and one was.
    /// Nothing was written. The newest record of that id that stands in the way is named.
    IdConflict {
        /// The stream.
        stream: StreamId,
        /// The id.
        id: String,
        /// Where its record stands in the stream.
        log_offset: LogOffset,
        /// Where its record stands in the log.
        seq_id: SeqId,
    },
    /// The queue of batches that wait for their commit is full, and the caller asked not to wait.
    QueueFull {
        /// Bytes that wait already.
        queued_bytes: u64,
        /// The most that may wait: [`Options::queue_bytes`](crate::Options::queue_bytes).
        limit: u64,
    },
    /// The batch was to get a certain SeqId, and another one is due. Nothing was written.
    OutOfTurn {
        /// The SeqId its first record was to get.
        expected: SeqId,
        /// The one it would have got.
        next: SeqId,
    },
    /// The stream's next log_offset was to be another one: somebody else appended to it. Nothing
    /// was written.
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The log_offset the first record was to get.
        expected: LogOffset,
        /// The one it would have got.
        next: LogOffset,
    },
    /// The producer has appended later batches than this one. Nothing was written.
    OldSequence {
        /// The producer.
        producer: ProducerId,
        /// Its newest batch, by its own count.
        last: u64,
        /// The one that was to be appended.
        found: u64,
    },
    /// Records that a cursor has not passed were to be purged. Nothing was.
    Held {
        /// The stream.
        stream: StreamId,
        /// The name of the cursor that stands furthest back.
        cursor: String,
        /// Where it stands.
        at: SeqId,
        /// Up to where all was to be purged.
        asked: SeqId,
    },
    /// The stream has no such cursor.
    NoCursor {
        /// The stream.
        stream: StreamId,
        /// The name that was asked for.
        name: String,
    },
    /// The last SeqId or log_offset has been given out. Nothing was written.
    Exhausted,
    /// The log was closed.
    Closed,
    /// An earlier failure makes it impossible to say what is on the disk, so nothing more is
    /// acknowledged. Close the log and open it again: recovery finds the truth. A batch that gets
    /// this error may be in the log, and readers may have seen it.
    Poisoned(Arc<Error>),
    /// Another process, or another `Log` of this process, has this directory open for writing.
    Locked {
        /// The directory.
        directory: String,
        /// The holder's process id, where its lock file names one.
        pid: Option<u32>,
    },
    /// This process was forked from the one that opened the log; the child must not write to it.
    Forked {
        /// The process that opened the log.
        opened_by: u32,
    },
    /// The directory exists and holds something that is not a log.
    NotALog {
        /// The directory.
        directory: String,
        /// What was found in it.
        found: String,
    },
    /// A file was written by a newer version of this crate. Nothing was touched.
    Version {
        /// The file.
        file: String,
        /// The version it names.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// Committed bytes are damaged or missing.
    Corrupt(Box<Corruption>),
    /// The stream was purged, and what was asked for begins at or below the point.
    Purged {
        /// The stream.
        stream: StreamId,
        /// Everything of the stream up to this SeqId is gone.
        seq_id: SeqId,
        /// The log_offset of the last record that is gone.
        log_offset: LogOffset,
    },
    /// The records were dropped on purpose, by a purge or a repair, and will not come back.
    Gone {
        /// The first SeqId that is gone.
        first: SeqId,
        /// The next one that is there, or would be.
        next: SeqId,
    },
    /// A call of the operating system failed.
    Io {
        /// What was being done: "write", "fdatasync".
        operation: &'static str,
        /// The file or directory.
        file: String,
        /// The system's own error.
        source: Arc<io::Error>,
    },
}

/// Where committed bytes are damaged, and how that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub file: String,
    /// Bytes from the start of the file.
    pub position: u64,
    /// What should have stood there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl Error {
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Error::Io { operation, file: file.into(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(
        file: impl Into<String>,
        position: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Error::Corrupt(Box::new(Corruption {
            file: file.into(),
            position,
            expected: expected.into(),
            found: found.into(),
        }))
    }

    /// The same failure as seen by everything that comes after it.
    pub(crate) fn poisoned(&self) -> Error {
        match self {
            Error::Poisoned(_) => self.clone(),
            other => Error::Poisoned(Arc::new(other.clone())),
        }
    }

    /// True for damage to committed bytes.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corrupt(_))
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn stream_offset(
        file: &str,
        position: u64,
        stream: StreamId,
        expected: LogOffset,
        found: LogOffset,
    ) -> Self {
        Error::corrupt(
            file,
            position,
            format!("log_offset {expected} of stream {stream}"),
            format!("log_offset {found}"),
        )
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is damaged at position {}: expected {}, found {}",
            self.file, self.position, self.expected, self.found
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Limit { what, size, limit } => {
                write!(f, "{what}: {size} is over the limit of {limit}; nothing was written")
            }
            // The first sentence is one that callers of Chroma's queue look for.
            Error::BatchSize { size, limit } => write!(
                f,
                "Cannot submit more than {} embeddings at once. Expected at most that many, found {}; \
                 nothing was written, submit them in several batches",
                Thousands(*limit),
                Thousands(*size)
            ),
            Error::Invalid(why) => f.write_str(why),
            Error::IdConflict { stream, id, log_offset, seq_id } => write!(
                f,
                "expected that nobody wrote the id {id:?} meanwhile, found it at log_offset {log_offset} \
                 (SeqId {seq_id}) of stream {stream}; nothing was written, read up to there and decide anew"
            ),
            Error::QueueFull { queued_bytes, limit } => write!(
                f,
                "the queue is full: {queued_bytes} bytes wait for their commit, at most {limit} may; \
                 wait for some of them, or raise queue_bytes"
            ),
            Error::OutOfTurn { expected, next } => write!(
                f,
                "the batch was to begin at SeqId {expected}, the next one due is {next}: somebody else \
                 appended, or an earlier batch failed; nothing was written"
            ),
            Error::Conflict { stream, expected, next } => write!(
                f,
                "the batch was to get log_offset {expected} of stream {stream}, where {next} is due: \
                 somebody else appended to it; nothing was written"
            ),
            Error::OldSequence { producer, last, found } => write!(
                f,
                "producer {producer} has appended its batch {last} already, found {found}: batches are \
                 counted upwards, and only the newest can be tried again; nothing was written"
            ),
            Error::Held { stream, cursor, at, asked } => write!(
                f,
                "stream {stream} can't be purged up to SeqId {asked}: cursor {cursor:?} stands at {at}; \
                 advance it, drop it, or purge less"
            ),
            Error::NoCursor { stream, name } => {
                write!(f, "stream {stream} has no cursor {name:?}; advance it once to make it")
            }
            Error::Purged { stream, seq_id, log_offset } => write!(
                f,
                "stream {stream} was purged up to SeqId {seq_id} (log_offset {log_offset}); \
                 what is left begins behind that"
            ),
            Error::Exhausted => f.write_str("the last SeqId or log_offset has been given out"),
            Error::Closed => f.write_str("the log is not running: it was closed"),
            Error::Poisoned(cause) => write!(
                f,
                "the log stopped after a failure and acknowledges nothing more ({cause}); \
                 close it and open it again to recover what is on the disk"
            ),
            Error::Locked { directory, pid: Some(pid) } => write!(
                f,
                "{directory} is open for writing in process {pid}; a log has one writer: \
                 stop that process, or open read-only"
            ),
            Error::Locked { directory, pid: None } => write!(
                f,
                "{directory} is open for writing in another process; a log has one writer: \
                 stop that process, or open read-only"
            ),
            Error::Forked { opened_by } => write!(
                f,
                "the log was opened by process {opened_by} and this is a fork of it; \
                 open logs after the fork"
            ),
            Error::NotALog { directory, found } => write!(
                f,
                "{directory} is not a log: expected an empty directory or files of a log, found {found}; \
                 nothing was touched, choose another directory"
            ),
            Error::Version { file, found, supported } => write!(
                f,
                "{file} has format version {found}, this build reads up to {supported}; \
                 nothing was touched, use a newer build"
            ),
            Error::Corrupt(corruption) => corruption.fmt(f),
            Error::Gone { first, next } => write!(
                f,
                "the records from SeqId {first} to before {next} were purged or cut out by a repair"
            ),
            Error::Io { operation, file, source } => write!(f, "{operation} {file}: {source}"),
        }
    }
}

/// A number with a comma before every three digits.
struct Thousands(u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (k, digit) in digits.chars().enumerate() {
            if k > 0 && (digits.len() - k).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            Error::Poisoned(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_over_the_limit_is_refused_in_the_words_that_callers_look_for() {
        for (limit, text) in [(999, "999"), (1_000, "1,000"), (41_666, "41,666"), (1_048_576, "1,048,576")] {
            let error = Error::BatchSize { size: 2_000_001, limit }.to_string();
            assert!(
                error.starts_with(&format!("Cannot submit more than {text} embeddings at once.")),
                "{error}"
            );
            assert!(error.contains("found 2,000,001"), "{error}");
        }
    }
}
