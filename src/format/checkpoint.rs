//! A checkpoint: from where recovery scans, and what it can't learn by scanning from there.
//!
//! ```text
//!   0  magic "STRATCKP"       48  scan base      u64     80  segments       u64
//!   8  version      u32       56  scan position  u64     88  streams        u64
//!  12  checksum     u32       64  last time, us  i64     96  zeros up to 128
//!  16  log id       16 bytes  72  flags          u32
//!  32  generation   u64       76  0              u32   104  zeros up to 128
//!  40  next SeqId   u64             96  bytes of control records   u64
//! 128  segments x ( base SeqId u64 )                                             ascending
//!      streams  x ( stream 16 | next log_offset u64 | first SeqId u64 | last SeqId u64 )    sorted
//!      control records
//! ```
//!
//! The checksum covers everything behind it. Everything before `next SeqId` was durable.

use byteorder::{ByteOrder, LittleEndian as LE};
use bytes::Bytes;

use super::control::Control;
use super::index::partition;
use super::{ALIGNMENT, CHECKPOINT_MAGIC, DATA_START, FORMAT_VERSION, HeaderError, Invalid, check_magic};
use crate::ids::SeqId;

const HEADER: usize = 128;
const STREAM: usize = 40;
/// The log was closed: nothing was ever written behind the scan position.
const FLAG_CLEAN: u32 = 1;

/// What the log remembers of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) next_log_offset: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckpointHead {
    pub(crate) log_id: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) next_seq: u64,
    /// The segment in which the scan begins, and where.
    pub(crate) scan_base: u64,
    pub(crate) scan_position: u64,
    pub(crate) last_micros: i64,
    pub(crate) clean: bool,
}

impl CheckpointHead {
    /// Nothing was written behind the scan position, and nothing ever will be: the next append
    /// begins a segment of another name. A segment that was still empty gives its name to the
    /// next one, so there the scan goes on.
    pub(crate) fn ends_the_scan(&self) -> bool {
        self.clean && self.scan_base != self.next_seq
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) head: CheckpointHead,
    segments: Bytes,
    pub(crate) streams: StreamTable,
    /// Cursors, purge points, freed segments and producers.
    pub(crate) controls: Vec<Control>,
}

/// Streams as they stand in a checkpoint, sorted, read in place.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamTable(Bytes);

impl StreamTable {
    pub(crate) fn len(&self) -> usize {
        self.0.len() / STREAM
    }

    pub(crate) fn find(&self, stream: &[u8; 16]) -> Option<StreamState> {
        let entry = |k: usize| self.0.get(k * STREAM..(k + 1) * STREAM);
        let k = partition(self.len(), |k| entry(k).and_then(|e| e.get(..16)) < Some(stream.as_slice()));
        let (id, state) = read_stream(entry(k)?)?;
        (id == *stream).then_some(state)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ([u8; 16], StreamState)> + '_ {
        self.0.chunks_exact(STREAM).filter_map(read_stream)
    }
}

fn read_stream(entry: &[u8]) -> Option<([u8; 16], StreamState)> {
    let (id, numbers) = entry.split_first_chunk::<16>()?;
    let numbers = numbers.first_chunk::<24>()?;
    Some((
        *id,
        StreamState {
            next_log_offset: LE::read_u64(&numbers[..8]),
            first_seq: LE::read_u64(&numbers[8..16]),
            last_seq: LE::read_u64(&numbers[16..24]),
        },
    ))
}

pub(crate) fn encode(
    head: &CheckpointHead,
    segments: &[u64],
    streams: impl Iterator<Item = ([u8; 16], StreamState)>,
    controls: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + segments.len() * 8);
    out.extend_from_slice(&CHECKPOINT_MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.log_id);
    for number in [head.generation, head.next_seq, head.scan_base, head.scan_position] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&head.last_micros.to_le_bytes());
    out.extend_from_slice(&(if head.clean { FLAG_CLEAN } else { 0 }).to_le_bytes());
    out.resize(HEADER, 0);
    for base in segments {
        out.extend_from_slice(&base.to_le_bytes());
    }
    let mut count = 0u64;
    for (id, state) in streams {
        out.extend_from_slice(&id);
        for number in [state.next_log_offset, state.first_seq, state.last_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        count += 1;
    }
    out.extend_from_slice(controls);
    for (at, number) in [(80, segments.len() as u64), (88, count), (96, controls.len() as u64)] {
        if let Some(slot) = out.get_mut(at..at + 8) {
            LE::write_u64(slot, number);
        }
    }
    let checksum = crc32fast::hash(out.get(16..).unwrap_or_default());
    if let Some(slot) = out.get_mut(12..16) {
        LE::write_u32(slot, checksum);
    }
    out
}

/// By its header.
pub(super) fn whole_bytes(head: &[u8]) -> Option<u64> {
    let number = |at: usize| head.get(at..at + 8).map(LE::read_u64);
    let tables = number(80)?.checked_mul(8)?.checked_add(number(88)?.checked_mul(STREAM as u64)?)?;
    tables.checked_add(number(96)?)?.checked_add(HEADER as u64)
}

