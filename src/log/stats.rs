//! Figures of a log.

use super::checkpoints;
use super::directory::Survey;
use super::replay::{Scan, Start, Verdict};
use super::streams::{self, States};
use super::{Inner, Log};
use crate::error::{Error, Result};
use crate::sync::atomic::Ordering;

use crate::format::checkpoint::{CheckpointHead, StreamState};
use crate::format::control::Point;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::names;
use crate::storage::Access;

/// Figures of a log at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogStats {
    /// The newest committed SeqId.
    pub committed: SeqId,
    /// Every SeqId up to here survives a power cut; in a log opened for reading only, as far as
    /// the files witness it.
    pub durable: SeqId,
    /// The newest SeqId given out; those above `committed` are on their way. In a log opened for
    /// reading only, the newest that stands whole in the files: see
    /// [`unwitnessed`](Log::unwitnessed).
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
    /// Bytes up to the end of its last committed frame; what is behind them is preallocated.
    pub used_bytes: u64,
}

/// What lies in a log's directory beside its segments.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DirectoryStats {
    /// The newest checkpoint; `None` before the first.
    pub checkpoint: Option<CheckpointStats>,
    /// Checkpoints that could not be used, and why.
    pub damaged_checkpoints: Vec<String>,
    /// The segment prepared ahead.
    pub spare: Option<FileStats>,
    /// Freed segments that the next ones are made of.
    pub free: Vec<FileStats>,
    /// Index files, oldest first.
    pub indexes: Vec<FileStats>,
    /// Files that keep what was cut out or put aside, by a recovery or a repair.
    pub aside: Vec<FileStats>,
    /// Names that are not the log's.
    pub foreign: Vec<String>,
}

