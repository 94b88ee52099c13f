//! What an examination finds.

use std::collections::VecDeque;

use crate::error::Error;
use crate::format::checkpoint::{Checkpoint, StreamState};
use crate::format::segment_header::SegmentHeader;

use super::chain::Chain;
use super::controls::Controls;
use super::finding::{Finding, Severity};
use super::marks::Mark;
use super::numbers::Numbers;

/// A segment as it should be after a repair.
#[derive(Debug)]
pub(super) struct State {
    pub(super) base: u64,
    pub(super) end: u64,
    /// What can be read of it, and with which salt; `None` if there is nothing.
    pub(super) header: Option<SegmentHeader>,
    /// The file is there.
    pub(super) present: bool,
    /// It must be written anew.
    pub(super) damaged: bool,
}

/// A good frame of which nothing says that it is on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    pub(super) base: u64,
    pub(super) position: u64,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
}

/// Bytes behind the end of the log that are no frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Torn {
    pub(super) base: u64,
    pub(super) position: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) frames: u64,
    pub(super) records: u64,
    pub(super) controls: u64,
}

#[derive(Debug, Default)]
pub(super) struct Examination {
    pub(super) findings: Vec<Finding>,
    pub(super) counts: Counts,
    pub(super) chain: Chain,
    pub(super) states: Vec<State>,
    /// The SeqId after the last one.
    pub(super) end: u64,
    /// Every SeqId up to here is known to be durable.
    pub(super) durable: u64,
    pub(super) last_micros: i64,
    pub(super) torn: Option<Torn>,
    /// Segments behind the end: never synced, and of no use without what is missing before them.
    pub(super) orphans: Vec<u64>,
    pub(super) doubts: VecDeque<Doubt>,
    pub(super) numbers: Numbers,
    pub(super) controls: Controls,
    pub(super) marks: Vec<Mark>,
    pub(super) bad_checkpoints: Vec<String>,
    pub(super) bad_indexes: Vec<u64>,
    /// What a repair must leave alone, and so can't mend the log.
    pub(super) refused: Option<Error>,
}

impl Examination {
    /// The newest good checkpoint.
    pub(super) fn newest(&self) -> Option<&Checkpoint> {
        self.marks.iter().map(|mark| &mark.checkpoint).max_by_key(|checkpoint| checkpoint.head.generation)
    }

    /// The newest one whose content agrees with the log.
    pub(super) fn newest_good(&self) -> Option<&Checkpoint> {
        let good = self.marks.iter().filter(|mark| !self.bad_checkpoints.contains(&mark.name));
        good.map(|mark| &mark.checkpoint).max_by_key(|checkpoint| checkpoint.head.generation)
    }

    /// What the frames don't tell any more stands in checkpoints alone, and no good one is left.
    pub(super) fn only_checkpoints_know(&self) -> bool {
        self.newest_good().is_none() && self.controls.any_freed()
    }

    /// Where each stream stands after everything; and whether SeqIds are lost of which nobody knows
    /// that they were records of streams.
    pub(super) fn settled_streams(&mut self) -> (Vec<([u8; 16], StreamState)>, bool) {
        let newest = self.newest_good();
        let table = newest.map(|newest| newest.streams.clone()).unwrap_or_default();
        let from = newest.map_or(1, |newest| newest.head.next_seq);
        std::mem::take(&mut self.numbers).settle(&table, from)
    }

    /// SeqIds `first..end` are lost, and nobody knows what they were.
    pub(super) fn lose(&mut self, first: u64, end: u64) {
        if first < end {
            self.numbers.lose(first, end);
            self.controls.lose(end);
        }
    }

    /// SeqIds `first..end` were freed. Whatever they were, a checkpoint knows it; without one it is lost.
    pub(super) fn free(&mut self, first: u64, end: u64) {
        if self.newest().is_some() {
            self.numbers.free(first, end);
        } else {
            self.lose(first, end);
        }
        self.controls.free(first, end);
    }

    pub(super) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}
