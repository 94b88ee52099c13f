//! The numbers and names a log gives out.

use std::fmt;
use std::str::FromStr;

/// A record's place in the whole log: ascending from 1, in commit order, never reused. Dense over all
/// that the log stores: a cursor's move, a purge and a deletion take one each, and nobody reads those.
///
/// 0 means "before the first record" wherever a bound is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqId(pub u64);

/// A record's place in its own stream: dense from 1, in commit order, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);

impl SeqId {
    /// The largest number a record can have: `i64::MAX`, so that every client language can hold it.
    pub const MAX: SeqId = SeqId(i64::MAX as u64);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> SeqId {
        SeqId(self.0.saturating_add(1))
    }

    /// The number before this one; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> SeqId {
        SeqId(self.0.saturating_sub(1))
    }
}

impl fmt::Display for SeqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a stream: 16 bytes, shown and parsed as a UUID.
///
/// ```
/// use stratalog::StreamId;
/// let id: StreamId = "7f000001-0000-4000-8000-00000000002a".parse().unwrap();
/// assert_eq!(id.to_string(), "7f000001-0000-4000-8000-00000000002a");
/// assert_eq!(id, StreamId::from_u128(0x7f000001_0000_4000_8000_00000000002a));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId([u8; 16]);

impl StreamId {
    /// A stream id from its bytes in the order they are shown.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        StreamId(bytes)
    }

    /// A stream id from a number, most significant byte first.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        StreamId(value.to_be_bytes())
    }

    /// The bytes in the order they are shown.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

/// Who appends, by a name of its own choice: 16 bytes, shown and parsed as a UUID. See
/// [`Terms::producer`](crate::Terms::producer).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProducerId([u8; 16]);

impl ProducerId {
    /// A producer id from its bytes in the order they are shown.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        ProducerId(bytes)
    }

    /// A producer id from a number, most significant byte first.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        ProducerId(value.to_be_bytes())
    }

    /// The bytes in the order they are shown.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StreamId(self.0).fmt(f)
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerId({self})")
    }
}

impl FromStr for ProducerId {
    type Err = ParseStreamIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<StreamId>().map(|id| ProducerId(id.0))
    }
}

/// A text that is not a UUID was given as the id of a stream or a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseStreamIdError {
    found: String,
}

impl fmt::Display for ParseStreamIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a UUID (32 hexadecimal digits, dashes optional), found {:?}", self.found)
    }
}

impl std::error::Error for ParseStreamIdError {}

impl FromStr for StreamId {
    type Err = ParseStreamIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseStreamIdError { found: text.chars().take(64).collect() };
        let dashes_ok = match text.len() {
            32 => !text.contains('-'),
            36 => text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)),
            _ => false,
        };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if !dashes_ok || digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        u128::from_str_radix(&digits, 16).map(StreamId::from_u128).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_id_is_shown_as_it_is_parsed() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let id: StreamId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!("00112233445566778899AABBCCDDEEFF".parse::<StreamId>().unwrap(), id);
    }

    #[test]
    fn what_is_not_a_uuid_is_refused_with_what_was_found() {
        for bad in [
            "",
            "x",
            "+0112233445566778899aabbccddeeff",
            "0011223-34455-6677-8899-aabbccddeeff0",
            "ä0112233445566778899aabbccddeef",
        ] {
            let error = bad.parse::<StreamId>().unwrap_err().to_string();
            assert!(error.contains("expected a UUID"), "{error}");
        }
    }
}
