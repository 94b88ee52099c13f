//! Reading in order: the whole log, or one stream.

mod frames;
mod place;
mod point;
mod purged;

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::{Frame, Segment, StreamFrames, View};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;

/// One committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub seq_id: SeqId,
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream.
    pub log_offset: LogOffset,
    /// When its batch was appended, in microseconds since 1970; never decreases.
    pub unix_micros: i64,
    /// What was appended: not copied, the segment stays mapped while this is held.
    pub payload: Bytes,
}

/// Reads committed records in order, and waits at the tail if asked to.
///
/// It holds a position, the segment it reads and no queue: a slow reader costs nothing. After an
/// error it stands behind the records that the error is about, so that reading on gets all the
/// others; but where a call of the system failed ([`Error::Io`]) it stays, and tries again. Who reads
/// on after errors stops at those, as a disk that is gone fails every time.
///
/// ```
/// # use stratalog::{Batch, Log, SeqId, StreamId};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// # log.append(StreamId::from_u128(1), &Batch::one(b"hello"))?;
/// for record in log.reader(SeqId(1)..)? {
///     println!("{}", record?.seq_id);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    inner: Arc<Inner>,
    scope: Scope,
    /// The next SeqId wanted; in a stream, a lower bound.
    next_seq: u64,
    /// The first SeqId not wanted.
    end_seq: u64,
    segments: Arc<Vec<Arc<Segment>>>,
    at: Option<At>,
    current: Option<Current>,
    /// One stream: damage that may have hit the record wanted next. The next good frame tells.
    damage: Option<Error>,
    /// What is to be said before anything is read.
    first_error: Option<Error>,
    /// Counts the purges of the log as they were when this was looked up last.
    purges: u64,
    finished: bool,
}

enum Scope {
    Log,
    Stream {
        id: StreamId,
        next_log_offset: u64,
        end_log_offset: u64,
        /// False before the first record and after damage, when a gap says nothing new.
        in_order: bool,
        /// A segment that was rewritten without some of its records came since the last record.
        thinned: bool,
    },
}

/// Where in the list of segments.
struct At {
    segment: Arc<Segment>,
    view: View,
    /// Whole log: the next frame. `None`: look for the frame that holds `next_seq`.
    position: Option<u64>,
    /// One stream: its next frames, and the last one taken.
    frames: StreamFrames,
    after: u64,
    /// The file is no segment of this log: nothing can be read from it.
    lost: bool,
}

struct Current {
    segment: Arc<Segment>,
    frame: Frame,
    next: usize,
    start: usize,
}

impl Reader {
    pub(super) fn of_log(inner: Arc<Inner>, range: &impl RangeBounds<SeqId>) -> Self {
        let (next, end) = bounds(range, |seq| seq.0);
        Self::new(inner, Scope::Log, next, end)
    }

    pub(super) fn of_stream(inner: Arc<Inner>, id: StreamId, range: &impl RangeBounds<LogOffset>) -> Self {
        let (next, end) = bounds(range, |offset| offset.0);
        let scope =
            Scope::Stream { id, next_log_offset: next, end_log_offset: end, in_order: true, thinned: false };
        let first = inner.first_seq_hint(id);
        Self::new(inner, scope, first, u64::MAX).behind_purge(range.start_bound() != Bound::Unbounded)
    }

    pub(super) fn of_stream_by_seq(inner: Arc<Inner>, id: StreamId, range: &impl RangeBounds<SeqId>) -> Self {
        let (next, end) = bounds(range, |seq| seq.0);
        let scope = Scope::Stream {
            id,
            next_log_offset: 1,
            end_log_offset: u64::MAX,
            in_order: false,
            thinned: false,
        };
        let first = inner.first_seq_hint(id).max(next);
        Self::new(inner, scope, first, end).behind_purge(range.start_bound() != Bound::Unbounded)
    }

    fn new(inner: Arc<Inner>, scope: Scope, next_seq: u64, end_seq: u64) -> Self {
        let segments = inner.segments();
        Reader {
            inner,
            scope,
            next_seq,
            end_seq,
            segments,
            at: None,
            current: None,
            damage: None,
            first_error: None,
            purges: 0,
            finished: next_seq >= end_seq,
        }
    }

