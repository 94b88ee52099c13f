//! What one file holds, for people.

use bytes::Bytes;

use super::control_facts::{ControlFacts, NoteFacts};
use super::files;
use super::walk::{BadRecord, Seen, Walk, records};
use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{Control, NOTE_BYTES, Note};
use crate::format::frame::{self, Kind};
use crate::format::index::Index;
use crate::format::{
    ALIGNMENT, CHECKPOINT_MAGIC, DATA_START, FRAME_HEADER_BYTES, INDEX_MAGIC, Invalid, SEGMENT_MAGIC, Unlike,
};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::segment::scan;
use crate::storage::{Storage, StorageFile};

/// One thing found in a file. Positions are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspected {
    /// The header of a segment.
    Segment(SegmentFacts),
    /// A frame whose header and table are as they were written.
    Frame(FrameFacts),
    /// Bytes that are not what should stand there.
    Damage {
        /// Where they begin.
        position: u64,
        /// What should have stood there.
        expected: String,
        /// What stands there.
        found: String,
        /// Where the next good frame begins; `None` if there is none.
        next_valid: Option<u64>,
    },
    /// Bytes behind the last frame.
    Unused {
        /// Where they begin.
        position: u64,
        /// How many.
        bytes: u64,
        /// How many of them, up to the last that is not zero, were ever written.
        written: u64,
    },
    /// The header of an index.
    Index(IndexFacts),
    /// One stream in an index.
    IndexStream {
        /// The stream.
        stream: StreamId,
        /// Its first log_offset in the segment.
        first_log_offset: LogOffset,
        /// Positions of its frames in the segment.
        frames: Vec<u64>,
    },
    /// The header of a checkpoint.
    Checkpoint(CheckpointFacts),
    /// A cursor, a purge, freed SeqIds or a producer's last batch in a checkpoint.
    CheckpointControl(ControlFacts),
    /// A segment that a checkpoint names, by its first SeqId.
    CheckpointSegment(SeqId),
    /// One stream in a checkpoint.
    CheckpointStream(CheckpointStream),
    /// A file that is none of those: cut bytes, the lock, zeros, or somebody else's.
    Other {
        /// Its size.
        bytes: u64,
        /// How many of them, up to the last that is not zero, were ever written.
        written: u64,
        /// Its first bytes.
        head: Bytes,
    },
}

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentFacts {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// The SeqId of the first record that it may hold.
    pub first_seq_id: SeqId,
    /// Every SeqId up to here was durable before it got its name.
    pub durable_upto: SeqId,
    /// When it was begun, in microseconds since 1970.
    pub unix_micros: i64,
    /// Seed of its checksums.
    pub salt: u32,
    /// It was written anew without some of its records.
    pub rewritten: bool,
    /// Its file was a segment before: what stands behind its frames may be of that.
    pub recycled: bool,
    /// In a rewritten segment, the SeqId behind its last one.
    pub end_seq_id: Option<SeqId>,
    /// Size of the file.
    pub file_bytes: u64,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// Records of one stream.
    Batch,
    /// Says that everything before it is durable.
    Witness,
    /// Control records: a cursor moved, a purge, a stream deleted, segments freed.
    Control,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameFacts {
    /// Where it begins.
    pub position: u64,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub kind: FrameKind,
    /// The stream of a batch.
    pub stream: StreamId,
    /// SeqId of its first record; of a witness, the next one due.
    pub first_seq_id: SeqId,
    /// log_offset of its first record.
    pub first_log_offset: LogOffset,
    /// Every SeqId up to here was durable when it was written.
    pub durable_upto: SeqId,
    /// Readers could take it for committed as soon as it was there.
    pub committed_when_written: bool,
    /// When it was appended, in microseconds since 1970.
    pub unix_micros: i64,
    /// Bytes of each record.
    pub record_bytes: Vec<u32>,
    /// Who appended a batch, if it says that and that is as it was written.
    pub note: Option<NoteFacts>,
    /// Control records that are as they were written.
    pub controls: Vec<(SeqId, ControlFacts)>,
    /// Records that are not as they were written.
    pub damaged: Vec<DamagedRecord>,
    /// Damage to what says who appended a batch.
    pub damaged_note: Option<DamagedRecord>,
}

/// A record that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedRecord {
    /// Which of the frame's records, from 0; of what stands behind them, how many they are.
    pub number: u32,
    /// Where it begins.
    pub position: u64,
    /// What should have stood there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// The header of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexFacts {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// First SeqId of its segment.
    pub first_seq_id: SeqId,
    /// The SeqId behind the last one.
    pub end_seq_id: SeqId,
    /// Where the frames of the segment end.
    pub data_end: u64,
    /// The segment's salt.
    pub salt: u32,
    /// How many streams it lists.
    pub streams: u64,
}

