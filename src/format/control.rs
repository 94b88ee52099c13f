//! What the log writes about itself: cursors, purges, segments that are gone, producers.
//!
//! ```text
//!   0  what         u8
//!   1  0            u8
//!   2  name bytes   u16
//!   4  count        u32
//!   8  SeqId        u64
//!  16  log_offset   u64
//!  24  stream       16 bytes
//!  40  name, zeros up to a multiple of 8
//! ```
//!
//! One of these is the payload of a control record; any number of them, one behind the other, is
//! what a checkpoint says beside its tables. To apply a run of them twice changes nothing.

use byteorder::{ByteOrder, LittleEndian as LE};

use super::frame::padded;
use super::{Invalid, MAX_BATCH_RECORDS};
use crate::ids::SeqId;

const FIXED: usize = 40;
/// The longest name of a cursor, in bytes of UTF-8.
pub(crate) const MAX_CURSOR_NAME_BYTES: usize = 255;
/// A producer's id and its number of a batch, as they stand behind a batch's records.
pub(crate) const NOTE_BYTES: usize = 24;

/// A place in a stream: all its records up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Point {
    pub(crate) seq: u64,
    /// Of the stream's last record up to `seq`; 0 if it has none.
    pub(crate) log_offset: u64,
}

/// Who appended a batch, by its own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) producer: [u8; 16],
    pub(crate) sequence: u64,
}

/// The last batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) note: Note,
    pub(crate) stream: [u8; 16],
    pub(crate) first_seq: u64,
    pub(crate) first_log_offset: u64,
    pub(crate) count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// A cursor stands at `to` or further on.
    Advance { stream: [u8; 16], name: String, to: Point },
    /// A cursor stands at `to`, wherever it was.
    Rollback { stream: [u8; 16], name: String, to: Point },
    /// There is no such cursor.
    Drop { stream: [u8; 16], name: String },
    /// The stream's records up to `upto` are purged.
    Purge { stream: [u8; 16], upto: Point },
    /// As `Purge`, and the stream has no cursor any more.
    Delete { stream: [u8; 16], upto: Point },
    /// No segment holds the SeqIds `first..end`: all of them were purged.
    Freed { first: u64, end: u64 },
    /// In a checkpoint only: elsewhere the batch itself says it.
    Produced(Produced),
}

impl Note {
    pub(crate) fn encode(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..16].copy_from_slice(&self.producer);
        LE::write_u64(&mut bytes[16..], self.sequence);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Note> {
        let (producer, sequence) = bytes.first_chunk::<NOTE_BYTES>()?.split_first_chunk::<16>()?;
        Some(Note { producer: *producer, sequence: LE::read_u64(sequence) })
    }
}

