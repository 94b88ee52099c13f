//! Finding frames in a segment, by SeqId and by stream.

use super::memory_index::MemoryIndex;
use super::scan::read_table;
use super::view::Frame;
use super::{Opened, Segment, View, names};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::index::{self, Identity, Index, Place, partition};
use crate::storage::Access;

/// What is known of where things are in a segment.
#[derive(Debug)]
pub(crate) enum SegmentIndex {
    /// Nobody has asked yet.
    Unread,
    /// In its file, checked.
    Stored(Index),
    /// Followed from the frames so far.
    Built(MemoryIndex),
}

impl SegmentIndex {
    /// The first and the last place known.
    fn ends(&self) -> Option<(Place, Place)> {
        match self {
            SegmentIndex::Unread => None,
            SegmentIndex::Stored(index) => index.ends(),
            SegmentIndex::Built(index) => Some((*index.places().first()?, *index.places().last()?)),
        }
    }

    /// The last place known at or before the SeqId that is `delta` after the segment's base, and the one
    /// behind it.
    fn place_at(&self, delta: u64) -> Option<(Place, Option<Place>)> {
        let delta = u32::try_from(delta).unwrap_or(u32::MAX);
        match self {
            SegmentIndex::Unread => None,
            SegmentIndex::Stored(index) => index.place_at(delta),
            SegmentIndex::Built(index) => index.place_at(delta),
        }
    }
}

/// Positions of one stream's frames, in order: a bounded piece of what the segment holds.
pub(crate) type StreamFrames = std::collections::VecDeque<u64>;

/// The most positions handed out at once.
const PIECE: usize = 512;

impl Segment {
    /// Runs `look` on an index that covers everything committed at the time of the call.
    pub(super) fn with_index<T>(&self, look: impl FnOnce(&SegmentIndex) -> T) -> Result<T> {
        if let Some(stored) = self.stored.get() {
            return Ok(look(stored));
        }
        let end = self.end_seq();
        {
            let index = self.index.read();
            if matches!(&*index, SegmentIndex::Built(built) if built.next_seq >= end) {
                return Ok(look(&index));
            }
        }
        let mut index = self.index.write();
        self.bring_up(&mut index, end)?;
        Ok(look(self.stored.get().unwrap_or(&index)))
    }

    fn bring_up(&self, index: &mut SegmentIndex, end: u64) -> Result<()> {
        if self.stored.get().is_some() {
            return Ok(());
        }
        if matches!(index, SegmentIndex::Unread) {
            if let Some(stored) = self.stored_index()? {
                let _ = self.stored.set(SegmentIndex::Stored(stored));
                return Ok(());
            }
            *index = SegmentIndex::Built(MemoryIndex::new(self.base));
        }
        if let SegmentIndex::Built(built) = index {
            self.follow(built, end)?;
        }
        Ok(())
    }

    /// Adds the frames from where `index` stands up to SeqId `end`. Damage is stepped over: who
    /// reads the records it hit gets the error.
    fn follow(&self, index: &mut MemoryIndex, end: u64) -> Result<()> {
        let mut view = View::sequential();
        while index.next_seq < end {
            let frame = match self.frame_at(&mut view, index.next_position)? {
                Ok(frame) if frame.header.first_seq >= index.next_seq => Some(frame),
                _ => {
                    index.damaged = true;
                    self.frame_after_damage(&mut view, index.next_position + 8, index.next_seq)?
                }
            };
            match frame {
                Some(frame) => index.add(frame.position, &frame.header),
                None => {
                    index.next_seq = end;
                    index.next_position = self.limit(self.opened()?)?;
                }
            }
        }
        Ok(())
    }

    /// Where the frame with the last SeqId ends; a witness may follow.
    pub(crate) fn data_end(&self) -> Result<u64> {
        self.with_index(|index| match index {
            SegmentIndex::Unread => DATA_START,
            SegmentIndex::Stored(index) => index.identity.data_end,
            SegmentIndex::Built(built) => built.next_position,
        })
    }

    /// The index file, if there is a good one. A bad one is no error: it is made from the segment.
    fn stored_index(&self) -> Result<Option<Index>> {
        let name = names::index(self.base);
        let Ok(file) = self.home.storage.open(&name, Access::Read) else {
            return Ok(None);
        };
        let bytes = read_table(file.as_ref(), &name, self.home.read_mode)?;
        let opened = self.opened()?;
        Ok(Index::decode(&bytes).ok().filter(|index| {
            let expected = self.identity(opened, index.identity.data_end);
            index.identity == expected
        }))
    }

    fn identity(&self, opened: &Opened, data_end: u64) -> Identity {
        Identity {
            log_id: self.home.log_id(&opened.header.log_id),
            base: self.base,
            end: self.end_seq(),
            data_end,
            salt: opened.header.salt,
        }
    }

