//! Operation records as bytes.
//!
//! All numbers are little-endian. Nothing is padded and nothing is optional beyond what the
//! flags say, so a record has exactly one encoding, and bytes that decode encode to themselves.
//!
//! | position | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | operation: 0 ADD, 1 UPDATE, 2 UPSERT, 3 DELETE, 4 BACKFILL_FN |
//! | 2 | 1 | encoding: 0 none, 1 FLOAT32, 2 INT32; not 0 if there is an embedding |
//! | 3 | 1 | flags: 1 embedding, 2 document, 4 uri, 8 metadata; the other bits are 0 |
//! | 4 | 4 | `i`: bytes of the id |
//! | 8 | 4 | `n`: dimensions of the embedding; 0 without one |
//! | 12 | 4 | `d`: bytes of the document; 0 without one |
//! | 16 | 4 | `u`: bytes of the uri; 0 without one |
//! | 20 | 4 | `m`: bytes of the metadata; 0 without any, at least 4 with |
//! | 24 | 4 `n` | embedding: `f32` or `i32` |
//! | 24 + 4 `n` | `i` | id, UTF-8 |
//! | | `d` | document, UTF-8 |
//! | | `u` | uri, UTF-8 |
//! | | `m` | metadata |
//!
//! The parts follow one another without a gap and end where the payload ends. The embedding
//! stands at a multiple of 8, so where a payload starts at one (in a log it does), so does the
//! embedding.
//!
//! Metadata is a count (`u32`) and that many entries in the order of the map:
//!
//! | bytes | field |
//! |---|---|
//! | 2 | `k`: bytes of the key |
//! | 1 | type of the value |
//! | `k` | key, UTF-8; no key occurs twice |
//! | | value |
//!
//! | type | value |
//! |---|---|
//! | 0 null | nothing |
//! | 1 string | text |
//! | 2 int | `i64` |
//! | 3 float | `f64` |
//! | 4 bool | one byte, 0 or 1 |
//! | 5 list of strings | count `u32`, that many texts |
//! | 6 list of ints | count `u32`, that many `i64` |
//! | 7 list of floats | count `u32`, that many `f64` |
//! | 8 list of bools | count `u32`, that many bytes, 0 or 1 |
//! | 9 sparse vector | count `u32`, that many indices `u32` (strictly ascending), that many values `f32` |
//! | 10 sparse vector with tokens | as 9, then that many texts |
//!
//! A text is its length in bytes (`u32`) and as many bytes of UTF-8.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

mod encode;
mod metadata;
mod reader;
mod view;

pub use metadata::{MetadataView, ValueView};
pub use view::{EmbeddingView, RecordView};

use std::fmt;

use super::record::Encoding;

/// The version of the layout, the first byte of every encoded record.
pub const RECORD_VERSION: u8 = 1;
/// The most bytes an id can have.
pub const MAX_ID_BYTES: usize = 65_535;
/// The most bytes a metadata key can have.
pub const MAX_KEY_BYTES: usize = 65_535;
/// The most entries a record's metadata can have.
pub const MAX_METADATA_ENTRIES: usize = 65_536;
/// The most bytes an encoded record can have: 256 MiB. A log's own limit may be lower.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

const HEADER_BYTES: usize = 24;

mod flag {
    pub(super) const EMBEDDING: u8 = 1;
    pub(super) const DOCUMENT: u8 = 2;
    pub(super) const URI: u8 = 4;
    pub(super) const METADATA: u8 = 8;
    pub(super) const ALL: u8 = EMBEDDING | DOCUMENT | URI | METADATA;
}

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const STR: u8 = 1;
    pub(super) const INT: u8 = 2;
    pub(super) const FLOAT: u8 = 3;
    pub(super) const BOOL: u8 = 4;
    pub(super) const STR_LIST: u8 = 5;
    pub(super) const INT_LIST: u8 = 6;
    pub(super) const FLOAT_LIST: u8 = 7;
    pub(super) const BOOL_LIST: u8 = 8;
    pub(super) const SPARSE: u8 = 9;
    pub(super) const SPARSE_TOKENS: u8 = 10;
}

fn encoding_code(encoding: Option<Encoding>) -> u8 {
    match encoding {
        None => 0,
        Some(Encoding::Float32) => 1,
        Some(Encoding::Int32) => 2,
    }
}

/// Why a record can't be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A part of the record is over its limit.
    Limit {
        /// What is limited, in words: "id bytes".
        what: &'static str,
        /// What was asked for.
        size: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The record names an encoding that is not its embedding's.
    Encoding {
        /// The embedding's own encoding.
        expected: Encoding,
        /// What the record names.
        found: Option<Encoding>,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Limit { what, size, limit } => {
                write!(f, "{what}: expected at most {limit}, found {size}")
            }
            EncodeError::Encoding { expected, found } => write!(
                f,
                "encoding: expected {expected}, the embedding's own, found {}",
                found.map_or("none", Encoding::name)
            ),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A newer version of this crate wrote the record; nothing says that it is damaged.
    Newer {
        /// The version the record names.
        found: u8,
        /// The newest version this build reads: [`RECORD_VERSION`].
        supported: u8,
    },
    /// The bytes are not a record of the version they name.
    Malformed {
        /// Bytes from the start of the payload to what was found.
        position: usize,
        /// What was expected there.
        expected: &'static str,
        /// What was found there.
        found: String,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Newer { found, supported } => write!(
                f,
                "operation record: version {found} is newer than {supported}, the newest this build reads"
            ),
            DecodeError::Malformed { position, expected, found } => {
                write!(f, "operation record: at byte {position} expected {expected}, found {found}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}
