//! How much of a segment is still wanted: a stream's records count until the stream is purged
//! beyond them.

use super::{Segment, SegmentIndex, View, names};
use crate::sync::atomic::Ordering;
use std::io::ErrorKind;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::control::Point;

/// What is live in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Life {
    /// Bytes of frames with at least one live record.
    pub(crate) live_bytes: u64,
    /// Bytes of all other frames.
    pub(crate) dead_bytes: u64,
    pub(crate) live_streams: u64,
    /// The first stream that has something here.
    pub(crate) holder: Option<[u8; 16]>,
}

/// What was found of a segment's streams so far.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Streams, in the order of the index, that are known to have nothing left in here.
    dead_runs: usize,
    /// The next one, and its last SeqId in here.
    holder: Option<([u8; 16], u64)>,
}

/// Streams looked at without asking the index again.
const PIECE: usize = 64;

/// A stream's frames in one segment, as far as it takes to say what is live.
struct Run {
    stream: [u8; 16],
    /// First log_offset and position of each frame.
    frames: Vec<(u64, u64)>,
}

impl Segment {
    /// From now on the file may be gone.
    pub(crate) fn set_freed(&self) {
        self.freed.store(true, Ordering::Release);
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Acquire)
    }

    /// Closes its file, if it was one of `capacity` bytes and nobody reads it. The index goes first: it must
    /// not outlive its segment.
    pub(crate) fn let_go(&mut self, capacity: u64) -> bool {
        let full = match self.opened.get() {
            Some(opened) => opened.file.size().is_ok_and(|size| size == capacity),
            None => true,
        };
        if full && self.remove_index().is_ok() {
            *self.view.write() = Bytes::new();
            (self.opened, self.whole, self.stored) = Default::default();
            return true;
        }
        false
    }

    fn remove_index(&self) -> Result<()> {
        self.remove(&names::index(self.base))
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.home.storage.remove(name) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", name, error)),
            _ => Ok(()),
        }
    }

    /// Removes segment and index. Who has the segment mapped keeps its bytes; nobody can write the
    /// index any more. What is gone already is gone.
    pub(crate) fn remove_files(&self) -> Result<()> {
        self.set_freed();
        let _nobody_writes_the_index = self.index.write();
        self.remove_index()?;
        self.remove(&self.name)
    }

    /// True if no stream has anything left in here; `purged` says how far a stream was purged. A
    /// segment with damage in the way is never dead. Streams found dead stay dead, so over the life
    /// of a segment each is looked at once.
    pub(crate) fn is_dead(&self, purged: impl Fn(&[u8; 16]) -> Option<Point>) -> Result<bool> {
        let mut live = self.live.lock();
        let upto = |stream: &[u8; 16]| purged(stream).map_or(0, |point| point.seq);
        if live.holder.is_some_and(|(stream, last)| last > upto(&stream)) {
            return Ok(false);
        }
        let passing = self.passing();
        let open = passing.as_ref().unwrap_or(self);
        loop {
            let runs = open.last_frames(live.dead_runs)?;
            if runs.is_empty() {
                return open
                    .with_index(|index| !matches!(index, SegmentIndex::Built(built) if built.damaged));
            }
            for (stream, position) in runs {
                let frame = open.frame_at(&mut View::scattered(), position)?;
                let last = frame.map_or(u64::MAX, |frame| frame.header.next_seq() - 1);
                if last > upto(&stream) {
                    live.holder = Some((stream, last));
                    return Ok(false);
                }
                live.dead_runs += 1;
            }
        }
    }

    /// Another one of the same file, for a look in passing: a file that nobody reads is not kept open.
    fn passing(&self) -> Option<Segment> {
        let unread = self.opened.get().is_none();
        unread.then(|| Segment::sealed(&self.home, self.base, self.end_seq()))
    }

    /// The SeqId of a stream's record, if it is in here and can be read.
    pub(crate) fn seq_of(&self, stream: &[u8; 16], log_offset: u64) -> Result<Option<u64>> {
        let passing = self.passing();
        let open = passing.as_ref().unwrap_or(self);
        let Some(position) = open.stream_frames(stream, log_offset, 0)?.front().copied() else {
            return Ok(None);
        };
        let frame = open.frame_at(&mut View::scattered(), position)?;
        Ok(frame.ok().and_then(|frame| {
            let k = log_offset.checked_sub(frame.header.first_log_offset)?;
            (k < u64::from(frame.header.count)).then(|| frame.header.first_seq + k)
        }))
    }

    /// The position of the last frame of each stream, from stream number `skip` on.
    fn last_frames(&self, skip: usize) -> Result<Vec<([u8; 16], u64)>> {
        self.with_index(|index| match index {
            SegmentIndex::Unread => Vec::new(),
            SegmentIndex::Stored(index) => index
                .runs_from(skip)
                .take(PIECE)
                .filter_map(|(stream, run)| Some((stream, run.frame(run.len().checked_sub(1)?)?.position())))
                .collect(),
            SegmentIndex::Built(index) => index
                .sorted_runs()
                .into_iter()
                .skip(skip)
                .take(PIECE)
                .filter_map(|run| Some((run.stream, run.frames.last()?.position())))
                .collect(),
        })
    }

    /// Counts what is live. Costs a look at each frame's place in the index and at each stream's last
    /// frame.
    pub(crate) fn life(&self, purged: impl Fn(&[u8; 16]) -> Option<Point>) -> Result<Life> {
        let runs = self.all_runs()?;
        let mut places = Vec::new();
        let mut life = Life::default();
        for run in &runs {
            let upto = purged(&run.stream).unwrap_or_default();
            let mut live = false;
            for (k, (_, position)) in run.frames.iter().enumerate() {
                let wanted = match run.frames.get(k + 1) {
                    Some((next_offset, _)) => *next_offset > upto.log_offset + 1,
                    None => {
                        let frame = self.frame_at(&mut View::scattered(), *position)?;
                        frame.map_or(u64::MAX, |frame| frame.header.next_seq() - 1) > upto.seq
                    }
                };
                places.push((*position, wanted));
                live |= wanted;
            }
            life.live_streams += u64::from(live);
            life.holder = life.holder.or(live.then_some(run.stream));
        }
        places.sort_unstable();
        let end = self.data_end()?;
        life.dead_bytes = places.first().map_or(end, |(first, _)| *first).saturating_sub(DATA_START);
        for (k, (position, wanted)) in places.iter().enumerate() {
            // What the log wrote about itself counts for the batch before it.
            let bytes = places.get(k + 1).map_or(end, |(next, _)| *next).saturating_sub(*position);
            *(if *wanted { &mut life.live_bytes } else { &mut life.dead_bytes }) += bytes;
        }
        Ok(life)
    }

    fn all_runs(&self) -> Result<Vec<Run>> {
        let from = |first: u64, place: crate::format::index::Place| {
            (first.saturating_add(u64::from(place.delta)), place.position())
        };
        self.with_index(|index| match index {
            SegmentIndex::Unread => Vec::new(),
            SegmentIndex::Stored(index) => index
                .runs_from(0)
                .map(|(stream, run)| Run {
                    stream,
                    frames: (0..run.len())
                        .filter_map(|k| run.frame(k))
                        .map(|place| from(run.first_log_offset, place))
                        .collect(),
                })
                .collect(),
            SegmentIndex::Built(index) => index
                .sorted_runs()
                .into_iter()
                .map(|run| Run {
                    stream: run.stream,
                    frames: run.frames.into_iter().map(|place| from(run.first_log_offset, place)).collect(),
                })
                .collect(),
        })
    }
}