/// The header of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointFacts {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// Counts checkpoints, from 1.
    pub generation: u64,
    /// The SeqId due next: everything before it was durable.
    pub next_seq_id: SeqId,
    /// First SeqId of the segment in which recovery begins.
    pub scan_segment: SeqId,
    /// And where in it.
    pub scan_position: u64,
    /// Time of the newest batch, in microseconds since 1970.
    pub unix_micros: i64,
    /// It was written when the log was closed.
    pub clean: bool,
    /// How many streams it lists.
    pub streams: u64,
    /// How many cursors, purges, freed ranges of SeqIds and producers it lists.
    pub controls: u64,
}

/// One stream in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointStream {
    /// The stream.
    pub stream: StreamId,
    /// The log_offset that its next record gets.
    pub next_log_offset: LogOffset,
    /// SeqId of its first record.
    pub first_seq_id: SeqId,
    /// SeqId of its newest record.
    pub last_seq_id: SeqId,
}

/// Shows what the file `name` holds, piece by piece, in the order of the file. What it is, its
/// first bytes tell and not its name, so copies that were put aside can be looked into as well.
///
/// # Errors
/// [`Error::Version`] for a file of a newer version; the system's, and those of `visitor`. Damage
/// is shown and is no error.
pub fn inspect(
    storage: &dyn Storage,
    name: &str,
    visitor: &mut dyn FnMut(Inspected) -> Result<()>,
) -> Result<()> {
    let Some(file) = files::open(storage, name)? else {
        return Err(Error::io("open", name, std::io::ErrorKind::NotFound.into()));
    };
    let mut magic = Vec::new();
    files::read_through(file.as_ref(), name, 0, 8, |bytes, _| {
        magic.extend_from_slice(bytes);
        Ok(())
    })?;
    if magic == SEGMENT_MAGIC {
        segment(file.as_ref(), name, visitor)
    } else if magic == INDEX_MAGIC {
        index(&files::content(storage, name)?.unwrap_or_default(), name, visitor)
    } else if magic == CHECKPOINT_MAGIC {
        checkpoint(&files::content(storage, name)?.unwrap_or_default(), name, visitor)
    } else {
        other(file.as_ref(), name, visitor)
    }
}