    /// The next record, or `None` if nothing more is committed, or the range is at its end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damaged records, which are then behind the reader; [`Error::Purged`] if
    /// the range was said to begin at or below the stream's purge point, or the stream was purged
    /// beyond the reader's place: it then stands behind the point. [`Error::Gone`]; [`Error::Io`].
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        self.check_purges()?;
        while !self.finished {
            if let Some(record) = self.next_of_frame()? {
                return Ok(Some(record));
            }
            if self.finished || !self.next_frame()? {
                break;
            }
        }
        Ok(None)
    }

    /// As [`next_record`](Self::next_record), but waits at the tail: for ever, or up to `timeout`.
    /// `None` then means that the time or the range is over.
    ///
    /// # Errors
    /// As [`next_record`](Self::next_record), and [`Error::Closed`] if the log is closed meanwhile.
    pub fn wait_record(&mut self, timeout: Option<Duration>) -> Result<Option<Record>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Before the look: what is committed after it ends the wait.
            let seen = self.inner.committed.load(Ordering::Acquire);
            if let Some(record) = self.next_record()? {
                return Ok(Some(record));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.finished || left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.inner.wait_for_more(seen, left)?;
        }
    }

    /// SeqId and log_offset of the next record, damaged or not; `None` at the tail.
    pub(super) fn next_numbers(&mut self) -> Result<Option<(u64, u64)>> {
        loop {
            if let Some(current) = &self.current {
                let header = &current.frame.header;
                let mut skip = self.next_seq.saturating_sub(header.first_seq);
                if let Scope::Stream { next_log_offset, .. } = &self.scope {
                    skip = skip.max(next_log_offset.saturating_sub(header.first_log_offset));
                }
                if skip < u64::from(header.count) {
                    return Ok(Some((header.first_seq + skip, header.first_log_offset + skip)));
                }
                self.current = None;
            }
            if self.finished || !self.next_frame()? {
                return Ok(None);
            }
        }
    }

    /// True once the end of the range was reached; at the tail of an open range it stays false.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The next record of the frame at hand.
    fn next_of_frame(&mut self) -> Result<Option<Record>> {
        while let Some(current) = &mut self.current {
            let header = &current.frame.header;
            let k = current.next;
            if k >= header.count as usize {
                self.current = None;
                return Ok(None);
            }
            let (seq, offset) = (header.first_seq + k as u64, header.first_log_offset + k as u64);
            let (wanted, over) = match &self.scope {
                Scope::Log => (seq >= self.next_seq, seq >= self.end_seq),
                Scope::Stream { next_log_offset, end_log_offset, .. } => (
                    offset >= *next_log_offset && seq >= self.next_seq,
                    offset >= *end_log_offset || seq >= self.end_seq,
                ),
            };
            if over {
                self.finished = true;
                return Ok(None);
            }
            let taken = wanted.then(|| current.frame.record_at(k, current.start));
            current.start = current.frame.skip(k, current.start);
            current.next += 1;
            let Some(taken) = taken else { continue };
            self.next_seq = seq + 1;
            let at_end = match &mut self.scope {
                Scope::Log => self.next_seq >= self.end_seq,
                Scope::Stream { next_log_offset, end_log_offset, in_order, .. } => {
                    *next_log_offset = offset + 1;
                    *in_order = true;
                    self.next_seq >= self.end_seq || *next_log_offset >= *end_log_offset
                }
            };
            self.finished |= at_end;
            return match taken {
                Ok((payload, _)) => Ok(Some(Record {
                    seq_id: SeqId(seq),
                    stream: StreamId::from_bytes(header.stream),
                    log_offset: LogOffset(offset),
                    unix_micros: header.unix_micros,
                    payload,
                })),
                Err(invalid) => Err(invalid.in_file(current.segment.name(), current.frame.position)),
            };
        }
        Ok(None)
    }

    /// Finds the next frame; false at the tail.
    fn next_frame(&mut self) -> Result<bool> {
        loop {
            self.check_purges()?;
            if self.finished {
                return Ok(false);
            }
            let Some(k) = self.place()? else { return Ok(false) };
            // Both looked up before the segment is searched: what is committed by now must be found,
            // and only a segment with a successor is whole.
            let visible = self.inner.committed.load(Ordering::Acquire);
            let has_next = self.segments.get(k + 1).is_some();
            self.check_file()?;
            let found = match &self.scope {
                Scope::Log => self.next_log_frame()?,
                Scope::Stream { .. } => self.next_stream_frame()?,
            };
            if found || self.finished {
                return Ok(found);
            }
            if has_next {
                let next = self.segments.get(k + 1).cloned();
                let view = self.view();
                self.at = next.map(|segment| At::begin(segment, view));
                continue;
            }
            let newer = self.inner.segments();
            if Arc::ptr_eq(&newer, &self.segments) {
                return self.missing_end(visible).map_or(Ok(false), Err);
            }
            self.segments = newer;
            // Counted in the new list: segments before this one may have been freed.
            if !self.rejoin() && !self.has_successor() {
                return self.missing_end(visible).map_or(Ok(false), Err);
            }
        }
    }
}

impl At {
    fn begin(segment: Arc<Segment>, view: View) -> Self {
        At { segment, view, position: Some(DATA_START), frames: StreamFrames::new(), after: 0, lost: false }
    }
}

impl Current {
    fn new(segment: &Arc<Segment>, frame: Frame) -> Self {
        let start = frame.header.head_bytes();
        Current { segment: Arc::clone(segment), frame, next: 0, start }
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next_seq", &self.next_seq).finish_non_exhaustive()
    }
}

/// A range of numbers from 1 as its first one and the first one behind it.
fn bounds<T>(range: &impl RangeBounds<T>, number: impl Fn(&T) -> u64) -> (u64, u64) {
    let first = match range.start_bound() {
        Bound::Included(n) => number(n),
        Bound::Excluded(n) => number(n).saturating_add(1),
        Bound::Unbounded => 1,
    };
    let end = match range.end_bound() {
        Bound::Included(n) => number(n).saturating_add(1),
        Bound::Excluded(n) => number(n),
        Bound::Unbounded => u64::MAX,
    };
    (first.max(1), end)
}
