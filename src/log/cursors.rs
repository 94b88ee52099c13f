//! Durable positions of consumers, by stream and name.

use std::sync::Arc;

use super::reader::Reader;
use super::{Inner, Log};
use crate::error::{Error, Result};
use crate::format::control::{Control, MAX_CURSOR_NAME_BYTES, Point};
use crate::ids::{LogOffset, SeqId, StreamId};

/// The most cursors in a log: all of them are in memory.
const MAX_CURSORS: usize = 4 << 20;

/// How far a consumer has applied a stream: everything up to `seq_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The stream.
    pub stream: StreamId,
    /// Its name, unique in the stream.
    pub name: String,
    /// Where it stands; 0 is before the first record.
    pub seq_id: SeqId,
    /// The log_offset of the stream's last record up to there; 0 if there is none.
    pub log_offset: LogOffset,
}

/// What a consumer of a stream has not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The stream.
    pub stream: StreamId,
    /// How many records.
    pub records: u64,
    /// When the first of them was appended, in microseconds since 1970.
    pub first_unix_micros: i64,
}

impl Cursor {
    fn of(stream: StreamId, name: &str, point: Point) -> Self {
        Cursor {
            stream,
            name: name.to_owned(),
            seq_id: SeqId(point.seq),
            log_offset: LogOffset(point.log_offset),
        }
    }
}

impl Log {
    /// Says that the consumer `name` has applied everything of a stream up to `seq_id`; makes the
    /// cursor if it is new. Returns when that is as durable as an append would be, so many calls
    /// share one sync. Nothing is written if it stands there already.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `seq_id` is not committed yet, if the cursor stands further on (see
    /// [`rollback_cursor`](Log::rollback_cursor)), or for an empty name; [`Error::Limit`] for a name
    /// over 255 bytes; [`Error::Purged`] for a new cursor below the purge point; and as
    /// [`append`](Log::append).
    pub fn advance_cursor(&self, stream: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        let inner = self.inner();
        inner.check_cursor(name, seq_id)?;
        let known = inner.cursor(stream, name);
        if let Some(known) = known {
            inner.move_forward(stream, name, known, seq_id)?;
        } else {
            let _no_purge = inner.holding.lock();
            match inner.cursor(stream, name) {
                Some(known) => inner.move_forward(stream, name, known, seq_id)?,
                None => inner.make_cursor(stream, name, seq_id)?,
            }
        }
        self.cursor(stream, name).ok_or_else(|| Error::NoCursor { stream, name: name.to_owned() })
    }

    /// Sets a cursor back, so that its consumer gets the records behind `seq_id` again.
    ///
    /// # Errors
    /// [`Error::NoCursor`], [`Error::Purged`] below the purge point, [`Error::Invalid`] if `seq_id` is
    /// ahead of the cursor; and as [`append`](Log::append).
    pub fn rollback_cursor(&self, stream: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        let inner = self.inner();
        inner.check_cursor(name, seq_id)?;
        let _no_purge = inner.holding.lock();
        let no_cursor = || Error::NoCursor { stream, name: name.to_owned() };
        let known = inner.cursor(stream, name).ok_or_else(no_cursor)?;
        if seq_id.0 > known.seq {
            return Err(Error::Invalid(format!(
                "rollback of cursor {name:?}: expected a SeqId up to {}, where it stands, found {seq_id}; \
                 advance it instead",
                known.seq
            )));
        }
        inner.check_unpurged(stream, seq_id)?;
        if seq_id.0 < known.seq {
            let to = Point { seq: seq_id.0, log_offset: inner.log_offset_at(stream, seq_id)? };
            inner.control(Control::Rollback { stream: *stream.as_bytes(), name: name.to_owned(), to })?;
        }
        self.cursor(stream, name).ok_or_else(no_cursor)
    }

    /// Drops a cursor, which then holds up no purge any more; false if there was none.
    ///
    /// # Errors
    /// As [`append`](Log::append).
    pub fn drop_cursor(&self, stream: StreamId, name: &str) -> Result<bool> {
        let inner = self.inner();
        inner.check_running()?;
        let known = inner.cursor(stream, name).is_some();
        if known {
            inner.control(Control::Drop { stream: *stream.as_bytes(), name: name.to_owned() })?;
        }
        Ok(known)
    }

    /// A cursor, if it exists.
    #[must_use]
    pub fn cursor(&self, stream: StreamId, name: &str) -> Option<Cursor> {
        self.inner().cursor(stream, name).map(|point| Cursor::of(stream, name, point))
    }

    /// The cursors of a stream, by name.
    #[must_use]
    pub fn cursors_of(&self, stream: StreamId) -> Vec<Cursor> {
        let registry = self.inner().registry.read();
        registry.cursors_of(stream.as_bytes()).map(|(name, point)| Cursor::of(stream, name, point)).collect()
    }

    /// Every cursor, by stream and name.
    #[must_use]
    pub fn cursors(&self) -> Vec<Cursor> {
        let registry = self.inner().registry.read();
        let all = registry.cursors();
        all.map(|(stream, name, point)| Cursor::of(StreamId::from_bytes(stream), name, point)).collect()
    }

    /// How many records of a stream the cursor `name` has not passed; without such a cursor, how
    /// many there are. Costs two look-ups. In a log opened for reading only, as of the newest
    /// checkpoint.
    #[must_use]
    pub fn backlog(&self, stream: StreamId, name: &str) -> u64 {
        let newest = self.stream(stream).map_or(0, |stats| stats.next_log_offset.0 - 1);
        newest.saturating_sub(self.inner().passed(stream, name).log_offset)
    }

