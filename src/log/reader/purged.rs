//! What a purge means for who reads.

use super::{At, Reader, Scope};
use crate::error::{Error, Result};
use crate::format::control::Point;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::log::Inner;
use crate::log::replay::Verdict;
use crate::segment::Segment;
use crate::sync::atomic::Ordering;

/// What a whole-log reader knows of the purges up to its last look at their number.
#[derive(Debug, Default)]
pub(super) struct Purged {
    any: bool,
    /// The stream of the last frame, and up to where it was purged.
    last: Option<([u8; 16], Point)>,
}

impl Reader {
    /// Begins behind what was purged. Who asked for something below is told so first.
    pub(super) fn behind_purge(mut self, asked: bool) -> Self {
        self.first_error = self.step_behind().filter(|_| asked);
        self
    }

    /// Nothing was purged since the last look.
    #[inline]
    pub(super) fn is_undisturbed(&self) -> bool {
        self.inner.purges.load(Ordering::Acquire) == self.purges && self.first_error.is_none()
    }

    /// The stream was purged up to the reader's place or beyond: it goes on behind that.
    pub(super) fn check_purges(&mut self) -> Result<()> {
        match self.first_error.take() {
            Some(error) => Err(error),
            None if self.finished || self.is_undisturbed() => Ok(()),
            None => self.pass_purged().map_or(Ok(()), Err),
        }
    }

    /// Moves behind what was purged; the error if that passed over anything that was wanted.
    pub(super) fn pass_purged(&mut self) -> Option<Error> {
        let read = match &self.scope {
            Scope::Log => false,
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
            self.purged = Purged { any: self.inner.registry.read().any_purged(), last: None };
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
        // What is left of the frame at hand is still to be read.
        if let Some(At { view, current, .. }) = &mut self.at {
            current.skip(view, &self.scope, self.next_seq);
        }
        self.damage = None;
        Some(Error::Purged { stream, seq_id: SeqId(seq), log_offset: LogOffset(log_offset) })
    }

    /// Whether the whole-log reader passes over all of the frame it has come to, because its stream was
    /// purged; it begins behind the purged part of one that was purged in part.
    #[inline]
    pub(super) fn hides_frame(&mut self) -> bool {
        self.purged.any && self.is_hidden()
    }

    fn is_hidden(&mut self) -> bool {
        let Some(at) = &self.at else { return false };
        let header = &at.current.frame.header;
        let upto = match self.purged.last.filter(|(last, _)| *last == header.stream) {
            Some((_, upto)) => upto,
            None => self.inner.purged(StreamId::from_bytes(header.stream)),
        };
        self.purged.last = Some((header.stream, upto));
        if upto.seq >= header.first_seq {
            self.next_seq = self.next_seq.max(header.next_seq().min(upto.seq + 1));
        }
        self.next_seq >= header.next_seq()
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
