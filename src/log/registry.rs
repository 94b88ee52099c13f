//! What the log knows beside its records: cursors, purge points, and which SeqIds have no segment
//! any more. It changes by control records alone, in their order, when they are committed; a
//! checkpoint may know of later ones than its place in the log, because to apply them again changes
//! nothing.

use std::collections::{BTreeMap, HashMap};

use crate::format::control::{Control, Point};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    cursors: BTreeMap<[u8; 16], BTreeMap<String, Point>>,
    cursor_count: usize,
    purged: HashMap<[u8; 16], Point>,
    /// First SeqId and the one behind the last; neither touch nor overlap.
    holes: BTreeMap<u64, u64>,
}

impl Registry {
    pub(crate) fn apply(&mut self, control: &Control) {
        match control {
            Control::Advance { stream, name, to } => {
                let held = self.cursors.get_mut(stream).and_then(|cursors| cursors.get_mut(name));
                if let Some(held) = held {
                    *held = (*held).max(*to);
                } else if self.purged(stream).is_none_or(|purged| to.seq >= purged.seq) {
                    self.cursors.entry(*stream).or_default().insert(name.clone(), *to);
                    self.cursor_count += 1;
                }
                // Otherwise the stream was deleted meanwhile, and the cursor with it.
            }
            Control::Rollback { stream, name, to } => {
                let held = self.cursors.entry(*stream).or_default().insert(name.clone(), *to);
                self.cursor_count += usize::from(held.is_none());
            }
            Control::Drop { stream, name } => {
                let Some(cursors) = self.cursors.get_mut(stream) else { return };
                self.cursor_count -= usize::from(cursors.remove(name).is_some());
                if cursors.is_empty() {
                    self.cursors.remove(stream);
                }
            }
            Control::Purge { stream, upto } => self.purge(stream, *upto),
            Control::Delete { stream, upto } => {
                self.purge(stream, *upto);
                self.cursor_count -= self.cursors.remove(stream).map_or(0, |cursors| cursors.len());
            }
            Control::Freed { first, end } => self.free(*first, *end),
            Control::Produced(_) => {}
        }
    }

    fn purge(&mut self, stream: &[u8; 16], upto: Point) {
        let held = self.purged.entry(*stream).or_default();
        *held = (*held).max(upto);
    }

    fn free(&mut self, mut first: u64, mut end: u64) {
        while let Some((held, held_end)) = self.holes.range(..=end).next_back().map(|(a, b)| (*a, *b)) {
            if held_end < first {
                break;
            }
            (first, end) = (first.min(held), end.max(held_end));
            self.holes.remove(&held);
        }
        self.holes.insert(first, end);
    }

    pub(crate) fn cursor(&self, stream: &[u8; 16], name: &str) -> Option<Point> {
        self.cursors.get(stream)?.get(name).copied()
    }

    pub(crate) fn cursors_of(&self, stream: &[u8; 16]) -> impl Iterator<Item = (&str, Point)> {
        self.cursors.get(stream).into_iter().flatten().map(|(name, point)| (name.as_str(), *point))
    }

    /// Every cursor, by stream and name.
    pub(crate) fn cursors(&self) -> impl Iterator<Item = ([u8; 16], &str, Point)> {
        self.cursors.iter().flat_map(|(stream, cursors)| {
            cursors.iter().map(|(name, point)| (*stream, name.as_str(), *point))
        })
    }

    pub(crate) fn cursor_count(&self) -> usize {
        self.cursor_count
    }

    /// The cursor that stands furthest back.
    pub(crate) fn least_cursor(&self, stream: &[u8; 16]) -> Option<(&str, Point)> {
        self.cursors_of(stream).min_by_key(|(_, point)| *point)
    }

    /// Everything of the stream up to here is purged.
    pub(crate) fn purged(&self, stream: &[u8; 16]) -> Option<Point> {
        self.purged.get(stream).copied()
    }

    pub(crate) fn all_purged(&self) -> impl Iterator<Item = ([u8; 16], Point)> {
        self.purged.iter().map(|(stream, upto)| (*stream, *upto))
    }

    pub(crate) fn any_purged(&self) -> bool {
        !self.purged.is_empty()
    }

    pub(crate) fn any_freed(&self) -> bool {
        !self.holes.is_empty()
    }