    /// The streams in which the cursor `name` has at least `at_least` records before it, sorted by
    /// id, each with the time of the first of them. A stream without such a cursor counts with all it
    /// has. Costs a look at every stream, and a read for each that is named.
    ///
    /// # Errors
    /// As reading.
    pub fn backlogs(&self, name: &str, at_least: u64) -> Result<Vec<Backlog>> {
        let inner = self.inner();
        inner.check_open()?;
        let mut found = Vec::new();
        for stats in self.streams() {
            let passed = inner.passed(stats.stream, name);
            let records = (stats.next_log_offset.0 - 1).saturating_sub(passed.log_offset);
            if records < at_least.max(1) {
                continue;
            }
            let mut reader = self.stream_reader(stats.stream, LogOffset(passed.log_offset + 1)..)?;
            let first = loop {
                match reader.next_record() {
                    // Purged meanwhile: what is left begins behind that.
                    Err(Error::Purged { .. }) => {}
                    other => break other?,
                }
            };
            let Some(first) = first else { continue };
            let records = stats.next_log_offset.0.saturating_sub(first.log_offset.0).min(records);
            if records >= at_least {
                found.push(Backlog { stream: stats.stream, records, first_unix_micros: first.unix_micros });
            }
        }
        Ok(found)
    }
}

impl Inner {
    fn cursor(&self, stream: StreamId, name: &str) -> Option<Point> {
        self.registry.read().cursor(stream.as_bytes(), name)
    }

    /// Up to where a consumer needs nothing any more.
    fn passed(&self, stream: StreamId, name: &str) -> Point {
        let registry = self.registry.read();
        let purged = registry.purged(stream.as_bytes()).unwrap_or_default();
        registry.cursor(stream.as_bytes(), name).unwrap_or_default().max(purged)
    }

    fn check_cursor(&self, name: &str, seq_id: SeqId) -> Result<()> {
        self.check_running()?;
        if name.is_empty() {
            return Err(Error::Invalid("cursor: expected a name, found an empty one".into()));
        }
        let (size, limit) = (name.len() as u64, MAX_CURSOR_NAME_BYTES as u64);
        if size > limit {
            return Err(Error::Limit { what: "bytes of a cursor's name", size, limit });
        }
        let newest = self.newest();
        if seq_id.0 > newest {
            return Err(Error::Invalid(format!(
                "cursor {name:?}: expected a SeqId up to {newest}, the newest there is, found {seq_id}"
            )));
        }
        Ok(())
    }

    fn check_unpurged(&self, stream: StreamId, seq_id: SeqId) -> Result<()> {
        let purged = self.purged(stream);
        if seq_id.0 < purged.seq && purged.log_offset > 0 {
            let (seq_id, log_offset) = (SeqId(purged.seq), LogOffset(purged.log_offset));
            return Err(Error::Purged { stream, seq_id, log_offset });
        }
        Ok(())
    }

    fn move_forward(
        self: &Arc<Self>,
        stream: StreamId,
        name: &str,
        known: Point,
        seq_id: SeqId,
    ) -> Result<()> {
        if seq_id.0 < known.seq {
            return Err(Error::Invalid(format!(
                "cursor {name:?}: expected a SeqId from {} on, where it stands, found {seq_id}; \
                 to set it back, roll it back",
                known.seq
            )));
        }
        if seq_id.0 == known.seq {
            return Ok(());
        }
        let to = Point { seq: seq_id.0, log_offset: self.log_offset_at(stream, seq_id)? };
        self.control(Control::Advance { stream: *stream.as_bytes(), name: name.to_owned(), to }).map(drop)
    }

    fn make_cursor(self: &Arc<Self>, stream: StreamId, name: &str, seq_id: SeqId) -> Result<()> {
        self.check_unpurged(stream, seq_id)?;
        let count = self.registry.read().cursor_count();
        if count >= MAX_CURSORS {
            return Err(Error::Limit { what: "cursors", size: count as u64 + 1, limit: MAX_CURSORS as u64 });
        }
        let to = Point { seq: seq_id.0, log_offset: self.log_offset_at(stream, seq_id)? };
        self.control(Control::Advance { stream: *stream.as_bytes(), name: name.to_owned(), to }).map(drop)
    }

    /// The log_offset of a stream's last record up to a committed SeqId; 0 if it has none.
    pub(super) fn log_offset_at(self: &Arc<Self>, stream: StreamId, seq_id: SeqId) -> Result<u64> {
        for last_look in [false, true] {
            let state = self.tail.lock().streams.find(stream.as_bytes());
            let Some(state) = state.filter(|state| seq_id.0 >= state.first_seq) else { return Ok(0) };
            if seq_id.0 >= state.last_seq {
                return Ok(state.next_log_offset - 1);
            }
            let purged = self.purged(stream);
            if seq_id.0 <= purged.seq {
                return Ok(purged.log_offset);
            }
            let mut reader = Reader::of_stream_by_seq(Arc::clone(self), stream, &(seq_id.next()..));
            match reader.next_numbers() {
                Ok(Some((_, log_offset))) => return Ok(log_offset - 1),
                // What comes next in the stream is on its way: it will be there, or its numbers taken
                // back; or it is damaged, or was cut out.
                Ok(None) | Err(Error::Corrupt(_) | Error::Gone { .. }) if !last_look => {
                    self.settle_staged()?
                }
                Ok(None) | Err(Error::Corrupt(_) | Error::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Nothing good follows: the last good one up to there is found from the front. Too little is safe.
        let mut found = self.purged(stream).log_offset;
        let mut reader = Reader::of_stream(Arc::clone(self), stream, &..);
        loop {
            match reader.next_record() {
                Ok(Some(record)) if record.seq_id <= seq_id => found = record.log_offset.0,
                Ok(_) => return Ok(found),
                Err(Error::Corrupt(_) | Error::Gone { .. } | Error::Purged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
