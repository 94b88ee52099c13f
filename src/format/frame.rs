//! One batch, or one control item, as bytes.
//!
//! ```text
//! frame  = header (64) | table (8 per record) | body
//! header = checksum u32 | kind u8 | flags u8 | 0 u16 | count u32 | body_bytes u32
//!          first SeqId u64 | durable_upto u64 | stream 16 | first log_offset u64 | unix us i64
//! table  = count x ( record bytes u32 | record checksum u32 ), and one more for a note
//! body   = count x ( record, zeros up to a multiple of 8 ), and a note
//! ```
//!
//! The header's checksum covers header and table, and so the checksums of the records. It is
//! seeded with the segment's salt and the frame's position: a frame is valid only in the use of
//! the file, and at the place, for which it was written. The records' own checksums need no
//! seed, so they are made before the place is known, and a point read checks one record only.

use byteorder::{ByteOrder, LittleEndian as LE};

use super::{ALIGNMENT, FRAME_HEADER_BYTES, Invalid, MAX_BATCH_RECORDS, MAX_BODY_BYTES, RECORD_ENTRY_BYTES};
use crate::ids::SeqId;

/// Readers may take the frame for committed as soon as it is there (it was not written in
/// `Durability::Sync`).
const FLAG_COMMITTED_WHEN_WRITTEN: u8 = 1;
/// Behind the records stands a note of who appended them: one more entry in the table, not a record.
const FLAG_NOTE: u8 = 2;
const KNOWN_FLAGS: u8 = FLAG_COMMITTED_WHEN_WRITTEN | FLAG_NOTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records of one stream.
    Batch,
    /// No records: says that everything before it is durable.
    Witness,
    /// Records the log writes about itself; no stream counts them.
    Control,
}

/// Length and checksum of one record; the checksum covers its padding too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordEntry {
    pub(crate) len: u32,
    pub(crate) checksum: u32,
}

impl RecordEntry {
    /// Of a record that needs no padding.
    pub(crate) fn of(record: &[u8]) -> Self {
        RecordEntry { len: record.len() as u32, checksum: crc32fast::hash(record) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) committed_when_written: bool,
    pub(crate) note: bool,
    pub(crate) count: u32,
    pub(crate) body_bytes: u32,
    /// SeqId of the first record; of a witness, the next one due.
    pub(crate) first_seq: u64,
    /// Every SeqId up to here was durable when the frame was written.
    pub(crate) durable_upto: u64,
    pub(crate) stream: [u8; 16],
    pub(crate) first_log_offset: u64,
    pub(crate) unix_micros: i64,
}

/// A length rounded up to the alignment of frames and records.
pub(crate) const fn padded(len: usize) -> usize {
    (len + (ALIGNMENT as usize - 1)) & !(ALIGNMENT as usize - 1)
}

pub(crate) const fn frame_len(records: usize, body_bytes: usize) -> usize {
    FRAME_HEADER_BYTES + records * RECORD_ENTRY_BYTES + body_bytes
}

/// Bytes of the frame that a header speaks of which nobody has checked: whatever two `u32` say has room in
/// 64 bits, and a `usize` may have fewer. Never less than a header.
const fn claimed_len(entries: u64, body_bytes: u32) -> u64 {
    FRAME_HEADER_BYTES as u64 + entries * RECORD_ENTRY_BYTES as u64 + body_bytes as u64
}

/// The first value of a frame's checksum.
pub(crate) const fn seed(salt: u32, position: u64) -> u32 {
    salt ^ (position / ALIGNMENT) as u32
}

/// The first bytes of a frame: the checksum of the rest of header and table.
pub(crate) const CHECKSUM_BYTES: usize = 4;

pub(crate) fn checksum(seed: u32, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(covered);
    hasher.finalize()
}

/// What `before` adds to the checksum of `len` bytes behind it.
pub(crate) fn behind(before: u32, len: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, len));
    hasher.finalize()
}

impl FrameHeader {
    /// In the place of one that was not read yet.
    pub(crate) const NONE: FrameHeader = FrameHeader::witness(0, 0);

    pub(crate) const fn witness(next_seq: u64, unix_micros: i64) -> Self {
        FrameHeader {
            kind: Kind::Witness,
            committed_when_written: true,
            note: false,
            count: 0,
            body_bytes: 0,
            first_seq: next_seq,
            durable_upto: next_seq.saturating_sub(1),
            stream: [0; 16],
            first_log_offset: 0,
            unix_micros,
        }
    }

    /// The SeqId after the frame's last record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }

    /// Bytes from the frame's first to the next frame's first.
    pub(crate) fn frame_bytes(&self) -> u64 {
        claimed_len(u64::from(self.count) + u64::from(self.note), self.body_bytes)
    }

