//! The index of a segment that has no index file yet, built by whoever reads.
//!
//! Appending does no work for it: a reader that needs the index follows the frames from where
//! the last one stopped, so each frame is looked at once, and a log nobody reads pays nothing.

use std::collections::HashMap;

use crate::format::DATA_START;
use crate::format::frame::{FrameHeader, Kind};
use crate::format::index::{Place, Run, last_place};

/// Bytes between two places of the sparse index by SeqId.
const PLACE_BYTES: u64 = 256;

#[derive(Debug)]
pub(crate) struct MemoryIndex {
    base: u64,
    /// Where the next frame to be indexed begins, and the SeqId due there.
    pub(crate) next_position: u64,
    pub(crate) next_seq: u64,
    /// Something in the segment can't be read, so a stream may be missing here.
    pub(crate) damaged: bool,
    places: Vec<Place>,
    runs: HashMap<[u8; 16], MemoryRun>,
}

#[derive(Debug)]
struct MemoryRun {
    first_log_offset: u64,
    frames: Vec<Place>,
}

impl MemoryIndex {
    pub(crate) fn new(base: u64) -> Self {
        MemoryIndex {
            base,
            next_position: DATA_START,
            next_seq: base,
            damaged: false,
            places: Vec::new(),
            runs: HashMap::new(),
        }
    }

    /// Takes the frame at `position`; frames come in order.
    pub(crate) fn add(&mut self, position: u64, header: &FrameHeader) {
        self.next_position = position + header.frame_bytes();
        self.next_seq = header.next_seq();
        if header.kind != Kind::Batch {
            return;
        }
        if self.places.last().is_none_or(|last| position >= last.position() + PLACE_BYTES) {
            self.places.push(Place::new(header.first_seq - self.base, position));
        }
        let first = header.first_log_offset;
        let run = self
            .runs
            .entry(header.stream)
            .or_insert_with(|| MemoryRun { first_log_offset: first, frames: Vec::with_capacity(1) });
        run.frames.push(Place::new(first.saturating_sub(run.first_log_offset), position));
    }

    pub(crate) fn place_at(&self, delta: u32) -> Option<(Place, Option<Place>)> {
        last_place(self.places.len(), delta, |k| self.places.get(k).copied())
    }

    /// First log_offset of a stream here, and its frames.
    pub(crate) fn run(&self, stream: &[u8; 16]) -> Option<(u64, &[Place])> {
        self.runs.get(stream).map(|run| (run.first_log_offset, run.frames.as_slice()))
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(crate) fn sorted_runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self
            .runs
            .iter()
            .map(|(stream, run)| Run {
                stream: *stream,
                first_log_offset: run.first_log_offset,
                frames: run.frames.clone(),
            })
            .collect();
        runs.sort_unstable_by_key(|run| run.stream);
        runs
    }
}
