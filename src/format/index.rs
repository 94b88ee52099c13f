//! The index of one sealed segment: a file of its own, derived from the segment and disposable.
//!
//! ```text
//!   0  magic "STRATIDX"       40  end SeqId      u64     64  streams        u32
//!   8  version      u32       48  data end       u64     68  frames         u32
//!  12  checksum     u32       56  salt           u32     72  zeros up to 96
//!  16  log id       16 bytes  60  places         u32
//!  32  base SeqId   u64
//!  96  places  x ( SeqId - base u32 | position / 8 u32 )             one about every 4 KiB
//!      streams x ( stream 16 | first log_offset u64 | first frame u32 | frames u32 )    sorted
//!      frames  x ( log_offset - first u32 | position / 8 u32 )       in order within a stream
//! ```
//!
//! The checksum covers everything behind it. The salt ties the index to one use of its file.

use byteorder::{ByteOrder, LittleEndian as LE};
use bytes::Bytes;

use super::{ALIGNMENT, FORMAT_VERSION, HeaderError, INDEX_MAGIC, Invalid, check_magic};

const HEADER: usize = 96;
const PLACE: usize = 8;
const STREAM: usize = 32;

/// Where a frame begins: its first number less the segment's (or run's) first, and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) delta: u32,
    /// Position divided by the alignment: 32 GiB fit.
    pub(crate) slot: u32,
}

impl Place {
    pub(crate) fn new(delta: u64, position: u64) -> Place {
        Place { delta: delta as u32, slot: (position / ALIGNMENT) as u32 }
    }

    pub(crate) fn position(self) -> u64 {
        u64::from(self.slot) * ALIGNMENT
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.delta.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Place {
        let (delta, slot) = bytes.split_at(4);
        Place { delta: LE::read_u32(delta), slot: LE::read_u32(slot) }
    }
}

/// One stream's frames in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stream: [u8; 16],
    pub(crate) first_log_offset: u64,
    pub(crate) frames: Vec<Place>,
}

/// What ties an index to its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) log_id: [u8; 16],
    pub(crate) base: u64,
    pub(crate) end: u64,
    pub(crate) data_end: u64,
    pub(crate) salt: u32,
}

pub(crate) fn encode(identity: &Identity, places: &[Place], runs: &[Run]) -> Vec<u8> {
    let frames: usize = runs.iter().map(|run| run.frames.len()).sum();
    let mut out = Vec::with_capacity(HEADER + places.len() * PLACE + runs.len() * STREAM + frames * PLACE);
    out.extend_from_slice(&INDEX_MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&identity.log_id);
    for number in [identity.base, identity.end, identity.data_end] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [identity.salt, places.len() as u32, runs.len() as u32, frames as u32] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(HEADER, 0);
    for place in places {
        place.put(&mut out);
    }
    let mut first_frame = 0u32;
    for run in runs {
        out.extend_from_slice(&run.stream);
        out.extend_from_slice(&run.first_log_offset.to_le_bytes());
        out.extend_from_slice(&first_frame.to_le_bytes());
        out.extend_from_slice(&(run.frames.len() as u32).to_le_bytes());
        first_frame += run.frames.len() as u32;
    }
    for place in runs.iter().flat_map(|run| &run.frames) {
        place.put(&mut out);
    }
    let checksum = crc32fast::hash(out.get(16..).unwrap_or_default());
    if let Some(slot) = out.get_mut(12..16) {
        LE::write_u32(slot, checksum);
    }
    out
}

/// An index as it stands in its file, checked once and read in place.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) identity: Identity,
    places: Bytes,
    streams: Bytes,
    frames: Bytes,
}

/// By its header.
pub(super) fn whole_bytes(head: &[u8]) -> Option<u64> {
    let count = |at: usize| head.get(at..at + 4).map(|number| u64::from(LE::read_u32(number)));
    let tables = count(60)? * PLACE as u64 + count(64)? * STREAM as u64 + count(68)? * PLACE as u64;
    Some(tables + HEADER as u64)
}

