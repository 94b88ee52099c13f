//! Reading in order: the whole log, or one stream.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::{Frame, Segment, StreamFrames, View};

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
/// others.
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
        let scope = Scope::Stream { id, next_log_offset: next, end_log_offset: end, in_order: true, thinned: false };
        let first = inner.first_seq_hint(id);
        Self::new(inner, scope, first, u64::MAX)
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
        Self::new(inner, scope, first, end)
    }

    fn new(inner: Arc<Inner>, scope: Scope, next_seq: u64, end_seq: u64) -> Self {
        let segments = inner.segments();
        Reader { inner, scope, next_seq, end_seq, segments, at: None, current: None, damage: None, finished: next_seq >= end_seq }
    }

    /// The next record, or `None` if nothing more is committed, or the range is at its end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damaged records, which are then behind the reader; [`Error::Gone`];
    /// [`Error::Io`].
    pub fn next_record(&mut self) -> Result<Option<Record>> {
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
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        loop {
            // Before the look: what is committed after it ends the wait.
            let seen = self.inner.committed.load(Ordering::Acquire);
            if let Some(record) = self.next_record()? {
                return Ok(Some(record));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
            if self.finished || left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.inner.wait_for_more(seen, left)?;
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
            let Some(k) = self.place()? else { return Ok(false) };
            // Looked up before the segment is searched: only a segment with a successor is whole.
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
                return self.missing_end().map_or(Ok(false), Err);
            }
            self.segments = newer;
            if !self.rejoin() && self.segments.len() <= k + 1 {
                return self.missing_end().map_or(Ok(false), Err);
            }
        }
    }

    /// A segment that was empty may have been replaced by one of the same base, after a failed
    /// write or by a recovery: what is read next stands in that one. True if it was.
    fn rejoin(&mut self) -> bool {
        let Some(at) = &self.at else { return false };
        let k = self.segments.partition_point(|segment| segment.base() < at.segment.base());
        let Some(held) = self.segments.get(k).filter(|held| !Arc::ptr_eq(held, &at.segment)) else {
            return false;
        };
        self.at = Some(At::begin(Arc::clone(held), self.view()));
        true
    }

    /// Opens the segment's file. If it is not what its name says, the reader stands behind it at
    /// once, as behind any other damage.
    fn check_file(&mut self) -> Result<()> {
        let Some(at) = self.at.as_mut().filter(|at| !at.lost) else { return Ok(()) };
        let first = match self.scope {
            Scope::Log => self.next_seq.max(at.segment.base()),
            Scope::Stream { .. } => at.segment.base(),
        };
        if first >= at.segment.end_seq() {
            return Ok(());
        }
        match at.segment.opened() {
            Ok(opened) => {
                if let Scope::Stream { thinned, .. } = &mut self.scope {
                    *thinned |= opened.header.rewritten;
                }
                Ok(())
            }
            Err(error @ (Error::Corrupt(_) | Error::Version { .. })) => {
                at.lost = true;
                if let Scope::Stream { .. } = self.scope {
                    self.damage.get_or_insert(error);
                    return Ok(());
                }
                self.next_seq = self.next_seq.max(at.segment.end_seq());
                self.finished = self.next_seq >= self.end_seq;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// A stream that ends before the log_offset that it had reached at the last checkpoint: its
    /// last frames are damaged, or cut out.
    fn missing_end(&mut self) -> Option<Error> {
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, .. } = &mut self.scope else {
            return None;
        };
        let damage = self.damage.take();
        if damage.is_some() && !*in_order {
            return damage;
        }
        let known = match &damage {
            None => self.inner.hints.read().table.find(id.as_bytes())?,
            // What was appended since the checkpoint counts too; without damage it is all there.
            Some(_) => self.inner.tail.lock().streams.find(id.as_bytes())?,
        };
        let missing = *next_log_offset < known.next_log_offset.min(*end_log_offset) && *in_order;
        let visible = self.inner.committed.load(Ordering::Acquire).min(self.end_seq.saturating_sub(1));
        if !missing || visible < known.last_seq {
            return None;
        }
        let (id, due) = (*id, LogOffset(*next_log_offset));
        *next_log_offset = known.next_log_offset;
        self.finished |= *next_log_offset >= *end_log_offset;
        if damage.is_some() {
            return damage;
        }
        self.next_seq = self.next_seq.max(known.last_seq + 1);
        // Reading the stream's last record says what became of it.
        Some(match self.inner.record(SeqId(known.last_seq)) {
            Err(error) => error,
            Ok(_) => {
                let newest = LogOffset(known.next_log_offset - 1);
                let last = self.segments.last().map_or_else(String::new, |segment| segment.name().to_owned());
                let expected = format!("log_offset {due} of stream {id}, which has {newest} of them");
                Error::corrupt(last, 0, expected, "the end of the log")
            }
        })
    }

    fn view(&self) -> View {
        match self.scope {
            Scope::Log => View::sequential(),
            Scope::Stream { .. } => View::scattered(),
        }
    }

    /// The number of the segment the reader stands in, which is looked up if it stands nowhere.
    fn place(&mut self) -> Result<Option<usize>> {
        if self.at.is_none() {
            self.segments = self.inner.segments();
            let next_seq = self.next_seq;
            let k = self.segments.partition_point(|segment| segment.base() <= next_seq);
            // A SeqId before the first segment was purged; reading begins with what is there.
            let Some(segment) = self.segments.get(k.saturating_sub(1)) else { return Ok(None) };
            let mut at = At::begin(Arc::clone(segment), self.view());
            if next_seq > segment.base() {
                if next_seq >= segment.end_seq() && matches!(self.scope, Scope::Log) {
                    return Ok(None);
                }
                at.position = None;
                if let Scope::Stream { in_order: false, .. } = self.scope
                    && next_seq < segment.end_seq()
                    && let Ok(frame) = segment.frame_of(&mut at.view, next_seq)
                {
                    at.after = frame.position - 1;
                }
            }
            self.at = Some(at);
        }
        let base = self.at.as_ref().map_or(0, |at| at.segment.base());
        Ok(Some(self.segments.partition_point(|segment| segment.base() < base)))
    }

    fn next_log_frame(&mut self) -> Result<bool> {
        let Some(at) = &mut self.at else { return Ok(false) };
        loop {
            let due = self.next_seq.max(at.segment.base());
            if due >= at.segment.end_seq() {
                return Ok(false);
            }
            let Some(position) = at.position else {
                match at.segment.frame_of(&mut at.view, due) {
                    Ok(frame) => at.position = Some(frame.position),
                    Err(error) => {
                        let later = at.segment.frame_after_damage(&mut at.view, DATA_START, due + 1)?;
                        self.next_seq = later.as_ref().map_or(at.segment.end_seq(), |frame| frame.header.first_seq);
                        at.position = Some(later.map_or(DATA_START, |frame| frame.position));
                        return Err(error);
                    }
                }
                continue;
            };
            let (frame, damage) = match at.segment.frame_at(&mut at.view, position)? {
                Ok(frame) => (Some(frame), None),
                Err(invalid) => (at.segment.frame_after_damage(&mut at.view, position + 8, due)?, Some(invalid)),
            };
            // After damage the next good frame may be the one that was due: then no record was hit.
            let frame = match frame {
                Some(frame) if frame.header.first_seq <= due && damage.is_none() => frame,
                later => {
                    let later = later.as_ref();
                    self.next_seq = later.map_or(at.segment.end_seq(), |frame| frame.header.first_seq.max(due));
                    self.finished = self.next_seq >= self.end_seq;
                    at.position = Some(later.map_or(position, |frame| frame.position));
                    return Err(at.segment.missing(due, position, damage, later));
                }
            };
            at.position = Some(frame.position + frame.header.frame_bytes());
            if frame.header.kind == Kind::Batch && frame.header.next_seq() > due {
                self.current = Some(Current::new(&at.segment, frame));
                return Ok(true);
            }
        }
    }

    fn next_stream_frame(&mut self) -> Result<bool> {
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, thinned } = &mut self.scope else {
            return Ok(false);
        };
        let Some(at) = self.at.as_mut().filter(|at| !at.lost) else { return Ok(false) };
        if at.segment.base() >= self.end_seq {
            self.finished = true;
            return Ok(false);
        }
        loop {
            if at.frames.is_empty() {
                at.frames = at.segment.stream_frames(id.as_bytes(), *next_log_offset, at.after)?;
            }
            let Some(position) = at.frames.pop_front() else { return Ok(false) };
            at.after = position;
            let damaged = |invalid: crate::format::Invalid| invalid.in_file(at.segment.name(), position);
            let frame = match at.segment.frame_at(&mut at.view, position)? {
                Ok(frame) => frame,
                Err(invalid) => {
                    self.damage.get_or_insert_with(|| damaged(invalid));
                    continue;
                }
            };
            let first = frame.header.first_log_offset;
            if first + u64::from(frame.header.count) <= *next_log_offset {
                continue;
            }
            let damage = self.damage.take();
            let gap = first > *next_log_offset && *next_log_offset < *end_log_offset;
            if gap && (*in_order || damage.is_some()) {
                let due = std::mem::replace(next_log_offset, first);
                at.frames.push_front(position);
                at.after = position - 1;
                return Err(if let Some(damage) = damage {
                    damage
                } else if *thinned {
                    Error::Gone { first: SeqId(self.next_seq), next: SeqId(frame.header.first_seq) }
                } else {
                    Error::stream_offset(at.segment.name(), position, *id, LogOffset(due), LogOffset(first))
                });
            }
            *thinned = at.segment.opened()?.header.rewritten;
            self.current = Some(Current::new(&at.segment, frame));
            return Ok(true);
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

impl Inner {
    pub(super) fn record(&self, seq_id: SeqId) -> Result<Option<Record>> {
        let segments = self.segments();
        let k = segments.partition_point(|segment| segment.base() <= seq_id.0);
        let Some(segment) = k.checked_sub(1).and_then(|k| segments.get(k)) else {
            let first = segments.first().map_or(1, |segment| segment.base());
            let purged = seq_id.0 > 0 && seq_id.0 < first;
            return if purged { Err(Error::Gone { first: seq_id, next: SeqId(first) }) } else { Ok(None) };
        };
        if seq_id.0 >= segment.end_seq() {
            return Ok(None);
        }
        let frame = segment.frame_of(&mut View::scattered(), seq_id.0)?;
        let k = seq_id.0 - frame.header.first_seq;
        let payload = frame.record(k as usize).map_err(|invalid| invalid.in_file(segment.name(), frame.position))?;
        Ok(Some(Record {
            seq_id,
            stream: StreamId::from_bytes(frame.header.stream),
            log_offset: LogOffset(frame.header.first_log_offset + k),
            unix_micros: frame.header.unix_micros,
            payload,
        }))
    }

    /// A SeqId before which the stream has nothing.
    fn first_seq_hint(&self, stream: StreamId) -> u64 {
        let hints = self.hints.read();
        hints.table.find(stream.as_bytes()).map_or(hints.next_seq, |state| state.first_seq)
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
