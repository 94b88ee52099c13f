//! The next frame: of the whole log, or of one stream.

use super::{Current, Reader, Scope};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::ids::{LogOffset, SeqId};

impl Reader {
    pub(super) fn next_log_frame(&mut self) -> Result<bool> {
        loop {
            let Some(at) = &mut self.at else { return Ok(false) };
            let due = self.next_seq.max(at.segment.base());
            if due >= at.segment.end_seq() {
                return Ok(false);
            }
            let Some(position) = at.position else {
                match at.segment.frame_of(&mut at.view, due) {
                    Ok(frame) => at.position = Some(frame.position),
                    Err(error) => {
                        let later = at.segment.frame_after_damage(&mut at.view, DATA_START, due + 1)?;
                        self.next_seq =
                            later.as_ref().map_or(at.segment.end_seq(), |frame| frame.header.first_seq);
                        at.position = Some(later.map_or(DATA_START, |frame| frame.position));
                        return Err(error);
                    }
                }
                continue;
            };
            let (frame, damage) = match at.segment.frame_at(&mut at.view, position)? {
                Ok(frame) => (Some(frame), None),
                Err(invalid) => {
                    (at.segment.frame_after_damage(&mut at.view, position + 8, due)?, Some(invalid))
                }
            };
            // After damage the next good frame may be the one that was due: then no record was hit.
            let frame = match frame {
                Some(frame) if frame.header.first_seq <= due && damage.is_none() => frame,
                later => {
                    let later = later.as_ref();
                    // Never beyond this segment, whatever a frame claims.
                    let end = at.segment.end_seq();
                    self.next_seq = later.map_or(end, |frame| frame.header.first_seq.clamp(due, end));
                    self.finished = self.next_seq >= self.end_seq;
                    at.position = Some(later.map_or(position, |frame| frame.position));
                    return Err(at.segment.missing(due, position, damage, later));
                }
            };
            at.position = Some(frame.position + frame.header.frame_bytes());
            let next = frame.header.next_seq();
            if frame.header.kind != Kind::Batch || next <= due {
                self.next_seq = self.next_seq.max(next);
            } else if !self.hides(&frame) {
                let Some(at) = &self.at else { return Ok(false) };
                self.current = Some(Current::new(&at.segment, frame));
                return Ok(true);
            }
        }
    }

    pub(super) fn next_stream_frame(&mut self) -> Result<bool> {
        let Scope::Stream { id, next_log_offset, end_log_offset, in_order, thinned } = &mut self.scope else {
            return Ok(false);
        };
        let Some(at) = self.at.as_mut().filter(|at| !at.lost) else { return Ok(false) };
        if at.segment.base() >= self.end_seq {
            self.finished = true;
            return Ok(false);
        }
        loop {
            if at.frames.is_empty() {
                at.frames = at.segment.stream_frames(id.as_bytes(), *next_log_offset, at.after)?;
            }
            let Some(position) = at.frames.pop_front() else { return Ok(false) };
            at.after = position;
            let damaged = |invalid: crate::format::Invalid| invalid.in_file(at.segment.name(), position);
            let frame = match at.segment.frame_at(&mut at.view, position)? {
                Ok(frame) => frame,
                Err(invalid) => {
                    self.damage.get_or_insert_with(|| damaged(invalid));
                    continue;
                }
            };
            let first = frame.header.first_log_offset;
            if first + u64::from(frame.header.count) <= *next_log_offset {
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
                let freed = self.inner.registry.read().any_freed_in(self.next_seq, frame.header.first_seq);
                let due = std::mem::replace(next_log_offset, first);
                at.frames.push_front(position);
                at.after = position - 1;
                return Err(if let Some(damage) = damage {
                    damage
                } else if *thinned || freed {
                    Error::Gone { first: SeqId(self.next_seq), next: SeqId(frame.header.first_seq) }
                } else {
                    Error::stream_offset(at.segment.name(), position, *id, LogOffset(due), LogOffset(first))
                });
            }
            *thinned = at.segment.opened()?.header.rewritten;
            self.current = Some(Current::new(&at.segment, frame));
            return Ok(true);
        }
    }
}