impl Index {
    pub(crate) fn decode(bytes: &Bytes) -> Result<Index, HeaderError> {
        check_magic(bytes, INDEX_MAGIC, HEADER)?;
        let Some((head, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(Invalid::new(0, "an index header", "less").into());
        };
        let (stored, computed) =
            (LE::read_u32(&head[12..16]), crc32fast::hash(bytes.get(16..).unwrap_or_default()));
        if stored != computed {
            return Err(
                Invalid::new(12, format!("checksum {computed:#010x}"), format!("{stored:#010x}")).into()
            );
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&head[16..32]);
        let identity = Identity {
            log_id,
            base: LE::read_u64(&head[32..40]),
            end: LE::read_u64(&head[40..48]),
            data_end: LE::read_u64(&head[48..56]),
            salt: LE::read_u32(&head[56..60]),
        };
        let count =
            |at: usize, width: usize| LE::read_u32(head.get(at..at + 4).unwrap_or(&[0; 4])) as usize * width;
        let (places, streams, frames) = (count(60, PLACE), count(64, STREAM), count(68, PLACE));
        if places + streams + frames != body.len() {
            return Err(Invalid::new(
                60,
                format!("{} bytes of entries", places + streams + frames),
                body.len().to_string(),
            )
            .into());
        }
        let read = Index {
            identity,
            places: bytes.slice(HEADER..HEADER + places),
            streams: bytes.slice(HEADER + places..HEADER + places + streams),
            frames: bytes.slice(HEADER + places + streams..),
        };
        read.check_order()?;
        Ok(read)
    }

    /// What a checksum can't say: that everything ascends. Whoever searches relies on it, and whoever
    /// asks for the frames behind a position would get the same ones again and again.
    fn check_order(&self) -> Result<(), Invalid> {
        let wrong = |at: usize, expected: &str| Err(Invalid::new((HEADER + at) as u64, expected, "others"));
        if !ascend(&self.places) {
            return wrong(0, "ascending places");
        }
        let (mut last, mut frames) = (None, 0);
        for k in 0..self.streams.len() / STREAM {
            let entry = self
                .stream_entry(k)
                .and_then(|entry| Some((entry.first_chunk::<16>()?, self.run_of(entry)?)));
            let Some((id, run)) = entry.filter(|(id, run)| last < Some(**id) && ascend(&run.frames)) else {
                return wrong(self.places.len() + k * STREAM, "ascending streams and frames");
            };
            let first = self.stream_entry(k).and_then(|entry| entry.get(24..28)).map(LE::read_u32);
            if first != Some(frames) || run.len() == 0 {
                return wrong(self.places.len() + k * STREAM + 24, "the number of the stream's first frame");
            }
            (last, frames) = (Some(*id), frames + run.len() as u32);
        }
        if frames as usize * PLACE == self.frames.len() {
            Ok(())
        } else {
            wrong(0, "frames that belong to streams")
        }
    }

    /// The first and the last place.
    pub(crate) fn ends(&self) -> Option<(Place, Place)> {
        let (first, last) = (self.places.first_chunk::<PLACE>()?, self.places.last_chunk::<PLACE>()?);
        Some((Place::read(first), Place::read(last)))
    }

    /// The last place at or before `delta`, by SeqId, and the one behind it.
    pub(crate) fn place_at(&self, delta: u32) -> Option<(Place, Option<Place>)> {
        let at = |k: usize| self.places.get(k * PLACE..(k + 1) * PLACE).map(Place::read);
        last_place(self.places.len() / PLACE, delta, at)
    }

    /// First log_offset and frames of a stream.
    pub(crate) fn run(&self, stream: &[u8; 16]) -> Option<StoredRun> {
        let k = partition(self.streams.len() / STREAM, |k| {
            self.stream_entry(k).is_some_and(|entry| entry.get(..16) < Some(stream.as_slice()))
        });
        let entry = self.stream_entry(k).filter(|entry| entry.get(..16) == Some(stream.as_slice()))?;
        self.run_of(entry)
    }

    /// All runs, sorted by stream.
    pub(crate) fn runs(&self) -> impl Iterator<Item = ([u8; 16], StoredRun)> + '_ {
        self.runs_from(0)
    }

    /// As [`runs`](Self::runs), without the first `skip` of them.
    pub(crate) fn runs_from(&self, skip: usize) -> impl Iterator<Item = ([u8; 16], StoredRun)> + '_ {
        self.streams
            .chunks_exact(STREAM)
            .skip(skip)
            .filter_map(|entry| Some((*entry.first_chunk::<16>()?, self.run_of(entry)?)))
    }

    fn stream_entry(&self, k: usize) -> Option<&[u8]> {
        self.streams.get(k * STREAM..(k + 1) * STREAM)
    }

    fn run_of(&self, entry: &[u8]) -> Option<StoredRun> {
        let rest = entry.get(16..STREAM)?;
        let (offset, rest) = rest.split_at_checked(8)?;
        let (first, count) = rest.split_at_checked(4)?;
        let start = (LE::read_u32(first) as usize).checked_mul(PLACE)?;
        let end = start.checked_add((LE::read_u32(count) as usize).checked_mul(PLACE)?)?;
        if end > self.frames.len() {
            return None;
        }
        Some(StoredRun { first_log_offset: LE::read_u64(offset), frames: self.frames.slice(start..end) })
    }
}

