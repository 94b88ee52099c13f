//! SeqIds that have no record any more, and what that means for the numbers of each stream.
//!
//! No number is ever given out twice, so a repair must know where each stream stood, also if its
//! last records are lost and nobody can say whose they were. What is lost is explained, in this
//! order, by a gap before a stream's next frame, by the checkpoint, and by what the damaged header
//! itself claims. What is then left may have belonged to any stream, so every stream that may have
//! had it skips that many numbers.

use std::collections::HashMap;

use crate::format::checkpoint::{StreamState, StreamTable};
use crate::format::control::Point;
use crate::format::frame::{FrameHeader, Kind};

/// SeqIds `first..end` have no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) first: u64,
    pub(super) end: u64,
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    streams: HashMap<[u8; 16], StreamState>,
    /// Without a header that says whose they were, ascending.
    lost: Vec<Lost>,
    /// Records of `lost` that no stream is known to miss.
    unexplained: u64,
    claims: Vec<FrameHeader>,
    /// Of these SeqIds nothing is left because all of it was purged, ascending.
    freed: Vec<Lost>,
    purged: HashMap<[u8; 16], Point>,
}

impl Numbers {
    /// SeqIds `first..end` are lost with the header of their frame.
    pub(super) fn lose(&mut self, first: u64, end: u64) {
        if first < end {
            self.lost.push(Lost { first, end });
            self.unexplained += end - first;
        }
    }

    /// SeqIds `first..end` were freed: gaps in streams up to where those are purged.
    pub(super) fn free(&mut self, first: u64, end: u64) {
        self.freed.push(Lost { first, end });
    }

    /// How far streams are purged, as the newest checkpoint says. Before a segment is freed, that knows
    /// the purges by which it was.
    pub(super) fn know_purged(&mut self, purged: impl Iterator<Item = ([u8; 16], Point)>) {
        self.purged.extend(purged);
    }

    fn purged(&self, stream: &[u8; 16]) -> u64 {
        self.purged.get(stream).map_or(0, |point| point.log_offset)
    }

    fn is_freed(&self, seq: u64) -> bool {
        self.freed.iter().any(|freed| (freed.first..freed.end).contains(&seq))
    }

    /// What a damaged header says, for want of anything better.
    pub(super) fn claim(&mut self, header: FrameHeader) {
        self.claims.push(header);
    }

    pub(super) fn any_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Counts the records of a frame. True if numbers before it went with a freed segment and are not
    /// purged: they were lost before, and the segment then held nothing. The error is the log_offset
    /// that was due.
    pub(super) fn take(&mut self, header: &FrameHeader) -> Result<bool, u64> {
        let found = header.first_log_offset;
        let known = self.streams.get(&header.stream).copied();
        let due = known.map_or(1, |state| state.next_log_offset);
        let last_seq = known.map_or(0, |state| state.last_seq);
        let since = |ranges: &[Lost]| ranges.last().is_some_and(|range| range.first > last_seq);
        let (lost, freed) = (since(&self.lost), since(&self.freed));
        let purged = if freed { self.purged(&header.stream) } else { 0 };
        let in_order = found == due || (found > due && (lost || freed));
        if found > due && in_order {
            // Those that are purged may have been freed.
            self.unexplained = self.unexplained.saturating_sub(found.saturating_sub(due.max(purged + 1)));
        }
        let lost_first = self.lost.first().filter(|_| found > 1).map_or(header.first_seq, |lost| lost.first);
        let state = StreamState {
            next_log_offset: found.saturating_add(u64::from(header.count)).max(due),
            first_seq: known.map_or(lost_first.min(header.first_seq), |state| state.first_seq),
            last_seq: header.next_seq() - 1,
        };
        self.streams.insert(header.stream, state);
        if in_order { Ok(freed && !lost && found > due.max(purged + 1)) } else { Err(due) }
    }

    /// How a checkpoint taken at this point differs, in words: expected and found.
    pub(super) fn differs(&self, table: &StreamTable) -> Option<(String, String)> {
        let lossy = self.any_lost();
        let unseen = |(stream, stored): &([u8; 16], StreamState)| {
            !self.streams.contains_key(stream) && !self.is_freed(stored.last_seq)
        };
        if !lossy && table.iter().any(|entry| unseen(&entry)) {
            return Some((format!("{} streams", self.streams.len()), table.len().to_string()));
        }
        self.streams.iter().find_map(|(stream, state)| {
            let id = crate::StreamId::from_bytes(*stream);
            let Some(stored) = table.find(stream) else {
                return Some((format!("stream {id}"), "no such stream".into()));
            };
            let agrees = if lossy {
                stored.next_log_offset >= state.next_log_offset
            } else {
                self.agree(*state, stored)
            };
            (!agrees).then(|| (format!("stream {id} with {state:?}"), format!("{stored:?}")))
        })
    }

