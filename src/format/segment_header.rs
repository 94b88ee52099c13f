//! The first bytes of a segment.
//!
//! ```text
//!   0  magic "STRATSEG"        32  base SeqId          u64
//!   8  version       u32       40  durable_upto        u64
//!  12  checksum      u32       48  created, unix us    i64
//!  16  log id        16 bytes  56  salt                u32
//!                              60  flags               u32
//!                              64  end SeqId           u64
//!                              72  zeros up to 128
//! ```

use byteorder::{ByteOrder, LittleEndian as LE};

use super::{FORMAT_VERSION, HeaderError, Invalid, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, check_magic};
use crate::ids::SeqId;

/// The segment was written anew without some of its records: SeqIds may be missing in it.
const FLAG_REWRITTEN: u32 = 1;
/// The file was a segment before: behind its frames, other bytes than zeros say nothing.
const FLAG_RECYCLED: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: [u8; 16],
    /// The SeqId of the first record that this segment may hold.
    pub(crate) base: u64,
    /// Every SeqId up to here was durable before this segment got its name.
    pub(crate) durable_upto: u64,
    pub(crate) created_micros: i64,
    /// Seed of all checksums of this use of the file.
    pub(crate) salt: u32,
    pub(crate) rewritten: bool,
    /// What stands behind the frames may be of an earlier use of the file.
    pub(crate) recycled: bool,
    /// In a rewritten segment, the SeqId after its last one, present or not; otherwise 0. The frames
    /// of a rewritten segment end with a witness of this SeqId, so that its own end is told from
    /// damage.
    pub(crate) end: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0u8; SEGMENT_HEADER_BYTES];
        let (head, body) = out.split_at_mut(16);
        body[..16].copy_from_slice(&self.log_id);
        LE::write_u64(&mut body[16..24], self.base);
        LE::write_u64(&mut body[24..32], self.durable_upto);
        LE::write_i64(&mut body[32..40], self.created_micros);
        LE::write_u32(&mut body[40..44], self.salt);
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(self.rewritten, FLAG_REWRITTEN) | flag(self.recycled, FLAG_RECYCLED);
        LE::write_u32(&mut body[44..48], flags);
        LE::write_u64(&mut body[48..56], self.end);
        head[..8].copy_from_slice(&SEGMENT_MAGIC);
        LE::write_u32(&mut head[8..12], FORMAT_VERSION);
        LE::write_u32(&mut head[12..16], crc32fast::hash(body));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
        check_magic(bytes, SEGMENT_MAGIC, SEGMENT_HEADER_BYTES)?;
        let body = &bytes[16..SEGMENT_HEADER_BYTES];
        let (stored, computed) = (LE::read_u32(&bytes[12..16]), crc32fast::hash(body));
        if stored != computed {
            return Err(Invalid::new(
                12,
                format!("header checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            )
            .into());
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&body[..16]);
        let flags = LE::read_u32(&body[44..48]);
        if flags & !(FLAG_REWRITTEN | FLAG_RECYCLED) != 0 {
            return Err(Invalid::new(60, "known flags", format!("{flags:#010x}")).into());
        }
        let header = SegmentHeader {
            log_id,
            base: LE::read_u64(&body[16..24]),
            durable_upto: LE::read_u64(&body[24..32]),
            created_micros: LE::read_i64(&body[32..40]),
            salt: LE::read_u32(&body[40..44]),
            rewritten: flags & FLAG_REWRITTEN != 0,
            recycled: flags & FLAG_RECYCLED != 0,
            end: LE::read_u64(&body[48..56]),
        };
        header.check_numbers()?;
        Ok(header)
    }

    /// What a checksum can't say: that the numbers are such as a log can have.
    fn check_numbers(&self) -> Result<(), Invalid> {
        if !(1..=SeqId::MAX.0 + 1).contains(&self.base) || self.durable_upto > SeqId::MAX.0 {
            let found = format!("{} and {}", self.base, self.durable_upto);
            return Err(Invalid::new(32, "base and durable_upto below 2^63", found));
        }
        let end_ok =
            if self.rewritten { (self.base..=SeqId::MAX.0 + 1).contains(&self.end) } else { self.end == 0 };
        if end_ok {
            Ok(())
        } else {
            Err(Invalid::new(64, "an end, in a rewritten segment only", self.end.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: [7; 16],
            base: 42,
            durable_upto: 41,
            created_micros: -3,
            salt: 0xdead_beef,
            rewritten: true,
            recycled: true,
            end: 99,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_that_no_log_has_are_refused_though_the_checksum_is_right() {
        let wrong = [
            SegmentHeader { base: 0, ..header() },
            SegmentHeader { base: u64::MAX, ..header() },
            SegmentHeader { durable_upto: u64::MAX, ..header() },
            SegmentHeader { end: 41, ..header() },
            SegmentHeader { end: u64::MAX, ..header() },
            SegmentHeader { rewritten: false, ..header() },
        ];
        for header in wrong {
            assert!(SegmentHeader::decode(&header.encode()).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_newer_version_reads_as_newer() {
        let mut newer = header().encode();
        newer[8] = 2;
        assert!(matches!(SegmentHeader::decode(&newer), Err(HeaderError::Invalid(_))), "a flipped bit");
        newer[12] ^= 1;
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderError::Newer(2)));
    }
}