fn segment(
    file: &dyn StorageFile,
    name: &str,
    visitor: &mut dyn FnMut(Inspected) -> Result<()>,
) -> Result<()> {
    let header = match scan::read_header(file, name) {
        Ok(header) => header,
        Err(Error::Corrupt(damage)) => {
            visitor(Inspected::Damage {
                position: damage.position,
                expected: damage.expected,
                found: damage.found,
                next_valid: None,
            })?;
            return other(file, name, visitor);
        }
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(file, name, header.salt)?;
    let size = walk.scanner.size();
    visitor(Inspected::Segment(SegmentFacts {
        log_id: header.log_id,
        first_seq_id: SeqId(header.base),
        durable_upto: SeqId(header.durable_upto),
        unix_micros: header.created_micros,
        salt: header.salt,
        rewritten: header.rewritten,
        recycled: header.recycled,
        end_seq_id: header.rewritten.then_some(SeqId(header.end)),
        file_bytes: size,
    }))?;
    let mut due = header.base;
    while walk.position < size {
        let position = walk.position;
        match walk.look()? {
            Ok(seen) => {
                due = seen.header.next_seq();
                let facts = frame_facts(&mut walk, seen)?;
                visitor(Inspected::Frame(facts))?;
            }
            Err(invalid) => {
                let next_valid = walk.next_head(position + ALIGNMENT, |_| true)?.map(|(at, _)| at);
                let written = walk.scanner.unfinished_bytes(position, due, &header)?;
                if next_valid.is_some() || written > 0 {
                    visitor(damage(position, invalid, next_valid))?;
                }
                let Some(next) = next_valid else {
                    return visitor(Inspected::Unused { position, bytes: size - position, written });
                };
                walk.position = next;
            }
        }
    }
    Ok(())
}

fn damage(position: u64, invalid: Invalid, next_valid: Option<u64>) -> Inspected {
    let Unlike { at, expected, found } = invalid.unlike();
    Inspected::Damage { position: position + at, expected, found, next_valid }
}

fn frame_facts(walk: &mut Walk<'_>, seen: Seen) -> Result<FrameFacts> {
    let header = seen.header;
    let content = walk.content(&seen)?;
    let table = content.get(FRAME_HEADER_BYTES..header.head_bytes()).unwrap_or_default();
    let record_bytes = frame::entries(table).take(header.count as usize).map(|entry| entry.len).collect();
    let is_bad = |number: u32| seen.bad.iter().any(|bad| bad.number == number);
    let note = content.len().checked_sub(NOTE_BYTES).and_then(|at| Note::decode(content.get(at..)?));
    let note = note.filter(|_| header.note && !is_bad(header.count)).map(|note| NoteFacts::of(&note));
    let (mut controls, mut unknown) = (Vec::new(), Vec::new());
    if header.kind == Kind::Control {
        for (number, record) in (0..).zip(records(&header, content)).filter(|(number, _)| !is_bad(*number)) {
            match Control::decode_one(record.bytes) {
                Ok(control) => {
                    let seq_id = SeqId(header.first_seq + u64::from(number));
                    controls.push((seq_id, ControlFacts::of(&control)));
                }
                Err(invalid) => unknown.push(BadRecord { number, invalid: invalid.behind(record.at) }),
            }
        }
    }
    walk.pass(&seen);
    let position = seen.position;
    let damaged = seen.bad.into_iter().chain(unknown).map(|bad| {
        let Unlike { at, expected, found } = bad.invalid.unlike();
        DamagedRecord { number: bad.number, position: position + at, expected, found }
    });
    let (damaged, behind): (Vec<_>, Vec<_>) = damaged.partition(|bad| bad.number < header.count);
    Ok(FrameFacts {
        position,
        bytes: header.frame_bytes(),
        kind: match header.kind {
            Kind::Batch => FrameKind::Batch,
            Kind::Witness => FrameKind::Witness,
            Kind::Control => FrameKind::Control,
        },
        stream: StreamId::from_bytes(header.stream),
        first_seq_id: SeqId(header.first_seq),
        first_log_offset: LogOffset(header.first_log_offset),
        durable_upto: SeqId(header.durable_upto),
        committed_when_written: header.committed_when_written,
        unix_micros: header.unix_micros,
        record_bytes,
        note,
        controls,
        damaged,
        damaged_note: behind.into_iter().next(),
    })
}

fn index(bytes: &Bytes, name: &str, visitor: &mut dyn FnMut(Inspected) -> Result<()>) -> Result<()> {
    let index = match Index::decode(bytes).map_err(|e| e.in_file(name)) {
        Ok(index) => index,
        Err(error) => return damaged_file(error, bytes, visitor),
    };
    visitor(Inspected::Index(IndexFacts {
        log_id: index.identity.log_id,
        first_seq_id: SeqId(index.identity.base),
        end_seq_id: SeqId(index.identity.end),
        data_end: index.identity.data_end,
        salt: index.identity.salt,
        streams: index.runs().count() as u64,
    }))?;
    for (stream, run) in index.runs() {
        visitor(Inspected::IndexStream {
            stream: StreamId::from_bytes(stream),
            first_log_offset: LogOffset(run.first_log_offset),
            frames: (0..run.len()).filter_map(|k| run.frame(k)).map(|place| place.position()).collect(),
        })?;
    }
    Ok(())
}

fn checkpoint(bytes: &Bytes, name: &str, visitor: &mut dyn FnMut(Inspected) -> Result<()>) -> Result<()> {
    let checkpoint = match Checkpoint::decode(bytes).map_err(|e| e.in_file(name)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return damaged_file(error, bytes, visitor),
    };
    let head = checkpoint.head;
    visitor(Inspected::Checkpoint(CheckpointFacts {
        log_id: head.log_id,
        generation: head.generation,
        next_seq_id: SeqId(head.next_seq),
        scan_segment: SeqId(head.scan_base),
        scan_position: head.scan_position,
        unix_micros: head.last_micros,
        clean: head.clean,
        streams: checkpoint.streams.len() as u64,
        controls: checkpoint.controls.len() as u64,
    }))?;
    for base in checkpoint.segments() {
        visitor(Inspected::CheckpointSegment(SeqId(base)))?;
    }
    for (stream, state) in checkpoint.streams.iter() {
        visitor(Inspected::CheckpointStream(CheckpointStream {
            stream: StreamId::from_bytes(stream),
            next_log_offset: LogOffset(state.next_log_offset),
            first_seq_id: SeqId(state.first_seq),
            last_seq_id: SeqId(state.last_seq),
        }))?;
    }
    for control in &checkpoint.controls {
        visitor(Inspected::CheckpointControl(ControlFacts::of(control)))?;
    }
    Ok(())
}

fn damaged_file(error: Error, bytes: &Bytes, visitor: &mut dyn FnMut(Inspected) -> Result<()>) -> Result<()> {
    let Error::Corrupt(damage) = error else { return Err(error) };
    let (position, expected, found) = (damage.position, damage.expected, damage.found);
    visitor(Inspected::Damage { position, expected, found, next_valid: None })?;
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    visitor(Inspected::Other {
        bytes: bytes.len() as u64,
        written,
        head: bytes.slice(..bytes.len().min(HEAD)),
    })
}

/// How much is shown of a file of which nothing else is known.
const HEAD: usize = 64;

fn other(file: &dyn StorageFile, name: &str, visitor: &mut dyn FnMut(Inspected) -> Result<()>) -> Result<()> {
    let size = file.size().map_err(|e| Error::io("stat", name, e))?;
    let (mut head, mut written) = (Bytes::new(), 0);
    files::read_through(file, name, 0, size.max(DATA_START), |bytes, at| {
        if at == 0 {
            head = Bytes::copy_from_slice(bytes.get(..bytes.len().min(HEAD)).unwrap_or_default());
        }
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            written = at + last as u64 + 1;
        }
        Ok(())
    })?;
    visitor(Inspected::Other { bytes: size, written, head })
}
