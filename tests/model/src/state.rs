//! The model: what a log holds, as plain lists, and the steps that change it.

use std::collections::BTreeMap;

use stratalog::{ProducerId, StreamId};

use crate::payload::Id;
use crate::program::STREAMS;

pub(crate) fn stream_id(stream: u64) -> StreamId {
    StreamId::from_u128(u128::from(stream) + 1)
}

pub(crate) fn producer_id(producer: u64) -> ProducerId {
    ProducerId::from_u128(u128::from(producer) + 77)
}

pub(crate) fn cursor_name(name: u64) -> &'static str {
    ["a", "b"].get(name as usize).copied().unwrap_or("c")
}

/// One record. `None`: a number that nobody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) id: Id,
    pub(crate) seq: Option<u64>,
}

/// One stream: the record of log_offset n stands at n - 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// `None`: purged, and nobody looks any more.
    pub(crate) records: Vec<Option<Rec>>,
    /// The last log_offset that is gone.
    pub(crate) purged: u64,
}

impl Stream {
    pub(crate) fn newest(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn at(&self, offset: u64) -> Option<&Rec> {
        self.records.get(offset.checked_sub(1)? as usize)?.as_ref()
    }

    pub(crate) fn visible(&self) -> impl Iterator<Item = (u64, &Rec)> {
        let from = self.purged;
        let rest = self.records.iter().enumerate().skip(from as usize);
        rest.filter_map(|(at, rec)| Some((at as u64 + 1, rec.as_ref()?)))
    }
}

/// What a producer appended last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) sequence: u64,
    pub(crate) stream: u64,
    pub(crate) first_offset: u64,
    pub(crate) count: u64,
}

/// A whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) streams: Vec<Stream>,
    pub(crate) cursors: BTreeMap<(u64, u64), u64>,
    pub(crate) producers: [Option<Produced>; 2],
    /// No number up to here is ever given out again.
    pub(crate) last_seq: u64,
}

/// What is committed as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Batch { stream: u64, records: Vec<Rec>, note: Option<(u64, u64)> },
    Cursor { stream: u64, name: u64, to: u64 },
    DropCursor { stream: u64, name: u64 },
    Purge { stream: u64, to: u64 },
    Delete { stream: u64 },
}

impl Default for State {
    fn default() -> Self {
        let streams = (0..STREAMS).map(|_| Stream::default()).collect();
        State { streams, cursors: BTreeMap::new(), producers: [None; 2], last_seq: 0 }
    }
}

impl State {
    pub(crate) fn stream(&self, stream: u64) -> &Stream {
        &self.streams[stream as usize]
    }

    pub(crate) fn least_cursor(&self, stream: u64) -> Option<u64> {
        self.cursors.iter().filter(|((of, _), _)| *of == stream).map(|(_, at)| *at).min()
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Batch { stream, records, note } => {
                let held = &mut self.streams[*stream as usize].records;
                let first_offset = held.len() as u64 + 1;
                held.extend(records.iter().copied().map(Some));
                if let Some(last) = records.last().and_then(|record| record.seq) {
                    self.last_seq = self.last_seq.max(last);
                }
                if let Some((producer, sequence)) = *note {
                    let count = records.len() as u64;
                    self.producers[producer as usize] =
                        Some(Produced { sequence, stream: *stream, first_offset, count });
                }
            }
            Step::Cursor { stream, name, to } => {
                self.cursors.insert((*stream, *name), *to);
            }
            Step::DropCursor { stream, name } => {
                self.cursors.remove(&(*stream, *name));
            }
            Step::Purge { stream, to } => {
                let purged = &mut self.streams[*stream as usize].purged;
                *purged = (*purged).max(*to);
            }
            Step::Delete { stream } => {
                let newest = self.stream(*stream).newest();
                self.streams[*stream as usize].purged = newest;
                self.cursors.retain(|(of, _), _| of != stream);
            }
        }
    }

    /// Where this differs from what was found in a log; `None` if it is the same as far as a reader
    /// can see.
    pub(crate) fn difference(&self, seen: &State) -> Option<String> {
        for (n, (mine, theirs)) in self.streams.iter().zip(&seen.streams).enumerate() {
            if (mine.newest(), mine.purged) != (theirs.newest(), theirs.purged) {
                return Some(format!(
                    "stream {n}: expected {} records, {} of them purged, found {} and {}",
                    mine.newest(),
                    mine.purged,
                    theirs.newest(),
                    theirs.purged
                ));
            }
            for ((offset, mine), (_, theirs)) in mine.visible().zip(theirs.visible()) {
                let same_seq = mine.seq.is_none() || mine.seq == theirs.seq;
                if mine.id != theirs.id || !same_seq {
                    return Some(format!(
                        "stream {n}, log_offset {offset}: expected {mine:?}, found {theirs:?}"
                    ));
                }
            }
        }
        (self.cursors != seen.cursors)
            .then(|| format!("expected cursors {:?}, found {:?}", self.cursors, seen.cursors))
    }

    /// Takes over what this did not know of numbers, from what was found and is the same.
    pub(crate) fn learn(&mut self, seen: &State) {
        for (mine, theirs) in self.streams.iter_mut().zip(&seen.streams) {
            for (mine, theirs) in mine.records.iter_mut().zip(&theirs.records) {
                if let (Some(mine), Some(theirs)) = (mine, theirs) {
                    mine.seq = theirs.seq;
                }
            }
        }
        self.last_seq = self.last_seq.max(seen.last_seq);
    }
}