    /// Whether the segment that began at `base` was freed.
    pub(crate) fn is_freed(&self, base: u64) -> bool {
        self.hole_around(base).is_some()
    }

    /// The freed SeqIds around `seq`: the first one, and the one behind the last.
    pub(crate) fn hole_around(&self, seq: u64) -> Option<(u64, u64)> {
        self.holes.range(..=seq).next_back().map(|(first, end)| (*first, *end)).filter(|(_, end)| seq < *end)
    }

    /// Whether any of the SeqIds `first..end` was freed.
    pub(crate) fn any_freed_in(&self, first: u64, end: u64) -> bool {
        self.hole_around(first).is_some() || self.next_hole(first).is_some_and(|hole| hole < end)
    }

    /// Where the next freed SeqIds behind `seq` begin.
    fn next_hole(&self, seq: u64) -> Option<u64> {
        self.holes.range(seq.saturating_add(1)..).next().map(|(first, _)| *first)
    }

    /// Where a segment that begins at `base` ends at the latest: where the next one begins, or before
    /// that where what followed it was freed.
    pub(crate) fn end_of(&self, base: u64, next: u64) -> u64 {
        self.next_hole(base).map_or(next, |hole| hole.min(next))
    }

    /// All of it, as the control records that make it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, name, to) in self.cursors() {
            Control::Advance { stream, name: name.to_owned(), to }.encode_into(&mut bytes);
        }
        let mut purged: Vec<_> = self.all_purged().collect();
        purged.sort_unstable();
        for (stream, upto) in purged {
            Control::Purge { stream, upto }.encode_into(&mut bytes);
        }
        for (first, end) in &self.holes {
            Control::Freed { first: *first, end: *end }.encode_into(&mut bytes);
        }
        bytes
    }
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

    fn applied(controls: &[Control]) -> Registry {
        let mut registry = Registry::default();
        controls.iter().for_each(|control| registry.apply(control));
        registry
    }

    #[test]
    fn the_least_cursor_is_the_one_that_holds_a_purge() {
        let registry = applied(&[advance("a", 9), advance("b", 4), advance("b", 6), advance("a", 2)]);
        assert_eq!(registry.cursor(&STREAM, "a"), Some(at(9)));
        assert_eq!(registry.least_cursor(&STREAM), Some(("b", at(6))));
    }

    #[test]
    fn to_apply_a_run_twice_changes_nothing() {
        let name = || "a".to_owned();
        let run = [
            advance("a", 9),
            Control::Rollback { stream: STREAM, name: name(), to: at(3) },
            advance("b", 4),
            Control::Purge { stream: STREAM, upto: at(3) },
            Control::Drop { stream: STREAM, name: name() },
            advance("a", 5),
            Control::Freed { first: 1, end: 3 },
            Control::Delete { stream: STREAM, upto: at(7) },
            advance("c", 8),
        ];
        for cut in 0..run.len() {
            let once = applied(&run);
            let again: Vec<Control> = run.iter().chain(&run[cut..]).cloned().collect();
            assert_eq!(applied(&again).encode(), once.encode(), "from {cut} on");
            assert_eq!(applied(&again).cursor_count(), 1);
        }
    }

    #[test]
    fn a_checkpoint_brings_it_back() {
        let registry = applied(&[
            advance("a", 9),
            Control::Purge { stream: STREAM, upto: at(3) },
            Control::Freed { first: 1, end: 3 },
        ]);
        let again = applied(&Control::decode_all(&registry.encode()).unwrap());
        assert_eq!(again.encode(), registry.encode());
    }

    #[test]
    fn freed_ranges_grow_together() {
        let freed = |first, end| Control::Freed { first, end };
        let registry = applied(&[freed(1, 5), freed(9, 12), freed(5, 9), freed(20, 30), freed(22, 24)]);
        assert_eq!(registry.holes.into_iter().collect::<Vec<_>>(), [(1, 12), (20, 30)]);
        let registry = applied(&[freed(5, 9), freed(20, 30)]);
        assert_eq!(registry.hole_around(8), Some((5, 9)));
        assert_eq!(registry.hole_around(9), None);
        assert_eq!(registry.next_hole(5), Some(20));
        assert!(registry.any_freed_in(8, 9) && registry.any_freed_in(9, 21) && !registry.any_freed_in(9, 20));
        assert!(registry.is_freed(29) && !registry.is_freed(30));
    }
}
