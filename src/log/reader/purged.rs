//! What a purge means for who reads.

use super::{Reader, Scope};
use crate::error::{Error, Result};
use crate::format::control::Point;
use crate::ids::{LogOffset, SeqId};
use crate::log::Inner;
use crate::log::replay::Verdict;
use crate::segment::{Frame, Segment};
use crate::sync::atomic::Ordering;

impl Reader {
    /// Begins behind what was purged. Who asked for something below is told so first.
    pub(super) fn behind_purge(mut self, asked: bool) -> Self {
        self.first_error = self.step_behind().filter(|_| asked);
        self
    }

    /// The stream was purged up to the reader's place or beyond: it goes on behind that.
    pub(super) fn check_purges(&mut self) -> Result<()> {
        match self.first_error.take() {
            Some(error) => Err(error),
            None if self.finished || self.inner.purges.load(Ordering::Acquire) == self.purges => Ok(()),
            None => self.pass_purged().map_or(Ok(()), Err),
        }
    }

    /// Moves behind what was purged; the error if that passed over anything that was wanted.
    pub(super) fn pass_purged(&mut self) -> Option<Error> {
        let read = match &self.scope {
            Scope::Log => true,
            Scope::Stream { next_log_offset, end_log_offset, .. } => {
                self.next_seq >= self.end_seq || next_log_offset >= end_log_offset
            }
        };
        if read { None } else { self.step_behind() }
    }

    fn step_behind(&mut self) -> Option<Error> {
        // Before the look: what is purged after it is looked up again.
        self.purges = self.inner.purges.load(Ordering::Acquire);
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, .. } = &mut self.scope else {
            return None;
        };
        let Point { seq, log_offset } = self.inner.purged(*id);
        // Only once it has read a record, or was given a log_offset, does a reader know its own.
        let passed = if *in_order { log_offset >= *next_log_offset } else { seq >= self.next_seq };
        if log_offset == 0 || !passed {
            return None;
        }
        let stream = *id;
        *next_log_offset = log_offset + 1;
        self.next_seq = self.next_seq.max(seq + 1);
        self.finished = *next_log_offset >= *end_log_offset || self.next_seq >= self.end_seq;
        self.current = None;
        self.damage = None;
        Some(Error::Purged { stream, seq_id: SeqId(seq), log_offset: LogOffset(log_offset) })
    }

    /// Whether the whole-log reader passes over all of a frame, because its stream was purged; it
    /// begins behind the purged part of one that was purged in part.
    pub(super) fn hides(&mut self, frame: &Frame) -> bool {
        let registry = self.inner.registry.read();
        let Some(upto) = registry.purged(&frame.header.stream) else { return false };
        let next = frame.header.next_seq();
        if upto.seq >= frame.header.first_seq {
            self.next_seq = self.next_seq.max(next.min(upto.seq + 1));
        }
        self.next_seq >= next
    }
}

impl Inner {
    /// The file of a segment is not there: whether that is as it should be.
    pub(super) fn is_freed(&self, segment: &Segment) -> Result<bool> {
        if !segment.is_freed() {
            // Beside a writer, the news may not have come here yet.
            self.refresh(Verdict::Peek)?;
        }
        // The list may hold another one of the same file by now.
        Ok(segment.is_freed() || self.registry.read().is_freed(segment.base()))
    }
}
