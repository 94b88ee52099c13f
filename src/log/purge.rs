//! Hiding records, and giving back the segments in which nothing is left.
//!
//! Crash order: the purge is committed; both checkpoints lie behind the segment, so that no scan ever
//! needs it; a control record says that it is freed, and is durable; the file is removed. Cut off before the record: the segment stays until the next purge or
//! segment. Cut off behind it: opening the log removes the file.

use std::sync::Arc;

use super::{Inner, Log};
use crate::error::{Error, Result};
use crate::format::control::{Control, Point};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::options::Durability;
use crate::segment::Segment;
use crate::sync::atomic::Ordering;

/// How far a stream was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PurgePoint {
    /// Everything of the stream up to here is gone.
    pub seq_id: SeqId,
    /// The log_offset of the last record that is gone; 0 if there was none.
    pub log_offset: LogOffset,
}

impl PurgePoint {
    fn of(point: Point) -> Self {
        PurgePoint { seq_id: SeqId(point.seq), log_offset: LogOffset(point.log_offset) }
    }
}

impl Log {
    /// Purges a stream's records up to a SeqId: they can't be read any more, and a segment in which
    /// no stream has anything left gives its space back at once. Returns how far the stream is
    /// purged, which may be further by an earlier call.
    ///
    /// # Errors
    /// [`Error::Held`] if a cursor of the stream stands before `upto`; [`Error::Invalid`] if `upto` is
    /// not committed yet; and as [`append`](Log::append). An error of the system while space is
    /// given back leaves the purge as it is; the next one tries again.
    pub fn purge(&self, stream: StreamId, upto: SeqId) -> Result<PurgePoint> {
        let inner = self.inner();
        inner.check_running()?;
        if upto > self.committed() {
            return Err(Error::Invalid(format!(
                "purge: expected a SeqId up to {}, the newest there is, found {upto}",
                self.committed()
            )));
        }
        let held = inner.holding.lock();
        let least =
            inner.registry.read().least_cursor(stream.as_bytes()).map(|(name, at)| (name.to_owned(), at));
        if let Some((cursor, at)) = least.filter(|(_, at)| at.seq < upto.0) {
            return Err(Error::Held { stream, cursor, at: SeqId(at.seq), asked: upto });
        }
        if inner.purged(stream).seq < upto.0 {
            let log_offset = inner.log_offset_at(stream, upto)?;
            inner.purge(stream, Point { seq: upto.0, log_offset })?;
        }
        drop(held);
        inner.free_dead()?;
        Ok(PurgePoint::of(inner.purged(stream)))
    }

    /// Purges what every cursor of the stream has passed; `None` if it has no cursor: then nothing
    /// is purged.
    ///
    /// # Errors
    /// As [`purge`](Log::purge), but for `Held`.
    pub fn purge_passed(&self, stream: StreamId) -> Result<Option<PurgePoint>> {
        let inner = self.inner();
        inner.check_running()?;
        let held = inner.holding.lock();
        let least = inner.registry.read().least_cursor(stream.as_bytes()).map(|(_, at)| at);
        let Some(least) = least else { return Ok(None) };
        inner.purge(stream, least)?;
        drop(held);
        inner.free_dead()?;
        Ok(Some(PurgePoint::of(inner.purged(stream))))
    }

    /// How far a stream was purged; `None` if it never was.
    #[must_use]
    pub fn purge_point(&self, stream: StreamId) -> Option<PurgePoint> {
        self.inner().registry.read().purged(stream.as_bytes()).map(PurgePoint::of)
    }

    /// Drops a stream: every record of it, and its cursors. Its numbers go on where they were if it is
    /// appended to again.
    ///
    /// # Errors
    /// As [`purge`](Log::purge), but for `Held`.
    pub fn delete_stream(&self, stream: StreamId) -> Result<()> {
        let inner = self.inner();
        inner.check_running()?;
        let held = inner.holding.lock();
        let empty = inner.stream_newest(stream) <= inner.purged(stream).log_offset;
        let no_cursor = inner.registry.read().least_cursor(stream.as_bytes()).is_none();
        if !(empty && no_cursor) {
            // How far it reaches is known once it has its place in the log.
            inner.control(Control::Delete { stream: *stream.as_bytes(), upto: Point::default() })?;
        }
        drop(held);
        inner.free_dead()
    }

    /// Whether a purge up to `upto` would free a segment or come close to it: the purge point and
    /// `upto` stand in different segments.
    pub(crate) fn purge_pays(&self, stream: StreamId, upto: SeqId) -> bool {
        let inner = self.inner();
        let segments = inner.segments();
        let place = |seq: u64| segments.partition_point(|segment| segment.base() <= seq);
        place(inner.purged(stream).seq) < place(upto.0)
    }
}

