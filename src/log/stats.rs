//! Figures of a log.

use std::sync::atomic::Ordering;

use super::{Inner, Log};
use crate::error::Result;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::names;

/// Figures of a log at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogStats {
    /// The newest committed SeqId.
    pub committed: SeqId,
    /// Every SeqId up to here survives a power cut.
    pub durable: SeqId,
    /// The newest SeqId given out; those above `committed` are on their way.
    pub appended: SeqId,
    /// Bytes of batches that wait for their commit.
    pub queued_bytes: u64,
    /// Segments, oldest first.
    pub segments: Vec<SegmentStats>,
    /// Generation of the newest checkpoint; 0 before the first.
    pub checkpoint_generation: u64,
    /// Bytes committed since the newest checkpoint: what recovery would scan.
    pub bytes_since_checkpoint: u64,
    /// What went wrong in the background and is being tried again.
    pub background_error: Option<String>,
}

/// Figures of a segment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentStats {
    /// The file.
    pub name: String,
    /// The first SeqId it may hold.
    pub first_seq_id: SeqId,
    /// The SeqId behind its last one.
    pub end_seq_id: SeqId,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// The stream.
    pub stream: StreamId,
    /// The log_offset its next record gets.
    pub next_log_offset: LogOffset,
    /// SeqId of its first record.
    pub first_seq_id: SeqId,
    /// SeqId of its newest record.
    pub last_seq_id: SeqId,
}

/// What committing has cost since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CommitCounters {
    /// Groups written.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of frames in them.
    pub bytes: u64,
    /// Syncs of segments and of the directory.
    pub syncs: u64,
}

impl Log {
    /// Figures of the log now.
    ///
    /// # Errors
    /// The system's, when a segment's size is asked for.
    pub fn stats(&self) -> Result<LogStats> {
        let inner = self.inner();
        inner.check_open()?;
        let mut segments = Vec::new();
        for segment in inner.segments().iter().filter(|segment| !segment.is_empty()) {
            let file_bytes = segment
                .opened()?
                .file
                .size()
                .map_err(|e| crate::Error::io("stat", segment.name(), e))?;
            segments.push(SegmentStats {
                name: names::segment(segment.base()),
                first_seq_id: SeqId(segment.base()),
                end_seq_id: SeqId(segment.end_seq()),
                file_bytes,
            });
        }
        let (appended, queued_bytes) = {
            let tail = inner.tail.lock();
            (SeqId(tail.next_seq - 1), tail.queued_bytes)
        };
        Ok(LogStats {
            committed: self.committed(),
            durable: self.durable(),
            appended,
            queued_bytes,
            segments,
            checkpoint_generation: inner.checkpoint_slot.lock().generation,
            bytes_since_checkpoint: inner.since_checkpoint.load(Ordering::Relaxed),
            background_error: inner.background_error.lock().as_ref().map(ToString::to_string),
        })
    }

    /// What is known of one stream; `None` if it never got a record.
    #[must_use]
    pub fn stream(&self, stream: StreamId) -> Option<StreamStats> {
        let state = self.inner().tail.lock().streams.find(stream.as_bytes())?;
        (state.next_log_offset > 1).then(|| stats_of(*stream.as_bytes(), state))
    }

    /// All streams, sorted by id. Takes memory for each of them.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamStats> {
        let all = self.inner().tail.lock().streams.all();
        all.into_iter().map(|(id, state)| stats_of(id, state)).collect()
    }

    /// What committing has cost since the log was opened.
    #[must_use]
    pub fn counters(&self) -> CommitCounters {
        self.inner().commit_counters()
    }
}

impl Inner {
    fn commit_counters(&self) -> CommitCounters {
        let counters = &self.counters;
        CommitCounters {
            groups: counters.groups.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
        }
    }
}

fn stats_of(id: [u8; 16], state: crate::format::checkpoint::StreamState) -> StreamStats {
    StreamStats {
        stream: StreamId::from_bytes(id),
        next_log_offset: LogOffset(state.next_log_offset),
        first_seq_id: SeqId(state.first_seq),
        last_seq_id: SeqId(state.last_seq),
    }
}
