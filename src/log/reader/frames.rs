//! The next frame: of the whole log, or of one stream.

use super::{At, Reader, Scope};
use crate::error::{Error, Result};
use crate::format::frame::Kind;
use crate::format::{DATA_START, Invalid};
use crate::ids::{LogOffset, SeqId};

/// The frames of one stream lie anywhere, and the processor knows nothing of the next ones: each is fetched
/// while this many before it are read.
const FRAMES_AHEAD: usize = 3;

impl Reader {
    /// The next frame of the segment at hand; false if it has none.
    #[inline]
    pub(super) fn search(&mut self) -> Result<bool> {
        match &self.scope {
            Scope::Log => self.next_log_frame(),
            Scope::Stream { .. } => self.next_stream_frame(),
        }
    }

    #[inline(always)]
    fn next_log_frame(&mut self) -> Result<bool> {
        loop {
            let Some(At { segment, view, position, begun, current, .. }) = &mut self.at else {
                return Ok(false);
            };
            let due = self.next_seq.max(segment.base());
            if due >= segment.end_seq() {
                return Ok(false);
            }
            let Some(place) = *position else {
                self.find_due(due)?;
                continue;
            };
            current.clear();
            let damage = segment.load_frame(view, place, &mut current.frame)?;
            let header = &current.frame.header;
            if damage.is_err() || header.first_seq > due {
                return self.pass_damage(due, place, damage.err());
            }
            (*position, *begun) = (Some(place + header.frame_bytes()), true);
            let next = header.next_seq();
            if header.kind != Kind::Batch || next <= due {
                self.next_seq = self.next_seq.max(next);
            } else if !self.hides_frame() {
                self.begin_frame();
                return Ok(true);
            }
        }
    }

    /// Finds the frame that holds SeqId `due`. Where it is damaged, what follows comes next.
    #[cold]
    fn find_due(&mut self, due: u64) -> Result<()> {
        let Some(at) = &mut self.at else { return Ok(()) };
        match at.segment.frame_of(&mut at.view, due) {
            Ok(frame) => at.position = Some(frame.position),
            Err(error) => {
                let later = at.segment.frame_after_damage(&mut at.view, DATA_START, due + 1)?;
                self.next_seq = later.as_ref().map_or(at.segment.end_seq(), |frame| frame.header.first_seq);
                at.position = Some(later.map_or(DATA_START, |frame| frame.position));
                return Err(error);
            }
        }
        Ok(())
    }

    /// At `place` is not the frame of SeqId `due`. After damage the next good one may be: then no record
    /// was hit.
    #[cold]
    fn pass_damage(&mut self, due: u64, place: u64, damage: Option<Invalid>) -> Result<bool> {
        let Some(At { segment, view, position, current, .. }) = &mut self.at else { return Ok(false) };
        let later = match &damage {
            None => Some(current.frame),
            Some(_) => segment.frame_after_damage(view, place + 8, due)?,
        };
        // Never beyond this segment, whatever a frame claims.
        let end = segment.end_seq();
        self.next_seq = later.as_ref().map_or(end, |frame| frame.header.first_seq.clamp(due, end));
        self.finished = self.next_seq >= self.end_seq;
        *position = Some(later.as_ref().map_or(place, |frame| frame.position));
        Err(segment.missing(due, place, damage, later.as_ref()))
    }

    #[inline(always)]
    fn begin_frame(&mut self) {
        if let Some(At { view, current, .. }) = &mut self.at {
            current.begin(view, &self.scope, self.next_seq, self.end_seq);
        }
    }

    fn next_stream_frame(&mut self) -> Result<bool> {
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, thinned } = &mut self.scope else {
            return Ok(false);
        };
        let Some(at) = self.at.as_mut().filter(|at| !at.lost) else { return Ok(false) };
        if at.segment.base() >= self.end_seq {
            self.finished = true;
            return Ok(false);
        }
        loop {
            let mut unfetched = FRAMES_AHEAD - 1;
            if at.frames.is_empty() {
                at.frames = at.segment.stream_frames(id.as_bytes(), *next_log_offset, at.after)?;
                unfetched = 0;
            }
            let Some(position) = at.frames.front().copied() else { return Ok(false) };
            at.current.clear();
            let loaded = at.segment.load_frame(&mut at.view, position, &mut at.current.frame)?;
            at.frames.pop_front();
            at.after = position;
            for ahead in (unfetched..FRAMES_AHEAD).filter_map(|k| at.frames.get(k)) {
                at.view.fetch(*ahead, at.current.frame.header.frame_bytes());
            }
            if let Err(invalid) = loaded {
                self.damage.get_or_insert_with(|| invalid.in_file(at.segment.name(), position));
                continue;
            }
            let header = &at.current.frame.header;
            let first = header.first_log_offset;
            if first + u64::from(header.count) <= *next_log_offset {
                continue;
            }
            let damage = self.damage.take();
            let gap = first > *next_log_offset && *next_log_offset < *end_log_offset;
            if gap && (*in_order || damage.is_some()) {
                if self.inner.purged(*id).log_offset >= *next_log_offset {
                    at.frames.push_front(position);
                    at.after = position - 1;
                    return self.pass_purged().map_or(Ok(true), Err);
                }
                // They were lost before, and what was left of their segment was purged.
                let freed = self.inner.registry.read().any_freed_in(self.next_seq, header.first_seq);
                let due = std::mem::replace(next_log_offset, first);
                at.frames.push_front(position);
                at.after = position - 1;
                return Err(if let Some(damage) = damage {
                    damage
                } else if *thinned || freed {
                    Error::Gone { first: SeqId(self.next_seq), next: SeqId(header.first_seq) }
                } else {
                    Error::stream_offset(at.segment.name(), position, *id, LogOffset(due), LogOffset(first))
                });
            }
            *thinned = at.segment.opened()?.header.rewritten;
            at.begun = true;
            self.begin_frame();
            return Ok(true);
        }
    }
}
