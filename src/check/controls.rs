//! What the log knows beside its records, put together from the newest checkpoint and the control
//! records behind it.
//!
//! Where control records are lost, nobody knows what they said, and a cursor must not claim more than
//! its consumer has applied. One that was set back in a lost record would. So a cursor of which
//! nothing was heard since is set back as far as a rollback could have gone: to where its stream is
//! purged. And what a purge has passed, every cursor had passed before.

use std::collections::BTreeSet;

use crate::StreamId;
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{Control, Point, Produced};
use crate::log::producers::Producers;
use crate::log::registry::Registry;

type CursorKey = ([u8; 16], String);

#[derive(Debug, Default)]
pub(super) struct Controls {
    /// What stands in frames before this SeqId, the checkpoint knows.
    from: u64,
    registry: Registry,
    producers: Producers,
    /// Cursors that a lost control record was about, if any of the lost SeqIds was one.
    maybe_moved: BTreeSet<CursorKey>,
    /// Cursors of streams of which a control record surely is lost.
    moved: BTreeSet<CursorKey>,
    any_lost: bool,
}

impl Controls {
    pub(super) fn new(newest: Option<&Checkpoint>) -> Self {
        let mut controls = Controls::default();
        let Some(newest) = newest else { return controls };
        controls.from = newest.head.next_seq;
        for control in &newest.controls {
            match control {
                Control::Produced(last) => controls.producers.set(*last),
                other => controls.registry.apply(other),
            }
        }
        controls
    }

    pub(super) fn take(&mut self, seq: u64, control: &Control) {
        if seq < self.from {
            return;
        }
        match control {
            Control::Advance { stream, name, to } => {
                let key = (*stream, name.clone());
                if self.maybe_moved.remove(&key) | self.moved.remove(&key) {
                    // It stood further back, wherever that was.
                    let (stream, name) = key;
                    self.registry.apply(&Control::Rollback { stream, name, to: *to });
                    return;
                }
            }
            Control::Rollback { stream, name, .. } | Control::Drop { stream, name } => {
                let key = (*stream, name.clone());
                self.maybe_moved.remove(&key);
                self.moved.remove(&key);
            }
            Control::Delete { stream, .. } => {
                self.maybe_moved.retain(|(of, _)| of != stream);
                self.moved.retain(|(of, _)| of != stream);
            }
            Control::Purge { .. } | Control::Freed { .. } | Control::Produced(_) => {}
        }
        self.registry.apply(control);
    }

    pub(super) fn produced(&mut self, produced: Produced) {
        if produced.first_seq >= self.from {
            self.producers.set(produced);
        }
    }

    /// No segment holds `first..end`.
    pub(super) fn free(&mut self, first: u64, end: u64) {
        self.registry.apply(&Control::Freed { first, end });
    }

    /// SeqIds before `end` are lost, and nobody knows what they were.
    pub(super) fn lose(&mut self, end: u64) {
        if end > self.from {
            let all = self.registry.cursors().map(|(stream, name, _)| (stream, name.to_owned()));
            self.maybe_moved.extend(all);
        }
    }

    /// The control record `seq`, about `stream`, is lost.
    pub(super) fn lose_about(&mut self, seq: u64, stream: &[u8; 16]) {
        if seq >= self.from {
            self.any_lost = true;
            let all = self.registry.cursors_of(stream).map(|(name, _)| (*stream, name.to_owned()));
            self.moved.extend(all);
        }
    }

    pub(super) fn any_freed(&self) -> bool {
        self.registry.any_freed()
    }