    /// Bytes under the header's checksum, the checksum included.
    pub(crate) fn head_bytes(&self) -> usize {
        frame_len(self.count as usize + usize::from(self.note), 0)
    }

    /// Appends header and table to `out`; the body follows as it is.
    pub(crate) fn encode_into(&self, table: impl Iterator<Item = RecordEntry>, seed: u32, out: &mut Vec<u8>) {
        let start = out.len();
        let mut head = [0u8; FRAME_HEADER_BYTES];
        head[4] = match self.kind {
            Kind::Batch => 1,
            Kind::Witness => 2,
            Kind::Control => 3,
        };
        head[5] = if self.committed_when_written { FLAG_COMMITTED_WHEN_WRITTEN } else { 0 }
            | if self.note { FLAG_NOTE } else { 0 };
        LE::write_u32(&mut head[8..12], self.count);
        LE::write_u32(&mut head[12..16], self.body_bytes);
        LE::write_u64(&mut head[16..24], self.first_seq);
        LE::write_u64(&mut head[24..32], self.durable_upto);
        head[32..48].copy_from_slice(&self.stream);
        LE::write_u64(&mut head[48..56], self.first_log_offset);
        LE::write_i64(&mut head[56..64], self.unix_micros);
        out.extend_from_slice(&head);
        for entry in table {
            let mut bytes = [0u8; RECORD_ENTRY_BYTES];
            LE::write_u32(&mut bytes[..4], entry.len);
            LE::write_u32(&mut bytes[4..], entry.checksum);
            out.extend_from_slice(&bytes);
        }
        let sum = checksum(seed, out.get(start + 4..).unwrap_or_default());
        if let Some(slot) = out.get_mut(start..start + 4) {
            LE::write_u32(slot, sum);
        }
    }

    /// Appends to `out` the header and table of a frame that moves to another place: everything
    /// as it was but the seed. `table` is the stored one.
    pub(crate) fn encode_moved(&self, table: &[u8], seed: u32, out: &mut Vec<u8>) {
        self.encode_into(entries(table), seed, out);
    }

