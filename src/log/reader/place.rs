//! Where a reader stands among the segments.

use std::sync::Arc;

use super::{At, Reader, Scope};
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId};
use crate::segment::{Segment, View};

impl Reader {
    /// A segment that was empty may have been replaced by one of the same base, after a failed
    /// write or by a recovery: what is read next stands in that one. True if it was.
    pub(super) fn rejoin(&mut self) -> bool {
        let Some(at) = &self.at else { return false };
        let k = self.segments.partition_point(|segment| segment.base() < at.segment.base());
        let Some(held) = self.segments.get(k).filter(|held| !Arc::ptr_eq(held, &at.segment)) else {
            return false;
        };
        self.at = Some(At::begin(Arc::clone(held), self.view()));
        true
    }

    /// Whether the reader stands in the last segment there is. It then lets go of all the others: who waits
    /// there may wait for long, and what is freed meanwhile goes once nobody has it.
    pub(super) fn stands_in_last_of(&mut self, newest: &[Arc<Segment>]) -> bool {
        let Some(at) = &self.at else { return false };
        let last = newest.last().is_some_and(|last| Arc::ptr_eq(last, &at.segment));
        if last && self.segments.len() > 1 {
            self.segments = Arc::new(vec![Arc::clone(&at.segment)]);
        }
        last
    }

    /// Whether a segment comes behind the one the reader stands in.
    pub(super) fn has_successor(&self) -> bool {
        let base = self.at.as_ref().map_or(0, |at| at.segment.base());
        self.segments.last().is_some_and(|last| last.base() > base)
    }

    /// Opens the segment's file. If it is not what its name says, the reader stands behind it at
    /// once, as behind any other damage.
    pub(super) fn check_file(&mut self) -> Result<()> {
        let Some(at) = self.at.as_mut().filter(|at| !at.lost) else { return Ok(()) };
        let first = match self.scope {
            Scope::Log => self.next_seq.max(at.segment.base()),
            Scope::Stream { .. } => at.segment.base(),
        };
        if first >= at.segment.end_seq() {
            return Ok(());
        }
        match at.segment.opened() {
            Ok(opened) => {
                if let Scope::Stream { thinned, .. } = &mut self.scope {
                    *thinned |= opened.header.rewritten;
                }
                Ok(())
            }
            Err(error @ (Error::Corrupt(_) | Error::Version { .. })) => {
                at.lost = true;
                if let Scope::Stream { .. } = self.scope {
                    self.damage.get_or_insert(error);
                    return Ok(());
                }
                self.next_seq = self.next_seq.max(at.segment.end_seq());
                self.finished = self.next_seq >= self.end_seq;
                Err(error)
            }
            Err(error) if error.is_not_found() && self.inner.is_freed(&at.segment)? => {
                at.lost = true;
                if let Scope::Log = self.scope {
                    self.next_seq = self.next_seq.max(at.segment.end_seq());
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A stream that ends before the log_offset that it had reached at the last checkpoint: its
    /// last frames are damaged, or cut out. `visible` was committed before the search for them.
    pub(super) fn missing_end(&mut self, visible: u64) -> Option<Error> {
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, .. } = &mut self.scope else {
            return None;
        };
        let damage = self.damage.take();
        if damage.is_some() && !*in_order {
            return damage;
        }
        let known = match &damage {
            None => self.inner.hints.read().table.find(id.as_bytes())?,
            // What was appended since the checkpoint counts too; without damage it is all there.
            Some(_) => self.inner.tail.lock().streams.find(id.as_bytes())?,
        };
        if self.inner.purged(*id).log_offset >= *next_log_offset && *in_order {
            return self.pass_purged();
        }
        let missing = *next_log_offset < known.next_log_offset.min(*end_log_offset) && *in_order;
        let visible = visible.min(self.end_seq.saturating_sub(1));
        if !missing || visible < known.last_seq {
            return None;
        }
        let (id, due) = (*id, LogOffset(*next_log_offset));
        *next_log_offset = known.next_log_offset;
        self.finished |= *next_log_offset >= *end_log_offset;
        if damage.is_some() {
            return damage;
        }
        self.next_seq = self.next_seq.max(known.last_seq + 1);
        // Reading the stream's last record says what became of it.
        Some(match self.inner.record(SeqId(known.last_seq)) {
            Err(error) => error,
            Ok(_) => {
                let newest = LogOffset(known.next_log_offset - 1);
                let last = self.segments.last().map_or_else(String::new, |segment| segment.name().to_owned());
                let expected = format!("log_offset {due} of stream {id}, which has {newest} of them");
                Error::corrupt(last, 0, expected, "the end of the log")
            }
        })
    }

    pub(super) fn view(&self) -> View {
        match self.scope {
            Scope::Log => View::sequential(),
            Scope::Stream { .. } => View::scattered(),
        }
    }

    /// The number of the segment the reader stands in, which is looked up if it stands nowhere.
    pub(super) fn place(&mut self) -> Result<Option<usize>> {
        if self.at.is_none() {
            self.segments = self.inner.segments();
            let next_seq = self.next_seq;
            let k = self.segments.partition_point(|segment| segment.base() <= next_seq);
            // A SeqId before the first segment was purged; reading begins with what is there.
            let Some(mut segment) = self.segments.get(k.saturating_sub(1)) else { return Ok(None) };
            if k > 0
                && next_seq >= segment.end_seq()
                && let Some(next) = self.segments.get(k)
            {
                // What lay in between was freed.
                segment = next;
            }
            let mut at = At::begin(Arc::clone(segment), self.view());
            if next_seq > segment.base() {
                if next_seq >= segment.end_seq() && matches!(self.scope, Scope::Log) {
                    return Ok(None);
                }
                at.position = None;
                if let Scope::Stream { in_order: false, .. } = self.scope
                    && next_seq < segment.end_seq()
                    && let Ok(frame) = segment.frame_of(&mut at.view, next_seq)
                {
                    at.after = frame.position - 1;
                }
            }
            self.at = Some(at);
        }
        let base = self.at.as_ref().map_or(0, |at| at.segment.base());
        Ok(Some(self.segments.partition_point(|segment| segment.base() < base)))
    }
}