impl Inner {
    pub(super) fn purged(&self, stream: StreamId) -> Point {
        self.registry.read().purged(stream.as_bytes()).unwrap_or_default()
    }

    /// The newest log_offset given out in a stream.
    fn stream_newest(&self, stream: StreamId) -> u64 {
        self.tail.lock().streams.next_log_offset(stream.as_bytes()) - 1
    }

    fn purge(self: &Arc<Self>, stream: StreamId, upto: Point) -> Result<()> {
        if upto.log_offset <= self.purged(stream).log_offset {
            return Ok(());
        }
        // The last record that goes, not a place behind it: who stands there has lost nothing.
        let upto = Point { seq: self.seq_of(stream, upto)?, ..upto };
        self.control(Control::Purge { stream: *stream.as_bytes(), upto }).map(drop)
    }

    /// The SeqId of the record at a point, found from there backwards; the point's own if that record
    /// can't be read.
    fn seq_of(&self, stream: StreamId, point: Point) -> Result<u64> {
        let least = self.purged(stream).seq;
        let segments = self.segments();
        let before = segments.iter().rev().skip_while(|segment| segment.base() > point.seq);
        for segment in before.take_while(|segment| segment.end_seq() > least) {
            match segment.seq_of(stream.as_bytes(), point.log_offset) {
                Ok(Some(seq)) => return Ok(seq),
                Ok(None) | Err(Error::Corrupt(_)) => {}
                // Freed meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(point.seq)
    }

    /// Removes the segments in which nothing is left, but for the last one.
    pub(super) fn free_dead(&self) -> Result<()> {
        if !self.registry.read().any_purged() {
            return Ok(());
        }
        let mut unremoved = self.freeing.lock();
        let segments = self.segments();
        let mut dead = Vec::new();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            // Nothing more is appended to a segment that has a successor; the scan may need the last one.
            if self.is_dead(segment)? && segment.end_seq() <= next.base() {
                dead.push(Arc::clone(segment));
            }
        }
        for _ in 0..2 {
            if dead.last().is_some_and(|last| self.checkpoints_passed() <= last.base()) {
                self.checkpoint(false)?;
            }
        }
        let passed = self.checkpoints_passed();
        dead.retain(|segment| segment.base() < passed);
        for run in dead.chunk_by(|a, b| a.end_seq() == b.base()) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.control(Control::Freed { first: first.base(), end: last.end_seq() })?;
            }
        }
        if let Some(last) = dead.last() {
            if self.options.durability == Durability::Sync {
                // Said again: only a later frame shows who reads beside us that what is said is durable,
                // and the files must not go before that.
                self.control(Control::Freed { first: last.base(), end: last.end_seq() })?;
            }
            self.sync_all()?;
            // Closed or poisoned meanwhile, a sync proves nothing; opening the log removes the files.
            self.check_running()?;
            self.forget(&dead);
            unremoved.append(&mut dead);
        }
        // A file that a power cut brings back is known to be freed, so the directory need not be synced.
        let mut outcome = Ok(());
        drop(segments);
        unremoved.retain_mut(|segment| {
            let gone = match self.keep_for_next(segment) {
                Ok(false) => segment.remove_files(),
                other => other.map(drop),
            };
            outcome = std::mem::replace(&mut outcome, Ok(())).and(gone.clone());
            gone.is_err()
        });
        self.keep_no_more();
        outcome
    }

    fn is_dead(&self, segment: &Segment) -> Result<bool> {
        match segment.is_dead(|stream| self.registry.read().purged(stream)) {
            // Nobody can say whose the records were.
            Err(Error::Corrupt(_)) => Ok(false),
            other => other,
        }
    }

    /// Both checkpoints begin their scan here or behind.
    fn checkpoints_passed(&self) -> u64 {
        self.checkpoint_slot.lock().scan_bases.into_iter().min().unwrap_or(0)
    }

    /// Takes segments off the list; readers that hold them go on.
    fn forget(&self, gone: &[Arc<Segment>]) {
        let is_gone = |segment: &Arc<Segment>| gone.iter().any(|gone| Arc::ptr_eq(gone, segment));
        gone.iter().for_each(|segment| segment.set_freed());
        let mut segments = self.segments.write();
        *segments = Arc::new(segments.iter().filter(|segment| !is_gone(segment)).cloned().collect());
        self.unindexed.lock().retain(|segment| !is_gone(segment));
        self.purges.fetch_add(1, Ordering::Release);
    }
}