/// One stream's frames as they stand in the file.
#[derive(Debug, Clone)]
pub(crate) struct StoredRun {
    pub(crate) first_log_offset: u64,
    frames: Bytes,
}

impl StoredRun {
    pub(crate) fn len(&self) -> usize {
        self.frames.len() / PLACE
    }

    pub(crate) fn frame(&self, k: usize) -> Option<Place> {
        self.frames.get(k * PLACE..(k + 1) * PLACE).map(Place::read)
    }

    /// Number of the last frame at or before `log_offset`.
    pub(crate) fn frame_holding(&self, log_offset: u64) -> Option<usize> {
        let delta = u32::try_from(log_offset.checked_sub(self.first_log_offset)?).unwrap_or(u32::MAX);
        partition(self.len(), |k| self.frame(k).is_some_and(|place| place.delta <= delta)).checked_sub(1)
    }
}

/// Guesses before places are halved.
const GUESSES: u32 = 6;

/// The last of `len` ascending places at or before `delta`, and the one behind it. Places are looked for
/// where they would be if all frames were of one size, which is nearly right: each look at one is a miss
/// of the processor's cache, and halving would take a dozen of them.
pub(crate) fn last_place(
    len: usize,
    delta: u32,
    at: impl Fn(usize) -> Option<Place>,
) -> Option<(Place, Option<Place>)> {
    let mut low = at(0).filter(|first| first.delta <= delta)?;
    let mut high = at(len.checked_sub(1)?)?;
    if high.delta <= delta {
        return Some((high, None));
    }
    // low <= delta < high, at `first` and `end`.
    let (mut first, mut end) = (0, len - 1);
    let mut guesses = 0;
    while end - first > 1 {
        let middle = if guesses < GUESSES {
            let (part, whole) = (u64::from(delta - low.delta), u64::from(high.delta - low.delta));
            first + (part * (end - first) as u64 / whole) as usize
        } else {
            first + (end - first) / 2
        };
        guesses += 1;
        let middle = middle.clamp(first + 1, end - 1);
        let place = at(middle)?;
        if place.delta <= delta {
            (first, low) = (middle, place);
        } else {
            (end, high) = (middle, place);
        }
    }
    Some((low, Some(high)))
}

/// Both numbers of each place are above those of the one before it.
fn ascend(places: &[u8]) -> bool {
    places.chunks_exact(PLACE).map(Place::read).is_sorted_by(|a, b| a.delta < b.delta && a.slot < b.slot)
}

/// The number of leading items for which `before` holds.
pub(crate) fn partition(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let identity = Identity { log_id: [1; 16], base: 100, end: 140, data_end: 9000, salt: 5 };
        let places = [Place::new(0, 4096), Place::new(20, 8192)];
        let runs = [
            Run {
                stream: [1; 16],
                first_log_offset: 7,
                frames: vec![Place::new(0, 4096), Place::new(5, 6000)],
            },
            Run { stream: [9; 16], first_log_offset: 1, frames: vec![Place::new(0, 8192)] },
        ];
        encode(&identity, &places, &runs)
    }

    #[test]
    fn frames_are_found_by_seqid_and_by_stream() {
        let index = Index::decode(&Bytes::from(sample())).unwrap();
        assert_eq!(index.place_at(19).unwrap().0.position(), 4096);
        assert_eq!(index.place_at(20).unwrap().0.position(), 8192);
        let run = index.run(&[1; 16]).unwrap();
        assert_eq!((run.len(), run.first_log_offset), (2, 7));
        assert_eq!(run.frame_holding(11), Some(0));
        assert_eq!(run.frame_holding(12), Some(1));
        assert_eq!(run.frame_holding(6), None);
        assert!(index.run(&[2; 16]).is_none());
        assert_eq!(index.runs().count(), 2);
    }

    #[test]
    fn what_does_not_ascend_is_refused_though_the_checksum_is_right() {
        // A place's SeqId and position, a stream's id, its first frame, its frames, and two of theirs.
        for (at, value) in
            [(96, 20), (108, 1), (112, u32::MAX), (136, 1), (140, 3), (140, 0), (176, 9), (180, 9000)]
        {
            let mut bad = sample();
            bad[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            let checksum = crc32fast::hash(&bad[16..]);
            bad[12..16].copy_from_slice(&checksum.to_le_bytes());
            assert!(Index::decode(&Bytes::from(bad)).is_err(), "{value} at {at}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Index::decode(&Bytes::from(bad)).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(Index::decode(&Bytes::copy_from_slice(&good[..len])).is_err(), "length {len}");
        }
    }
}