impl Checkpoint {
    pub(crate) fn decode(bytes: &Bytes) -> Result<Checkpoint, HeaderError> {
        check_magic(bytes, CHECKPOINT_MAGIC, HEADER)?;
        let Some((head, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(Invalid::new(0, "a checkpoint header", "less").into());
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
        let segments = LE::read_u64(&head[80..88]).checked_mul(8);
        let streams = LE::read_u64(&head[88..96]).checked_mul(STREAM as u64);
        let controls = LE::read_u64(&head[96..104]);
        let split = match (segments, streams) {
            (Some(a), Some(b))
                if a.checked_add(b).and_then(|sum| sum.checked_add(controls)) == Some(body.len() as u64) =>
            {
                (HEADER + a as usize, HEADER + (a + b) as usize)
            }
            _ => {
                return Err(
                    Invalid::new(80, "counts that fit the file", format!("{} bytes", body.len())).into()
                );
            }
        };
        let read = Checkpoint {
            head: CheckpointHead {
                log_id,
                generation: LE::read_u64(&head[32..40]),
                next_seq: LE::read_u64(&head[40..48]),
                scan_base: LE::read_u64(&head[48..56]),
                scan_position: LE::read_u64(&head[56..64]),
                last_micros: LE::read_i64(&head[64..72]),
                clean: LE::read_u32(&head[72..76]) & FLAG_CLEAN != 0,
            },
            segments: bytes.slice(HEADER..split.0),
            streams: StreamTable(bytes.slice(split.0..split.1)),
            controls: Control::decode_all(bytes.get(split.1..).unwrap_or_default())
                .map_err(|invalid| invalid.behind(split.1 as u64))?,
        };
        read.check_numbers()?;
        Ok(read)
    }

    /// What a checksum can't say: that the numbers are such as a log can have. Who uses them adds to
    /// them and searches the tables by halves.
    fn check_numbers(&self) -> Result<(), Invalid> {
        let head = &self.head;
        let wrong = |at: usize, expected: &str| Invalid::new(at as u64, expected, "others");
        if !(1..=SeqId::MAX.0).contains(&head.generation) {
            return Err(Invalid::new(32, "a generation from 1", head.generation.to_string()));
        }
        if !(1..=SeqId::MAX.0 + 1).contains(&head.next_seq) || !(1..=head.next_seq).contains(&head.scan_base)
        {
            return Err(wrong(40, "1 <= scan base <= next SeqId"));
        }
        if head.scan_position < DATA_START || !head.scan_position.is_multiple_of(ALIGNMENT) {
            return Err(Invalid::new(56, "the position of a frame", head.scan_position.to_string()));
        }
        if !self.segments().is_sorted_by(|a, b| a < b) {
            return Err(wrong(HEADER, "ascending segments"));
        }
        let mut last = None;
        for (id, state) in self.streams.iter() {
            let numbers = [state.next_log_offset, state.first_seq, state.last_seq];
            if last >= Some(id) || numbers.iter().any(|number| *number > SeqId::MAX.0 + 1) {
                return Err(wrong(HEADER + self.segments.len(), "ascending streams with numbers below 2^63"));
            }
            last = Some(id);
        }
        Ok(())
    }

    /// Every SeqId up to here was durable when it was written. It may know of control records behind
    /// its place, and what those are about was synced before they were written down.
    pub(crate) fn durable(&self) -> u64 {
        let upto = |control: &Control| match control {
            Control::Advance { to, .. } => to.seq,
            Control::Purge { upto, .. } => upto.seq,
            Control::Freed { end, .. } => end.saturating_sub(1),
            _ => 0,
        };
        let known = self.controls.iter().map(upto).max().unwrap_or(0);
        known.max(self.head.next_seq.saturating_sub(1))
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = u64> + '_ {
        self.segments.chunks_exact(8).map(LE::read_u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed() -> Control {
        Control::Freed { first: 2, end: 40 }
    }

    fn sample() -> Vec<u8> {
        let head = CheckpointHead {
            log_id: [4; 16],
            generation: 9,
            next_seq: 51,
            scan_base: 40,
            scan_position: 8192,
            last_micros: 77,
            clean: true,
        };
        let state = |n| StreamState { next_log_offset: n, first_seq: 1, last_seq: 50 };
        let mut controls = Vec::new();
        freed().encode_into(&mut controls);
        encode(&head, &[1, 40], [([1; 16], state(5)), ([8; 16], state(46))].into_iter(), &controls)
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let read = Checkpoint::decode(&Bytes::from(sample())).unwrap();
        assert_eq!((read.head.generation, read.head.next_seq, read.head.clean), (9, 51, true));
        assert_eq!(read.segments().collect::<Vec<_>>(), [1, 40]);
        assert_eq!(read.streams.find(&[8; 16]).unwrap().next_log_offset, 46);
        assert!(read.streams.find(&[7; 16]).is_none());
        assert_eq!(read.controls, [freed()]);
    }

    #[test]
    fn numbers_that_no_log_has_are_refused_though_the_checksum_is_right() {
        let most = u64::MAX.to_le_bytes();
        let zero = 0u64.to_le_bytes();
        // generation, next SeqId, scan base, scan position, a base, the second stream's id, an offset
        let wrong =
            [(32, most), (32, zero), (40, most), (40, zero), (48, most), (48, zero), (56, most), (56, zero)];
        for (at, value) in wrong.into_iter().chain([(128, most), (184, zero), (160, most), (168, most)]) {
            let mut bad = sample();
            bad[at..at + 8].copy_from_slice(&value);
            let checksum = crc32fast::hash(&bad[16..]);
            bad[12..16].copy_from_slice(&checksum.to_le_bytes());
            assert!(Checkpoint::decode(&Bytes::from(bad)).is_err(), "{value:?} at {at}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&Bytes::from(bad)).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(Checkpoint::decode(&Bytes::copy_from_slice(&good[..len])).is_err(), "length {len}");
        }
    }
}
