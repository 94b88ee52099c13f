//! SeqIds that have no record any more, and what that means for the numbers of each stream.
//!
//! No number is ever given out twice, so a repair must know where each stream stood, also if its
//! last records are lost and nobody can say whose they were. What is lost is explained, in this
//! order, by a gap before a stream's next frame, by the checkpoint, and by what the damaged header
//! itself claims. What is then left may have belonged to any stream, so every stream that may have
//! had it skips that many numbers.

use std::collections::HashMap;

use crate::format::checkpoint::{StreamState, StreamTable};
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
}

impl Numbers {
    /// SeqIds `first..end` are lost with the header of their frame.
    pub(super) fn lose(&mut self, first: u64, end: u64) {
        if first < end {
            self.lost.push(Lost { first, end });
            self.unexplained += end - first;
        }
    }

    /// What a damaged header says, for want of anything better.
    pub(super) fn claim(&mut self, header: FrameHeader) {
        self.claims.push(header);
    }

    pub(super) fn any_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Counts the records of a frame. The error is the log_offset that was due.
    pub(super) fn take(&mut self, header: &FrameHeader) -> Result<(), u64> {
        let found = header.first_log_offset;
        let known = self.streams.get(&header.stream).copied();
        let due = known.map_or(1, |state| state.next_log_offset);
        let lost_since = |seq| self.lost.last().is_some_and(|lost| lost.first > seq);
        let in_order = found == due || (found > due && lost_since(known.map_or(0, |state| state.last_seq)));
        if found > due && in_order {
            self.unexplained = self.unexplained.saturating_sub(found - due);
        }
        let lost_first = self.lost.first().filter(|_| found > 1).map_or(header.first_seq, |lost| lost.first);
        let state = StreamState {
            next_log_offset: found.saturating_add(u64::from(header.count)).max(due),
            first_seq: known.map_or(lost_first.min(header.first_seq), |state| state.first_seq),
            last_seq: header.next_seq() - 1,
        };
        self.streams.insert(header.stream, state);
        if in_order { Ok(()) } else { Err(due) }
    }

    /// How a checkpoint taken at this point differs, in words: expected and found.
    pub(super) fn differs(&self, table: &StreamTable) -> Option<(String, String)> {
        let lossy = self.any_lost();
        if !lossy && table.len() != self.streams.len() {
            return Some((format!("{} streams", self.streams.len()), table.len().to_string()));
        }
        self.streams.iter().find_map(|(stream, state)| {
            let id = crate::StreamId::from_bytes(*stream);
            let Some(stored) = table.find(stream) else {
                return Some((format!("stream {id}"), "no such stream".into()));
            };
            let agrees =
                if lossy { stored.next_log_offset >= state.next_log_offset } else { stored == *state };
            (!agrees).then(|| (format!("stream {id} with {state:?}"), format!("{stored:?}")))
        })
    }

    /// Where each stream stands after everything: sorted. `table` is what the newest checkpoint
    /// says.
    pub(super) fn settle(mut self, table: &StreamTable) -> Vec<([u8; 16], StreamState)> {
        for (stream, stored) in table.iter() {
            let state = self.streams.entry(stream).or_insert(StreamState { next_log_offset: 1, ..stored });
            self.unexplained -=
                self.unexplained.min(stored.next_log_offset.saturating_sub(state.next_log_offset));
            state.next_log_offset = state.next_log_offset.max(stored.next_log_offset);
            state.first_seq = state.first_seq.min(stored.first_seq);
            state.last_seq = state.last_seq.max(stored.last_seq);
        }
        self.believe_claims();
        if let Some(last) = self.lost.iter().rev().copied().next().filter(|_| self.unexplained > 0) {
            for state in self.streams.values_mut().filter(|state| state.last_seq < last.first) {
                state.next_log_offset = state.next_log_offset.saturating_add(self.unexplained);
                state.last_seq = last.end - 1;
            }
        }
        let mut all: Vec<_> = self.streams.into_iter().collect();
        all.sort_unstable_by_key(|(stream, _)| *stream);
        all
    }

    fn believe_claims(&mut self) {
        for claim in &self.claims {
            let held = self.streams.get(&claim.stream).copied();
            let due = held.map_or(1, |state| state.next_log_offset);
            let count = u64::from(claim.count);
            let fits =
                self.lost.iter().any(|lost| claim.first_seq == lost.first && claim.next_seq() <= lost.end);
            let credible = claim.kind == Kind::Batch && fits && claim.first_log_offset == due;
            if !credible || self.unexplained < count {
                continue;
            }
            self.unexplained -= count;
            let first_seq = held.map_or(claim.first_seq, |state| state.first_seq);
            let (next_log_offset, last_seq) = (due + count, claim.next_seq() - 1);
            self.streams.insert(claim.stream, StreamState { next_log_offset, first_seq, last_seq });
        }
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
        let all = numbers.settle(&StreamTable::default());
        assert_eq!((next(&all, 1), next(&all, 2)), (Some(7), Some(3)));
    }

    #[test]
    fn nobody_knows_whose_they_were_so_every_stream_skips_them() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        numbers.lose(3, 6);
        numbers.take(&frame(2, 6, 1, 2)).unwrap();
        let all = numbers.settle(&StreamTable::default());
        // Stream 2 has its first number behind the loss and so missed nothing.
        assert_eq!((next(&all, 1), next(&all, 2)), (Some(6), Some(3)));
    }

    #[test]
    fn a_damaged_header_is_believed_where_it_fits() {
        let mut numbers = Numbers::default();
        numbers.take(&frame(1, 1, 1, 2)).unwrap();
        numbers.claim(frame(3, 3, 1, 3));
        numbers.lose(3, 6);
        let all = numbers.settle(&StreamTable::default());
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
