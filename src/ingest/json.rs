//! Operation records as JSON Lines: one object a line, exact to the bit.
//!
//! ```text
//! {"collection":"papers","seq_id":7,"log_offset":3,"id":"a","operation":"ADD",
//!  "embedding":[0.5,-0.25],"document":"..","uri":"..","metadata":{"page":3,"score":1.0}}
//! ```
//!
//! `id` and `operation` (`ADD`, `UPDATE`, `UPSERT`, `DELETE`, `BACKFILL_FN`) must be there. Any
//! other field may be absent or null, which is the same. Fields may stand in any order and are
//! written in this one: `collection`, `seq_id`, `log_offset`, `id`, `operation`, `encoding`,
//! `embedding`, `document`, `uri`, `metadata`.
//!
//! What JSON has no word for is an object with a `#type`; nothing else in a line may be an
//! object, so no plain value can be taken for one.
//!
//! | value | JSON |
//! |---|---|
//! | embedding of `f32` | list of numbers, each read as the nearest `f32` |
//! | embedding of `i32` | list of integers, and `"encoding":"INT32"` |
//! | encoding without an embedding | `"encoding":"FLOAT32"` or `"encoding":"INT32"` |
//! | int, float | number; with `.`, `e` or `E` it is a float, without an int: `1` is not `1.0` |
//! | string, bool, null | string, `true` and `false`, `null` |
//! | list of one type | list; all of its elements are of that type |
//! | empty list | `{"#type":"string_list","values":[]}`, likewise `int_list`, `float_list`, `bool_list` |
//! | sparse vector | `{"#type":"sparse_vector","indices":[1,5],"values":[0.5,2.0],"tokens":["a","b"]}`, `tokens` only if there are any |
//! | NaN, infinity as `f32` | `{"#type":"f32_bits","bits":"7fc00001"}` in place of the number |
//! | NaN, infinity as `f64` | `{"#type":"f64_bits","bits":"7ff8000000000001"}` in place of the number |
//!
//! Numbers are written as short as they can be so that they read back as themselves. A number
//! that would be read as infinite is refused, as is an integer beyond `i64`.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod read;
mod source;
mod tagged;
mod value;
mod write;

pub use read::parse_line;
pub use write::write_line;

use std::fmt;

use super::record::OperationRecord;

/// One line: a record, and where it stands if the line says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLine {
    /// The name or the UUID of its collection.
    pub collection: Option<String>,
    /// Its SeqId.
    pub seq_id: Option<u64>,
    /// Its log_offset.
    pub log_offset: Option<u64>,
    /// The record.
    pub record: OperationRecord,
}

impl JsonLine {
    /// What stands in the line beside the record.
    #[must_use]
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope { collection: self.collection.as_deref(), seq_id: self.seq_id, log_offset: self.log_offset }
    }
}

/// What stands in a line beside the record. By default, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Envelope<'a> {
    /// The name or the UUID of its collection.
    pub collection: Option<&'a str>,
    /// Its SeqId.
    pub seq_id: Option<u64>,
    /// Its log_offset.
    pub log_offset: Option<u64>,
}

/// Why a line is not a record: what was expected, what was found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    column: Option<usize>,
    message: String,
}

impl JsonError {
    fn new(column: Option<usize>, message: String) -> Self {
        JsonError { column, message }
    }

    /// The byte of the line where it went wrong, counted from 1, where that is known.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.column
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for JsonError {}