    /// Whether a checkpoint may say `stored` where the frames say `state`.
    fn agree(&self, state: StreamState, stored: StreamState) -> bool {
        let same_end = (stored.next_log_offset, stored.last_seq) == (state.next_log_offset, state.last_seq);
        let freed_end = stored.next_log_offset > state.next_log_offset
            && stored.last_seq > state.last_seq
            && self.is_freed(stored.last_seq);
        (same_end || freed_end) && (stored.first_seq == state.first_seq || self.is_freed(stored.first_seq))
    }

    /// Where each stream stands after everything: sorted. `table` is what the newest checkpoint
    /// says, which knows all before SeqId `from`. And whether SeqIds from there on are lost of which
    /// nobody knows that they were records of streams.
    pub(super) fn settle(mut self, table: &StreamTable, from: u64) -> (Vec<([u8; 16], StreamState)>, bool) {
        for (stream, stored) in table.iter() {
            let state = self.streams.entry(stream).or_insert(StreamState { next_log_offset: 1, ..stored });
            self.unexplained -=
                self.unexplained.min(stored.next_log_offset.saturating_sub(state.next_log_offset));
            state.next_log_offset = state.next_log_offset.max(stored.next_log_offset);
            state.first_seq = state.first_seq.min(stored.first_seq);
            state.last_seq = state.last_seq.max(stored.last_seq);
        }
        let behind = self.lost.iter().map(|lost| lost.end.saturating_sub(lost.first.max(from))).sum();
        self.unexplained = self.unexplained.min(behind);
        let controls = self.believe_claims(from);
        if let Some(last) = self.lost.iter().rev().copied().next().filter(|_| self.unexplained > 0) {
            for state in self.streams.values_mut().filter(|state| state.last_seq < last.first) {
                state.next_log_offset = state.next_log_offset.saturating_add(self.unexplained);
                state.last_seq = last.end - 1;
            }
        }
        let mut all: Vec<_> = self.streams.into_iter().collect();
        all.sort_unstable_by_key(|(stream, _)| *stream);
        (all, controls || self.unexplained > 0)
    }

    /// True if control records are among what is lost.
    fn believe_claims(&mut self, from: u64) -> bool {
        let mut controls = false;
        for claim in &self.claims {
            let held = self.streams.get(&claim.stream).copied();
            let due = held.map_or(1, |state| state.next_log_offset);
            let count = u64::from(claim.count);
            let fits =
                self.lost.iter().any(|lost| claim.first_seq == lost.first && claim.next_seq() <= lost.end);
            // A batch has a log_offset, so no flipped bit makes a control record of it.
            if claim.kind == Kind::Control && fits && claim.first_log_offset == 0 && claim.first_seq >= from {
                controls = true;
                self.unexplained = self.unexplained.saturating_sub(count);
                continue;
            }
            let credible = claim.kind == Kind::Batch && fits && claim.first_log_offset == due;
            if !credible || self.unexplained < count {
                continue;
            }
            self.unexplained -= count;
            let first_seq = held.map_or(claim.first_seq, |state| state.first_seq);
            let (next_log_offset, last_seq) = (due + count, claim.next_seq() - 1);
            self.streams.insert(claim.stream, StreamState { next_log_offset, first_seq, last_seq });
        }
        controls
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(stream: u8, first_seq: u64, first_log_offset: u64, count: u32) -> FrameHeader {
        FrameHeader {
            kind: Kind::Batch,
            committed_when_written: false,
            note: false,
            count,
            body_bytes: 0,
            first_seq,
            durable_upto: 0,
            stream: [stream; 16],
            first_log_offset,
            unix_micros: 0,
        }
    }

    fn next(all: &[([u8; 16], StreamState)], stream: u8) -> Option<u64> {
        all.iter().find(|(id, _)| *id == [stream; 16]).map(|(_, state)| state.next_log_offset)
    }

    #[test]
    fn a_gap_in_a_stream_explains_what_was_lost() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        numbers.take(&frame(2, 3, 1, 2)).unwrap();
        numbers.lose(5, 8);
        numbers.take(&frame(1, 8, 6, 1)).unwrap();
        let (all, _) = numbers.settle(&StreamTable::default(), 1);
        assert_eq!((next(&all, 1), next(&all, 2)), (Some(7), Some(3)));
    }

    #[test]
    fn nobody_knows_whose_they_were_so_every_stream_skips_them() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        numbers.lose(3, 6);
        numbers.take(&frame(2, 6, 1, 2)).unwrap();
        let (all, _) = numbers.settle(&StreamTable::default(), 1);
        // Stream 2 has its first number behind the loss and so missed nothing.
        assert_eq!((next(&all, 1), next(&all, 2)), (Some(6), Some(3)));
    }

    #[test]
    fn a_damaged_header_is_believed_where_it_fits() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        numbers.claim(frame(3, 3, 1, 3));
        numbers.lose(3, 6);
        let (all, _) = numbers.settle(&StreamTable::default(), 1);
        assert_eq!((next(&all, 1), next(&all, 3)), (Some(3), Some(4)));
    }

    #[test]
    fn an_offset_without_a_loss_before_it_is_wrong() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        assert_eq!(numbers.take(&frame(1, 3, 4, 1)), Err(3));
        assert_eq!(numbers.take(&frame(1, 4, 2, 1)), Err(5));
    }
}