    /// Writes the index of a sealed segment to its file, and reads from there from now on.
    pub(crate) fn store_index(&self) -> Result<()> {
        let mut slot = self.index.write();
        if self.is_freed() {
            return Ok(());
        }
        self.bring_up(&mut slot, self.end_seq())?;
        let built = match &*slot {
            // A file would say of a damaged segment that this is all there ever was.
            SegmentIndex::Built(built) if !built.damaged => built,
            _ => return Ok(()),
        };
        let identity = self.identity(self.opened()?, built.next_position);
        let bytes = index::encode(&identity, built.places(), &built.sorted_runs());
        let name = names::index(self.base);
        let temporary = names::temporary(&name);
        let storage = &self.home.storage;
        let file =
            storage.create(&temporary, bytes.len() as u64).map_err(|e| Error::io("create", &temporary, e))?;
        file.write_at(&bytes, 0).map_err(|e| Error::io("write", &temporary, e))?;
        file.sync().map_err(|e| Error::io("sync", &temporary, e))?;
        // The directory need not be synced: a segment without its index only costs time.
        storage.rename(&temporary, &name).map_err(|e| Error::io("rename", &temporary, e))?;
        drop(bytes);
        if let Some(stored) = self.stored_index()? {
            let _ = self.stored.set(SegmentIndex::Stored(stored));
            *slot = SegmentIndex::Unread;
        }
        Ok(())
    }

    /// The frame that holds committed SeqId `seq`, which lies in `base..end_seq`.
    ///
    /// # Errors
    /// Corruption if the frame is damaged or missing, `Gone` if it was cut out on purpose.
    pub(crate) fn frame_of(&self, view: &mut View, seq: u64) -> Result<Frame> {
        let delta = seq.saturating_sub(self.base);
        self.show(view, DATA_START)?;
        let places = self.with_index(|index| {
            if let Some((first, last)) = index.ends() {
                view.guess(first, last, delta);
            }
            index.place_at(delta)
        })?;
        let position = places.map_or(DATA_START, |(place, _)| place.position());
        self.show(view, position)?;
        if let Some((place, Some(next))) = places {
            let bytes = next.position().saturating_sub(place.position());
            let records = u64::from(next.delta.saturating_sub(place.delta));
            view.expect(position, bytes, records, delta.saturating_sub(u64::from(place.delta)));
        }
        match self.try_place(view, position, seq) {
            Some(frame) => Ok(frame),
            None => self.walk_to(view, position, seq),
        }
    }

    /// The frame that holds SeqId `seq`, found from `position` by what the headers in between say, of
    /// which none is verified: whatever they say, a frame that is good where it stands and holds `seq` is
    /// the one. `None` if that leads nowhere.
    fn try_place(&self, view: &View, mut position: u64, seq: u64) -> Option<Frame> {
        while let Some((next_seq, bytes)) = view.stride(position) {
            if next_seq > seq {
                let mut frame = Frame::NONE;
                let good = view.load(position, &mut frame) && frame.header.first_seq <= seq;
                return good.then_some(frame);
            }
            position += bytes;
        }
        None
    }

    /// As [`frame_of`](Self::frame_of), verifying each frame on the way from `position`.
    #[cold]
    fn walk_to(&self, view: &mut View, mut position: u64, seq: u64) -> Result<Frame> {
        let mut due = self.base;
        loop {
            let (frame, damage) = match self.frame_at(view, position)? {
                Ok(frame) => (Some(frame), None),
                Err(invalid) => (self.frame_after_damage(view, position + 8, due)?, Some(invalid)),
            };
            match frame {
                Some(frame) if frame.header.next_seq() <= seq => {
                    position = frame.position + frame.header.frame_bytes();
                    due = frame.header.next_seq();
                }
                Some(frame) if frame.header.first_seq <= seq => return Ok(frame),
                later => return Err(self.missing(seq, position, damage, later.as_ref())),
            }
        }
    }

    /// Why SeqId `seq` is not where it was due.
    pub(crate) fn missing(
        &self,
        seq: u64,
        position: u64,
        damage: Option<crate::format::Invalid>,
        later: Option<&Frame>,
    ) -> Error {
        let next = later.map_or(self.end_seq(), |frame| frame.header.first_seq);
        match damage {
            Some(invalid) => invalid.in_file(&self.name, position),
            None if self.opened().is_ok_and(|opened| opened.header.rewritten) => {
                Error::Gone { first: crate::SeqId(seq), next: crate::SeqId(next) }
            }
            None => Error::corrupt(&self.name, position, format!("SeqId {seq}"), format!("SeqId {next}")),
        }
    }

    /// Positions of the frames of `stream` that come after position `after` and may hold
    /// `log_offset` or later ones.
    pub(crate) fn stream_frames(
        &self,
        stream: &[u8; 16],
        log_offset: u64,
        after: u64,
    ) -> Result<StreamFrames> {
        self.with_index(|index| match index {
            SegmentIndex::Unread => StreamFrames::new(),
            SegmentIndex::Stored(index) => index.run(stream).map_or_else(StreamFrames::new, |run| {
                let first = run.frame_holding(log_offset).unwrap_or(0);
                let first =
                    first.max(partition(run.len(), |k| run.frame(k).is_some_and(|p| p.position() <= after)));
                (first..run.len()).take(PIECE).filter_map(|k| run.frame(k)).map(Place::position).collect()
            }),
            SegmentIndex::Built(index) => {
                index.run(stream).map_or_else(StreamFrames::new, |(base, frames)| {
                    let delta = u32::try_from(log_offset.saturating_sub(base)).unwrap_or(u32::MAX);
                    let first = frames.partition_point(|place| place.delta <= delta).saturating_sub(1);
                    let first = first.max(frames.partition_point(|place| place.position() <= after));
                    frames.iter().skip(first).take(PIECE).map(|place| place.position()).collect()
                })
            }
        })
    }
}