/// A checkpoint, as its file says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckpointStats {
    /// The file.
    pub file: FileStats,
    /// Counts checkpoints, from 1.
    pub generation: u64,
    /// Everything up to this SeqId was durable when it was written.
    pub last_seq_id: SeqId,
    /// It was written when the log was closed.
    pub clean: bool,
}

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStats {
    /// Its name in the directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
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
        if inner.follow.is_some() {
            return self.stats_from_outside();
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
            segments: inner.segment_stats()?,
            checkpoint_generation: inner.checkpoint_slot.lock().generation,
            bytes_since_checkpoint: inner.since_checkpoint.load(Ordering::Relaxed),
            background_error: inner.background_error.lock().as_ref().map(ToString::to_string),
        })
    }

    /// The figures of a log that somebody else writes: read from the checkpoint on.
    fn stats_from_outside(&self) -> Result<LogStats> {
        let inner = self.inner();
        let storage = inner.home.storage.as_ref();
        let survey = Survey::of(storage)?;
        let loaded = checkpoints::load(storage, inner.home.read_mode, |name| {
            survey.checkpoints.iter().any(|held| held == name)
        })?;
        let head = loaded.newest.map(|newest| newest.head);
        let start = start_of(head.as_ref());
        let replay = Scan::new(&inner.home, &survey.segments, None, Verdict::Peek, start).run(start)?;
        let committed = self.committed();
        Ok(LogStats {
            committed,
            durable: SeqId(replay.durable).min(committed),
            appended: SeqId(replay.next_seq).previous().max(committed),
            queued_bytes: 0,
            segments: inner.segment_stats()?,
            checkpoint_generation: head.map_or(0, |head| head.generation),
            bytes_since_checkpoint: replay.bytes,
            background_error: None,
        })
    }
    /// What lies in the log's directory beside its segments.
    ///
    /// # Errors
    /// The system's.
    pub fn directory(&self) -> Result<DirectoryStats> {
        let inner = self.inner();
        inner.check_open()?;
        let storage = inner.home.storage.as_ref();
        let survey = Survey::of(storage)?;
        let loaded = checkpoints::load(storage, inner.home.read_mode, |name| {
            survey.checkpoints.iter().any(|held| held == name)
        })?;
        let mut stats = DirectoryStats {
            damaged_checkpoints: loaded.damaged.iter().map(ToString::to_string).collect(),
            foreign: survey.foreign,
            ..DirectoryStats::default()
        };
        if let Some(head) = loaded.newest.map(|newest| newest.head) {
            let name = names::CHECKPOINTS[(head.generation % 2) as usize];
            stats.checkpoint = inner.file_stats(name)?.map(|file| CheckpointStats {
                file,
                generation: head.generation,
                last_seq_id: SeqId(head.next_seq).previous(),
                clean: head.clean,
            });
        }
        if survey.spare {
            stats.spare = inner.file_stats(names::SPARE)?;
        }
        for name in survey.free {
            stats.free.extend(inner.file_stats(&name)?);
        }
        for base in survey.indexes {
            stats.indexes.extend(inner.file_stats(&names::index(base))?);
        }
        for name in survey.aside {
            stats.aside.extend(inner.file_stats(&name)?);
        }
        stats.aside.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(stats)
    }

    /// What is committed of one stream; `None` if it has no record. Reads what the stream got
    /// since the newest checkpoint, so that it is right in a log opened for reading only as well.
    ///
    /// # Errors
    /// As reading.
    pub fn committed_stream(&self, stream: StreamId) -> Result<Option<StreamStats>> {
        let (known, next_seq) = {
            let hints = self.inner().hints.read();
            (hints.table.find(stream.as_bytes()), hints.next_seq)
        };
        let mut state = known.filter(|state| state.next_log_offset > 1);
        for record in self.stream_reader_by_seq_id(stream, SeqId(next_seq)..)? {
            let record = match record {
                Err(Error::Purged { .. }) => continue,
                other => other?,
            };
            take(&mut state, record.log_offset, record.seq_id);
        }
        pass_purged(&mut state, self.inner().purged(stream));
        Ok(state.map(|state| stats_of(*stream.as_bytes(), state)))
    }

    /// What is committed of every stream, sorted by id. Reads what was committed since the newest
    /// checkpoint, so that it is right in a log opened for reading only as well. Takes memory for
    /// each stream.
    ///
    /// # Errors
    /// As reading.
    pub fn committed_streams(&self) -> Result<Vec<StreamStats>> {
        let (table, next_seq) = {
            let hints = self.inner().hints.read();
            (hints.table.clone(), hints.next_seq)
        };
        let mut newer = States::default();
        for record in self.reader(SeqId(next_seq)..)? {
            let record = record?;
            let id = *record.stream.as_bytes();
            let mut state = newer.get(&id).copied().or_else(|| table.find(&id));
            state = state.filter(|state| state.next_log_offset > 1);
            take(&mut state, record.log_offset, record.seq_id);
            newer.extend(state.map(|state| (id, state)));
        }
        for (id, purged) in self.inner().registry.read().all_purged() {
            let mut state = newer.get(&id).copied().or_else(|| table.find(&id));
            pass_purged(&mut state, purged);
            newer.extend(state.map(|state| (id, state)));
        }
        let all = streams::merge(&newer, &table);
        Ok(all.into_iter().map(|(id, state)| stats_of(id, state)).collect())
    }

    /// In a log opened for reading only: how many records stand whole behind the committed ones
    /// with nothing yet to witness that they are durable. A writer at work says so a moment later;
    /// if it was cut off, opening the log for writing brings them back. 0 in any other log.
    ///
    /// # Errors
    /// As [`refresh`](Log::refresh).
    pub fn unwitnessed(&self) -> Result<u64> {
        let inner = self.inner();
        inner.check_open()?;
        let Some(follow) = &inner.follow else { return Ok(0) };
        let start = *follow.lock();
        let survey = Survey::of(inner.home.storage.as_ref())?;
        let replay = Scan::new(&inner.home, &survey.segments, None, Verdict::Peek, start).run(start)?;
        let visible = replay.durable.max(replay.committed);
        Ok((replay.next_seq - 1).saturating_sub(visible))
    }

    /// What is known of one stream; `None` if it never got a record. In a log opened for reading
    /// only, as of the newest checkpoint: see [`committed_stream`](Log::committed_stream).
    #[must_use]
    pub fn stream(&self, stream: StreamId) -> Option<StreamStats> {
        let state = self.inner().tail.lock().streams.find(stream.as_bytes())?;
        (state.next_log_offset > 1).then(|| stats_of(*stream.as_bytes(), state))
    }

    /// All streams, sorted by id. Takes memory for each of them. In a log opened for reading only,
    /// as of the newest checkpoint: see [`committed_streams`](Log::committed_streams).
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
    /// `None` if it is gone: names come and go while a writer is at work.
    fn file_stats(&self, name: &str) -> Result<Option<FileStats>> {
        let file = match self.home.storage.open(name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", name, error)),
        };
        let bytes = file.size().map_err(|e| Error::io("stat", name, e))?;
        Ok(Some(FileStats { name: name.to_owned(), bytes }))
    }

    fn segment_stats(&self) -> Result<Vec<SegmentStats>> {
        let mut stats = Vec::new();
        for segment in self.segments().iter().filter(|segment| !segment.is_empty()) {
            let file_bytes =
                segment.opened()?.file.size().map_err(|e| Error::io("stat", segment.name(), e))?;
            stats.push(SegmentStats {
                name: names::segment(segment.base()),
                first_seq_id: SeqId(segment.base()),
                end_seq_id: SeqId(segment.end_seq()),
                file_bytes,
                used_bytes: segment.end_position().map_or_else(|| segment.data_end(), Ok)?.min(file_bytes),
            });
        }
        Ok(stats)
    }

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

/// Where a scan begins that learns all a checkpoint does not say.
fn start_of(checkpoint: Option<&CheckpointHead>) -> Start {
    match checkpoint {
        None => Start::FIRST,
        Some(head) => Start {
            base: head.scan_base,
            position: head.scan_position,
            next_seq: head.next_seq,
            last_micros: head.last_micros,
            durable: head.next_seq.saturating_sub(1),
            clean: head.ends_the_scan(),
        },
    }
}

/// A record of a stream was read.
fn take(state: &mut Option<StreamState>, log_offset: LogOffset, seq_id: SeqId) {
    let first_seq = state.map_or(seq_id.0, |state| state.first_seq);
    *state = Some(StreamState { next_log_offset: log_offset.0 + 1, first_seq, last_seq: seq_id.0 });
}

/// What was purged since the checkpoint was not read.
fn pass_purged(state: &mut Option<StreamState>, purged: Point) {
    if purged.log_offset > 0 && state.is_none_or(|state| state.next_log_offset <= purged.log_offset) {
        take(state, LogOffset(purged.log_offset), SeqId(purged.seq));
    }
}

fn stats_of(id: [u8; 16], state: StreamState) -> StreamStats {
    StreamStats {
        stream: StreamId::from_bytes(id),
        next_log_offset: LogOffset(state.next_log_offset),
        first_seq_id: SeqId(state.first_seq),
        last_seq_id: SeqId(state.last_seq),
    }
}
