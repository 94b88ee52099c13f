//! Reading in order: the whole log, or one stream.

mod current;
mod frames;
mod place;
mod point;
mod purged;
mod record;

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

pub use record::{Record, RecordRef};

use super::Inner;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::{Segment, StreamFrames, View};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;
use current::Current;
use purged::Purged;

/// Reads committed records in order, and waits at the tail if asked to.
///
/// It holds a position, the segment it reads and no queue: a slow reader costs no memory. But one that
/// stands still before the end keeps the files of what is purged meanwhile. After an
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
    /// One stream: damage that may have hit the record wanted next. The next good frame tells.
    damage: Option<Error>,
    /// What is to be said before anything is read.
    first_error: Option<Error>,
    /// Counts the purges of the log as they were when this was looked up last.
    purges: u64,
    /// Whole log: what was purged by then.
    purged: Purged,
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
    /// Frames of it were read: its file is good.
    begun: bool,
    /// The frame read last.
    current: Current,
}

impl Reader {
    pub(super) fn of_log(inner: Arc<Inner>, range: &impl RangeBounds<SeqId>) -> Self {
        let (next, end) = bounds(range, |seq| seq.0);
        Self::new(inner, Scope::Log, next, end).behind_purge(false)
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
            damage: None,
            first_error: None,
            purges: 0,
            purged: Purged::default(),
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
        Ok(self.next_ref()?.map(|record| record.to_record()))
    }

    /// As [`next_record`](Self::next_record), but the record is borrowed until the next call: the
    /// cheapest way through a log of small records, as nothing is counted for each of them.
    ///
    /// ```
    /// # use stratalog::{Batch, Log, StreamId};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// # log.append(StreamId::from_u128(1), &Batch::one(b"hello"))?;
    /// let (mut reader, mut kept, mut bytes) = (log.reader(..)?, Vec::new(), 0);
    /// while let Some(record) = reader.next_ref()? {
    ///     bytes += record.payload.len();
    ///     if record.payload.starts_with(b"hello") {
    ///         kept.push(record.to_record());
    ///     }
    /// }
    /// assert_eq!((kept.len(), bytes), (1, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`next_record`](Self::next_record).
    #[inline]
    pub fn next_ref(&mut self) -> Result<Option<RecordRef<'_>>> {
        let taken = self.is_undisturbed() && self.take_good() || self.advance()?;
        Ok(if taken { self.taken() } else { None })
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
            if let Some(next) = self.at.as_ref().and_then(|at| at.current.next_numbers()) {
                return Ok(Some(next));
            }
            self.check_purges()?;
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

    /// Takes the next record; false if there is none.
    fn advance(&mut self) -> Result<bool> {
        self.check_purges()?;
        while !self.finished {
            if self.next_of_frame()? {
                return Ok(true);
            }
            if self.finished || !self.next_frame()? {
                break;
            }
        }
        Ok(false)
    }

    /// The record that was taken last, if the reader still stands at it.
    #[inline]
    fn taken(&self) -> Option<RecordRef<'_>> {
        self.at.as_ref().map(|at| at.current.taken(&at.view))
    }

    /// Finds the next frame; false at the tail. Purges were looked up.
    #[inline(always)]
    fn next_frame(&mut self) -> Result<bool> {
        // In the middle of a segment the others need not be looked at.
        if self.at.as_ref().is_some_and(At::is_within) && self.search()? {
            return Ok(true);
        }
        self.next_frame_anywhere()
    }

    #[cold]
    fn next_frame_anywhere(&mut self) -> Result<bool> {
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
            let found = self.search()?;
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
            if self.stands_in_last_of(&newer) {
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
        At {
            segment,
            view,
            position: Some(DATA_START),
            frames: StreamFrames::new(),
            after: 0,
            lost: false,
            begun: false,
            current: Current::NONE,
        }
    }

    /// Whether more may come of a segment of which something was read.
    fn is_within(&self) -> bool {
        self.begun && (self.position.is_some() || !self.frames.is_empty())
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
