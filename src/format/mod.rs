//! Values into bytes and back. No I/O, no locks, no clock.
//!
//! `docs/format.md` is the authority on the layout; this file holds its constants.

pub(crate) mod checkpoint;
pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod index;
pub(crate) mod segment_header;

/// The version every file names right behind its magic.
pub const FORMAT_VERSION: u32 = 1;

/// First bytes of a segment.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"STRATSEG";
/// First bytes of a checkpoint.
pub(crate) const CHECKPOINT_MAGIC: [u8; 8] = *b"STRATCKP";
/// First bytes of a segment's index.
pub(crate) const INDEX_MAGIC: [u8; 8] = *b"STRATIDX";

/// Bytes of a segment's header that mean something.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 128;
/// Position of a segment's first frame.
pub(crate) const DATA_START: u64 = 4096;
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;
/// Bytes of a frame before its record table.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Bytes of one entry of the record table.
pub(crate) const RECORD_ENTRY_BYTES: usize = 8;

/// The most records in one batch.
pub const MAX_BATCH_RECORDS: usize = 1 << 20;
/// The most bytes in one batch's body.
pub const MAX_BODY_BYTES: usize = 256 << 20;
/// The smallest segment.
pub const MIN_SEGMENT_BYTES: u64 = 64 << 10;
/// The largest segment.
pub const MAX_SEGMENT_BYTES: u64 = 16 << 30;

/// How large a checkpoint or an index is by its own header: no more of the file is worth a look,
/// however large that is. Of anything else, the header alone.
pub(crate) fn whole_bytes(head: &[u8]) -> u64 {
    let claimed = match head.first_chunk::<8>() {
        Some(&CHECKPOINT_MAGIC) => checkpoint::whole_bytes(head),
        Some(&INDEX_MAGIC) => index::whole_bytes(head),
        _ => None,
    };
    claimed.unwrap_or(0).max(head.len() as u64)
}

/// Why bytes are not what they should be; the caller adds the file. A pointer: the answer that they are
/// is given for each frame and each record, and fits into a register so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid(Box<Unlike>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unlike {
    /// Bytes from the start of what was decoded.
    pub(crate) at: u64,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Invalid {
    #[cold]
    pub(crate) fn new(at: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Invalid(Box::new(Unlike { at, expected: expected.into(), found: found.into() }))
    }

    /// The same, of something that has `bytes` more before it.
    #[cold]
    pub(crate) fn behind(mut self, bytes: u64) -> Self {
        self.0.at += bytes;
        self
    }

    pub(crate) fn unlike(self) -> Unlike {
        *self.0
    }

    pub(crate) fn in_file(self, file: &str, position: u64) -> crate::error::Error {
        let Unlike { at, expected, found } = self.unlike();
        crate::error::Error::corrupt(file, position.saturating_add(at), expected, found)
    }
}

impl std::ops::Deref for Invalid {
    type Target = Unlike;

    fn deref(&self) -> &Unlike {
        &self.0
    }
}

/// A whole-file header that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Written by a newer version: not damage.
    Newer(u32),
    Invalid(Invalid),
}

impl HeaderError {
    pub(crate) fn in_file(self, file: &str) -> crate::error::Error {
        match self {
            HeaderError::Newer(found) => {
                crate::error::Error::Version { file: file.to_owned(), found, supported: FORMAT_VERSION }
            }
            HeaderError::Invalid(invalid) => invalid.in_file(file, 0),
        }
    }
}

impl From<Invalid> for HeaderError {
    fn from(invalid: Invalid) -> Self {
        HeaderError::Invalid(invalid)
    }
}

/// Checks magic, then version, so that a newer file reads as newer and not as damaged.
pub(crate) fn check_magic(bytes: &[u8], magic: [u8; 8], need: usize) -> Result<(), HeaderError> {
    if bytes.len() < need {
        return Err(
            Invalid::new(0, format!("a header of {need} bytes"), format!("{} bytes", bytes.len())).into()
        );
    }
    let (head, rest) = bytes.split_at(8);
    let covered = bytes.get(12..).and_then(|bytes| bytes.split_first_chunk::<4>());
    if head != magic {
        return Err(Invalid::new(
            0,
            format!("{:?}", String::from_utf8_lossy(&magic)),
            format!("{:?}", String::from_utf8_lossy(head)),
        )
        .into());
    }
    match <byteorder::LittleEndian as byteorder::ByteOrder>::read_u32(rest) {
        FORMAT_VERSION => Ok(()),
        // 0 was never a version: damage, not a newer file.
        0 => Err(Invalid::new(8, format!("format version {FORMAT_VERSION}"), "0").into()),
        // Only version 1 has a checksum without the version in it: where that holds, bits flipped.
        other if covered.is_some_and(|(sum, rest)| u32::from_le_bytes(*sum) == crc32fast::hash(rest)) => {
            Err(Invalid::new(8, format!("format version {FORMAT_VERSION}"), other.to_string()).into())
        }
        newer => Err(HeaderError::Newer(newer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of the table: name and value, as they stand in the documentation.
    fn documented(name: &str) -> &'static str {
        let text = include_str!("../../docs/format.md");
        let row = text.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
        row.and_then(|rest| rest.split(" |").next()).unwrap_or_default()
    }

    #[test]
    fn the_constants_are_the_documented_ones() {
        let numbers = [
            ("FORMAT_VERSION", u64::from(FORMAT_VERSION)),
            ("SEGMENT_HEADER_BYTES", SEGMENT_HEADER_BYTES as u64),
            ("DATA_START", DATA_START),
            ("ALIGNMENT", ALIGNMENT),
            ("FRAME_HEADER_BYTES", FRAME_HEADER_BYTES as u64),
            ("RECORD_ENTRY_BYTES", RECORD_ENTRY_BYTES as u64),
            ("MAX_BATCH_RECORDS", MAX_BATCH_RECORDS as u64),
            ("MAX_BODY_BYTES", MAX_BODY_BYTES as u64),
            ("MAX_CURSOR_NAME_BYTES", control::MAX_CURSOR_NAME_BYTES as u64),
            ("NOTE_BYTES", control::NOTE_BYTES as u64),
            ("MIN_SEGMENT_BYTES", MIN_SEGMENT_BYTES),
            ("MAX_SEGMENT_BYTES", MAX_SEGMENT_BYTES),
        ];
        for (name, value) in numbers {
            assert_eq!(documented(name), value.to_string(), "{name}");
        }
        let magics = [
            ("SEGMENT_MAGIC", SEGMENT_MAGIC),
            ("INDEX_MAGIC", INDEX_MAGIC),
            ("CHECKPOINT_MAGIC", CHECKPOINT_MAGIC),
        ];
        for (name, magic) in magics {
            assert_eq!(documented(name), format!("`{}`", String::from_utf8_lossy(&magic)), "{name}");
        }
    }
}
