//! Which segments were freed, as the checkpoint and the frames behind it say.
//!
//! It is asked before the segments are put in order, because what was freed is no gap in it. Whoever
//! frees a segment has written down before that nothing in it is wanted, so to believe a record that
//! was never committed hides nothing.

use crate::error::Result;
use crate::format::DATA_START;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::Control;
use crate::format::frame::Kind;
use crate::format::segment_header::SegmentHeader;
use crate::log::registry::Registry;
use crate::storage::Storage;

use super::files;
use super::walk::Walk;

/// A segment whose frames can be read.
pub(super) struct Readable {
    pub(super) name: String,
    pub(super) header: SegmentHeader,
}

/// `segments` are in the order of their bases.
pub(super) fn find(
    storage: &dyn Storage,
    segments: &[Readable],
    checkpoint: Option<&Checkpoint>,
) -> Result<Registry> {
    let mut known = Registry::default();
    let from = checkpoint.map_or(0, |checkpoint| checkpoint.head.scan_base);
    for control in checkpoint.iter().flat_map(|checkpoint| &checkpoint.controls) {
        known.apply(control);
    }
    let mut durable = checkpoint.map_or(0, Checkpoint::durable);
    let mut doubtful = Vec::new();
    let mut due = from;
    let first = segments.partition_point(|segment| segment.header.base < from);
    for (k, Readable { name, header }) in segments.iter().enumerate().skip(first) {
        durable = durable.max(header.durable_upto);
        let bound = segments.get(k + 1).map_or(u64::MAX, |next| next.header.base);
        let mut unbroken = checkpoint.is_none() || due == header.base;
        due = header.base;
        // A file that is gone by now was freed, and the record of that stands in a later one.
        let Some(file) = files::open(storage, name).ok().flatten() else { continue };
        let mut walk = Walk::new(file.as_ref(), name, header.salt)?;
        walk.position = DATA_START;
        while let Some((position, head)) =
            walk.next_head(walk.position, |head| head.first_seq >= due && head.next_seq() <= bound)?
        {
            unbroken &= checkpoint.is_none() || (position == walk.position && head.first_seq == due);
            durable = durable.max(head.durable_upto);
            due = head.next_seq();
            walk.position = position;
            if head.kind == Kind::Control
                && let Ok(seen) = walk.look()?
                && seen.bad.is_empty()
            {
                let content = walk.content(&seen)?;
                let body = content.get(head.head_bytes()..).unwrap_or_default();
                let freed = Control::decode_all(body).unwrap_or_default().into_iter();
                let freed = freed.filter(|control| matches!(control, Control::Freed { .. }));
                doubtful.extend(freed.map(|control| (unbroken, head.next_seq() - 1, control)));
            }
            walk.position = position + head.frame_bytes();
        }
        if !unbroken {
            due = 0;
        }
    }
    let believed = doubtful.iter().filter(|(unbroken, seq, _)| *unbroken || *seq <= durable);
    believed.for_each(|(_, _, control)| known.apply(control));
    Ok(known)
}