    /// False where no frame begins, which is nearly everywhere: for those who look at every place.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        matches!(bytes.get(4), Some(1..=3))
    }

    /// What a header says of the SeqId behind it and of the frame's bytes, for who tries a place and checks
    /// what is found there: nothing of this one was checked.
    pub(crate) fn stride(bytes: &[u8]) -> Option<(u64, u64)> {
        let head = bytes.first_chunk::<FRAME_HEADER_BYTES>().filter(|head| Self::may_begin(*head))?;
        let count = LE::read_u32(&head[8..12]);
        let entries = u64::from(count) + u64::from(head[5] & FLAG_NOTE != 0);
        let next_seq = LE::read_u64(&head[16..24]).saturating_add(u64::from(count));
        Some((next_seq, claimed_len(entries, LE::read_u32(&head[12..16]))))
    }

    /// A header of which only the shape was checked: `remaining` bytes exist from its first on.
    /// Nothing in it may be trusted, and nothing allocated after it, before [`verify`](Self::verify).
    pub(crate) fn peek(bytes: &[u8], remaining: u64) -> Result<FrameHeader, Invalid> {
        let mut header = FrameHeader::NONE;
        header.read(bytes, remaining).map(|()| header)
    }

    /// As [`peek`](Self::peek), in place: copying a header that was just put together takes longer than
    /// reading it.
    #[inline(always)]
    pub(crate) fn read(&mut self, bytes: &[u8], remaining: u64) -> Result<(), Invalid> {
        let Some(head) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(Invalid::new(0, "a frame header of 64 bytes", format!("{} bytes", bytes.len())));
        };
        self.kind = match head[4] {
            1 => Kind::Batch,
            2 => Kind::Witness,
            3 => Kind::Control,
            other => return Err(Invalid::new(4, "a frame (kind 1 to 3)", format!("kind {other}"))),
        };
        self.committed_when_written = head[5] & FLAG_COMMITTED_WHEN_WRITTEN != 0;
        self.note = head[5] & FLAG_NOTE != 0;
        self.count = LE::read_u32(&head[8..12]);
        self.body_bytes = LE::read_u32(&head[12..16]);
        self.first_seq = LE::read_u64(&head[16..24]);
        self.durable_upto = LE::read_u64(&head[24..32]);
        self.stream.copy_from_slice(&head[32..48]);
        self.first_log_offset = LE::read_u64(&head[48..56]);
        self.unix_micros = LE::read_i64(&head[56..64]);
        if head[5] & !KNOWN_FLAGS != 0 || head[6] != 0 || head[7] != 0 {
            return Err(Invalid::new(5, "known flags and zeros", format!("{:02x?}", &head[5..8])));
        }
        self.check_shape(remaining)
    }

    /// What a head says its first SeqId and its durable_upto are, be it valid or not.
    pub(crate) fn numbers(bytes: &[u8]) -> Option<(u64, u64)> {
        let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        Some((LE::read_u64(&head[16..24]), LE::read_u64(&head[24..32])))
    }

    #[inline(always)]
    fn check_shape(&self, remaining: u64) -> Result<(), Invalid> {
        let most = SeqId::MAX.0.saturating_add(1);
        let next_log_offset = self.first_log_offset.saturating_add(u64::from(self.count));
        let records = match self.kind {
            Kind::Batch => (1..=MAX_BATCH_RECORDS as u32).contains(&self.count),
            Kind::Witness => self.count == 0 && self.body_bytes == 0 && !self.note,
            Kind::Control => (1..=MAX_BATCH_RECORDS as u32).contains(&self.count) && !self.note,
        };
        let body = self.body_bytes as usize <= MAX_BODY_BYTES && u64::from(self.body_bytes) % ALIGNMENT == 0;
        let whole = self.frame_bytes() <= remaining;
        let numbers = self.first_seq >= 1 && self.next_seq() <= most && self.durable_upto < self.first_seq;
        let offsets = next_log_offset <= most;
        if records && body && whole && numbers && offsets {
            return Ok(());
        }
        Err(self.wrong_shape(remaining, [records, body, whole, numbers]))
    }

    /// Says what is wrong first.
    #[cold]
    fn wrong_shape(&self, remaining: u64, good: [bool; 4]) -> Invalid {
        let (at, expected, found) = match good {
            [false, ..] => (8, format!("1 to {MAX_BATCH_RECORDS} records"), self.count.to_string()),
            [_, false, ..] => (
                12,
                format!("a multiple of 8 up to {MAX_BODY_BYTES} body bytes"),
                self.body_bytes.to_string(),
            ),
            [_, _, false, _] => (
                12,
                format!("a frame within the {remaining} bytes that exist"),
                format!("one of {}", self.frame_bytes()),
            ),
            [_, _, _, false] => (
                16,
                "durable_upto < first SeqId".to_owned(),
                format!("{} and {}", self.durable_upto, self.first_seq),
            ),
            _ => (48, "log_offsets below 2^63".to_owned(), self.first_log_offset.to_string()),
        };
        Invalid::new(at, expected, found)
    }

    /// Checks header and table, which are the first [`head_bytes`](Self::head_bytes) of `bytes`.
    #[inline(always)]
    pub(crate) fn verify(&self, bytes: &[u8], seed: u32) -> Result<(), Invalid> {
        let head = bytes.get(..self.head_bytes());
        let Some((stored, covered)) = head.and_then(|head| head.split_first_chunk::<CHECKSUM_BYTES>()) else {
            let expected = format!("header and table of {} bytes", self.head_bytes());
            return Err(Invalid::new(0, expected, format!("{} bytes", bytes.len())));
        };
        let (stored, computed) = (u32::from_le_bytes(*stored), checksum(seed, covered));
        if stored != computed {
            return Err(Invalid::new(
                0,
                format!("frame checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            ));
        }
        let table = covered.get(FRAME_HEADER_BYTES - CHECKSUM_BYTES..).unwrap_or_default();
        let body = stored_bytes(table);
        if body != self.body_bytes as usize {
            return Err(Invalid::new(12, format!("a body of {body} bytes"), self.body_bytes.to_string()));
        }
        Ok(())
    }
}

/// The entries of a stored table.
pub(crate) fn entries(table: &[u8]) -> impl Iterator<Item = RecordEntry> {
    table.chunks_exact(RECORD_ENTRY_BYTES).map(|bytes| {
        let (len, checksum) = bytes.split_at(4);
        RecordEntry { len: LE::read_u32(len), checksum: LE::read_u32(checksum) }
    })
}

/// Bytes of the records that a table, or a part of one, is about: with their padding, as they are stored.
pub(crate) fn stored_bytes(table: &[u8]) -> usize {
    // Whole entries as one number each, which the processor takes several of at once.
    let (entries, _) = table.as_chunks::<RECORD_ENTRY_BYTES>();
    entries.iter().map(|entry| padded(u64::from_le_bytes(*entry) as u32 as usize)).sum()
}

/// Entry `k` of a stored table.
pub(crate) fn entry(table: &[u8], k: usize) -> Option<RecordEntry> {
    let start = k.checked_mul(RECORD_ENTRY_BYTES)?;
    entries(table.get(start..start.checked_add(RECORD_ENTRY_BYTES)?)?).next()
}

/// Checks one record with its padding.
pub(crate) fn verify_record(entry: RecordEntry, stored: &[u8]) -> Result<(), Invalid> {
    RecordCheck::default().verify(entry, stored)
}

/// For who checks record after record: how this processor does it fastest is looked up once.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordCheck(crc32fast::Hasher);

impl RecordCheck {
    /// As [`verify_record`].
    #[inline(always)]
    pub(crate) fn verify(&self, entry: RecordEntry, stored: &[u8]) -> Result<(), Invalid> {
        let mut hasher = self.0.clone();
        hasher.update(stored);
        check_record(entry, stored, hasher.finalize())
    }
}

#[inline(always)]
fn check_record(entry: RecordEntry, stored: &[u8], computed: u32) -> Result<(), Invalid> {
    if computed == entry.checksum && stored.len() == padded(entry.len as usize) {
        return Ok(());
    }
    Err(wrong_record(entry, computed))
}

#[cold]
fn wrong_record(entry: RecordEntry, computed: u32) -> Invalid {
    Invalid::new(0, format!("record checksum {:#010x}", entry.checksum), format!("{computed:#010x}"))
}

/// Checks every record of a frame whose header and table are verified.
pub(crate) fn verify_body(table: &[u8], body: &[u8]) -> Result<(), Invalid> {
    let mut rest = body;
    let mut at = 0u64;
    for entry in entries(table) {
        let Some((record, tail)) = rest.split_at_checked(padded(entry.len as usize)) else {
            return Err(Invalid::new(at, "a record within its frame", format!("{} bytes", entry.len)));
        };
        verify_record(entry, record).map_err(|invalid| invalid.behind(at))?;
        at += record.len() as u64;
        rest = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    const SALT: u32 = 0x5eed;

    fn encoded(position: u64) -> Vec<u8> {
        let mut batch = Batch::new();
        batch.push(b"alpha");
        batch.push(b"");
        batch.push(b"a longer record than the others");
        let header = FrameHeader {
            kind: Kind::Batch,
            committed_when_written: false,
            note: false,
            count: 3,
            body_bytes: batch.body().len() as u32,
            first_seq: 10,
            durable_upto: 9,
            stream: [3; 16],
            first_log_offset: 4,
            unix_micros: 1_700_000_000_000_000,
        };
        let mut out = Vec::new();
        header.encode_into(batch.table().iter().copied(), seed(SALT, position), &mut out);
        out.extend_from_slice(batch.body());
        out
    }

    fn check(bytes: &[u8], position: u64) -> Result<FrameHeader, Invalid> {
        let header = FrameHeader::peek(bytes, bytes.len() as u64)?;
        header.verify(bytes, seed(SALT, position))?;
        verify_body(&bytes[64..header.head_bytes()], &bytes[header.head_bytes()..])?;
        Ok(header)
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let bytes = encoded(4096);
        let header = check(&bytes, 4096).unwrap();
        assert_eq!((header.first_seq, header.next_seq(), header.count), (10, 13, 3));
        assert_eq!(header.frame_bytes(), bytes.len() as u64);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = encoded(4096);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&bad, 4096).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_valid_only_where_it_was_written() {
        assert!(check(&encoded(4096), 4104).is_err());
    }

    #[test]
    fn zeros_are_never_a_frame() {
        assert!(check(&[0; 256], 0).is_err());
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = encoded(8);
        for len in 0..bytes.len() {
            assert!(check(&bytes[..len], 8).is_err(), "length {len}");
        }
    }

    /// 2^29 - 8 entries without a body are 2^32 bytes with the header: zero in 32 bits.
    #[test]
    fn no_count_makes_a_frame_shorter_than_its_header() {
        for (count, body_bytes, expected) in
            [((1 << 29) - 8, 0u32, 1u64 << 32), (u32::MAX, u32::MAX, 64 + (1 << 32) * 8 + (1 << 32) - 1)]
        {
            let note = count == u32::MAX;
            let header = FrameHeader { kind: Kind::Batch, note, count, body_bytes, ..FrameHeader::NONE };
            let mut bytes = Vec::new();
            header.encode_into([].into_iter(), 0, &mut bytes);
            assert_eq!(header.frame_bytes(), expected);
            assert_eq!(FrameHeader::stride(&bytes).map(|(_, bytes)| bytes), Some(expected));
            assert!(FrameHeader::peek(&bytes, u64::MAX).is_err());
        }
    }

    #[test]
    fn a_witness_has_no_records() {
        let mut out = Vec::new();
        FrameHeader::witness(8, 5).encode_into([].into_iter(), seed(SALT, 64), &mut out);
        let header = check(&out, 64).unwrap();
        assert_eq!((header.kind, header.durable_upto, header.next_seq()), (Kind::Witness, 7, 8));
    }
}