    /// Makes it hold whatever was lost, in a log that ends before SeqId `end`; `lost` says that there
    /// are lost SeqIds of which nobody knows that they were records. Returns what was changed, in words.
    pub(super) fn settle(&mut self, lost: bool, end: u64) -> Vec<String> {
        let mut told = Vec::new();
        if lost || self.any_lost {
            told.push(
                "without what lost control records said: look whether a cursor, a drop or a purge is missing"
                    .to_owned(),
            );
        }
        let mut unsure = std::mem::take(&mut self.moved);
        if lost {
            unsure.append(&mut self.maybe_moved);
        }
        let all: Vec<(CursorKey, Point)> =
            self.registry.cursors().map(|(stream, name, at)| ((stream, name.to_owned()), at)).collect();
        for (key, at) in all {
            let purged = self.registry.purged(&key.0).unwrap_or_default();
            let back = unsure.contains(&key) || at.seq >= end;
            let to = if back { purged } else { at.max(purged) };
            if to == at {
                continue;
            }
            let stream = StreamId::from_bytes(key.0);
            let (name, from, seq) = (&key.1, at.seq, to.seq);
            told.push(if to < at {
                format!(
                    "cursor {name:?} of stream {stream} set back from SeqId {from} to {seq}: \
                     a lost control record may have set it back"
                )
            } else {
                format!(
                    "cursor {name:?} of stream {stream} moved from SeqId {from} to {seq}: \
                     it had passed what is purged"
                )
            });
            self.registry.apply(&Control::Rollback { stream: key.0, name: key.1, to });
        }
        told
    }

    /// As a checkpoint holds it.
    pub(super) fn encode(&mut self) -> Vec<u8> {
        let mut bytes = self.registry.encode();
        self.producers.remembered().encode_into(&mut bytes);
        bytes
    }
}

/// A purge point that stands before a cursor of its stream, in words: what was expected and found.
pub(super) fn purge_beyond_cursor(checkpoint: &Checkpoint) -> Option<(String, String)> {
    let mut registry = Registry::default();
    checkpoint.controls.iter().for_each(|control| registry.apply(control));
    registry.all_purged().find_map(|(stream, purged)| {
        let (name, at) = registry.least_cursor(&stream).filter(|(_, at)| at.seq < purged.seq)?;
        let id = StreamId::from_bytes(stream);
        Some((
            format!("stream {id} purged up to SeqId {} at most, where cursor {name:?} stands", at.seq),
            purged.seq.to_string(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: [u8; 16] = [1; 16];

    fn at(seq: u64) -> Point {
        Point { seq, log_offset: seq }
    }

    fn advance(name: &str, seq: u64) -> Control {
        Control::Advance { stream: STREAM, name: name.into(), to: at(seq) }
    }

    fn purge(seq: u64) -> Control {
        Control::Purge { stream: STREAM, upto: at(seq) }
    }

    fn cursor(controls: &Controls, name: &str) -> Option<u64> {
        controls.registry.cursor(&STREAM, name).map(|at| at.seq)
    }

    #[test]
    fn a_cursor_goes_back_to_the_purge_point_unless_it_was_heard_of_since() {
        let mut controls = Controls::default();
        for (seq, control) in [(10, advance("a", 9)), (11, advance("b", 9)), (12, purge(4))] {
            controls.take(seq, &control);
        }
        controls.lose(14);
        controls.take(14, &advance("b", 7));
        assert_eq!(controls.settle(true, 20).len(), 2);
        assert_eq!((cursor(&controls, "a"), cursor(&controls, "b")), (Some(4), Some(7)));
    }

    #[test]
    fn lost_records_move_no_cursor() {
        let mut controls = Controls::default();
        controls.take(10, &advance("a", 9));
        controls.lose(14);
        assert_eq!(controls.settle(false, 20), [""; 0]);
        assert_eq!(cursor(&controls, "a"), Some(9));
    }

    #[test]
    fn a_purge_proves_that_every_cursor_had_passed_it() {
        let mut controls = Controls::default();
        controls.take(10, &advance("a", 3));
        controls.lose_about(11, &STREAM);
        controls.take(12, &purge(8));
        controls.settle(false, 20);
        assert_eq!(cursor(&controls, "a"), Some(8));
    }
}