impl Control {
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let note;
        let (what, stream, name, point, count) = match self {
            Control::Advance { stream, name, to } => (1, stream, name.as_bytes(), *to, 0),
            Control::Rollback { stream, name, to } => (2, stream, name.as_bytes(), *to, 0),
            Control::Drop { stream, name } => (3, stream, name.as_bytes(), Point::default(), 0),
            Control::Purge { stream, upto } => (4, stream, [].as_slice(), *upto, 0),
            Control::Delete { stream, upto } => (5, stream, [].as_slice(), *upto, 0),
            Control::Freed { first, end } => {
                (6, &[0; 16], [].as_slice(), Point { seq: *first, log_offset: *end }, 0)
            }
            Control::Produced(last) => {
                note = last.note.encode();
                let point = Point { seq: last.first_seq, log_offset: last.first_log_offset };
                (7, &last.stream, note.as_slice(), point, last.count)
            }
        };
        let mut head = [0; FIXED];
        head[0] = what;
        LE::write_u16(&mut head[2..4], name.len() as u16);
        LE::write_u32(&mut head[4..8], count);
        LE::write_u64(&mut head[8..16], point.seq);
        LE::write_u64(&mut head[16..24], point.log_offset);
        head[24..40].copy_from_slice(stream);
        out.extend_from_slice(&head);
        out.extend_from_slice(name);
        out.resize(out.len() + padded(name.len()) - name.len(), 0);
    }

    /// The first one in `bytes`, and what comes behind it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Control, &[u8]), Invalid> {
        let short = || {
            Invalid::new(0, format!("a control record of {FIXED} bytes"), format!("{} bytes", bytes.len()))
        };
        let (head, rest) = bytes.split_first_chunk::<FIXED>().ok_or_else(short)?;
        let name_bytes = usize::from(LE::read_u16(&head[2..4]));
        let (name, rest) = rest.split_at_checked(padded(name_bytes)).ok_or_else(short)?;
        let (name, zeros) = name.split_at(name_bytes.min(name.len()));
        let point = Point { seq: LE::read_u64(&head[8..16]), log_offset: LE::read_u64(&head[16..24]) };
        let count = LE::read_u32(&head[4..8]);
        let mut stream = [0; 16];
        stream.copy_from_slice(&head[24..40]);
        let bad = |at: u64, expected: &str| Invalid::new(at, expected, format!("{:02x?}", &head[..24]));
        if point.seq > SeqId::MAX.0 + 1 || point.log_offset > SeqId::MAX.0 + 1 {
            return Err(bad(8, "numbers below 2^63"));
        }
        let named = matches!(head[0], 1..=3);
        let shape_ok = match head[0] {
            1..=3 => (1..=MAX_CURSOR_NAME_BYTES).contains(&name_bytes) && count == 0,
            4..=6 => name_bytes == 0 && count == 0,
            7 => name_bytes == NOTE_BYTES && (1..=MAX_BATCH_RECORDS as u32).contains(&count),
            _ => return Err(bad(0, "a control record this build knows (1 to 7)")),
        };
        let empty_ok = match head[0] {
            3 => point == Point::default(),
            6 => stream == [0; 16],
            _ => true,
        };
        if !shape_ok || !empty_ok || head[1] != 0 || zeros.iter().any(|byte| *byte != 0) {
            return Err(bad(1, "the lengths and zeros of its kind"));
        }
        let text = match std::str::from_utf8(name) {
            Ok(text) if named => text.to_owned(),
            Err(_) if named => return Err(bad(FIXED as u64, "a name in UTF-8")),
            _ => String::new(),
        };
        let control = match head[0] {
            1 => Control::Advance { stream, name: text, to: point },
            2 => Control::Rollback { stream, name: text, to: point },
            3 => Control::Drop { stream, name: text },
            4 => Control::Purge { stream, upto: point },
            5 => Control::Delete { stream, upto: point },
            6 if point.seq < point.log_offset => Control::Freed { first: point.seq, end: point.log_offset },
            6 => return Err(bad(8, "first < end")),
            _ => Control::Produced(Produced {
                note: Note::decode(name).ok_or_else(|| bad(40, "a producer"))?,
                stream,
                first_seq: point.seq,
                first_log_offset: point.log_offset,
                count,
            }),
        };
        Ok((control, rest))
    }

    /// The only one in `bytes`.
    pub(crate) fn decode_one(bytes: &[u8]) -> Result<Control, Invalid> {
        match Control::decode(bytes)? {
            (control, []) => Ok(control),
            (_, rest) => {
                let at = (bytes.len() - rest.len()) as u64;
                Err(Invalid::new(at, "one control record", format!("{} bytes more", rest.len())))
            }
        }
    }

    /// All of them in `bytes`.
    pub(crate) fn decode_all(bytes: &[u8]) -> Result<Vec<Control>, Invalid> {
        let mut all = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = (bytes.len() - rest.len()) as u64;
            let (control, behind) = Control::decode(rest).map_err(|invalid| invalid.behind(at))?;
            all.push(control);
            rest = behind;
        }
        Ok(all)
    }

    /// The stream it is about; zeros if it is about none.
    pub(crate) fn stream(&self) -> [u8; 16] {
        match self {
            Control::Advance { stream, .. }
            | Control::Rollback { stream, .. }
            | Control::Drop { stream, .. }
            | Control::Purge { stream, .. }
            | Control::Delete { stream, .. } => *stream,
            Control::Produced(last) => last.stream,
            Control::Freed { .. } => [0; 16],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Control> {
        let (stream, to) = ([7; 16], Point { seq: 9, log_offset: 4 });
        let name = "índex".to_owned();
        vec![
            Control::Advance { stream, name: name.clone(), to },
            Control::Rollback { stream, name: "x".repeat(MAX_CURSOR_NAME_BYTES), to },
            Control::Drop { stream, name },
            Control::Purge { stream, upto: to },
            Control::Delete { stream, upto: Point::default() },
            Control::Freed { first: 1, end: SeqId::MAX.0 + 1 },
            Control::Produced(Produced {
                note: Note { producer: [3; 16], sequence: u64::MAX },
                stream,
                first_seq: 5,
                first_log_offset: 2,
                count: 3,
            }),
        ]
    }

    #[test]
    fn every_control_record_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        for control in samples() {
            control.encode_into(&mut bytes);
            assert!(bytes.len().is_multiple_of(8));
        }
        assert_eq!(Control::decode_all(&bytes).unwrap(), samples());
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        for control in samples() {
            let mut bytes = Vec::new();
            control.encode_into(&mut bytes);
            for len in 1..bytes.len() {
                assert!(Control::decode_all(&bytes[..len]).is_err(), "{control:?} cut to {len}");
            }
            for (at, value) in [(0, 0), (0, 8), (1, 1), (2, 200), (15, 0xff)] {
                let mut bad = bytes.clone();
                bad[at] = value;
                assert!(Control::decode_all(&bad).is_err(), "{control:?} with {value} at {at}");
            }
        }
    }
}
