//! The next log_offset of every stream.
//!
//! In memory stand only the streams that changed since the last checkpoint; all others are
//! looked up in the checkpoint, in place. Three layers, newest first:
//!
//! * `live`: changed since the last freeze;
//! * `frozen`: what the checkpoint being written adds;
//! * `table`: the last checkpoint.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::checkpoint::{StreamState, StreamTable};

/// Looked up twice for every append; the hash is seeded, as whoever names streams may not be a friend.
pub(crate) type States = HashMap<[u8; 16], StreamState, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
pub(crate) struct Streams {
    live: States,
    frozen: Option<Arc<States>>,
    table: StreamTable,
}

impl Streams {
    pub(crate) fn new(table: StreamTable) -> Self {
        Streams { live: States::default(), frozen: None, table }
    }

    pub(crate) fn find(&self, stream: &[u8; 16]) -> Option<StreamState> {
        self.live
            .get(stream)
            .or_else(|| self.frozen.as_ref()?.get(stream))
            .copied()
            .or_else(|| self.table.find(stream))
    }

    /// The log_offset due in a stream.
    pub(crate) fn next_log_offset(&self, stream: &[u8; 16]) -> u64 {
        self.find(stream).map_or(1, |state| state.next_log_offset)
    }

    /// `count` records of a stream got the numbers from `first_seq` and `first_log_offset` on.
    pub(crate) fn advance(&mut self, stream: &[u8; 16], first_log_offset: u64, first_seq: u64, count: u64) {
        let before = self.find(stream);
        self.advance_from(before, stream, first_log_offset, first_seq, count);
    }

    /// As [`advance`](Self::advance), for who has looked up the stream already.
    pub(crate) fn advance_from(
        &mut self,
        before: Option<StreamState>,
        stream: &[u8; 16],
        first_log_offset: u64,
        first_seq: u64,
        count: u64,
    ) {
        let known = before.filter(|state| state.next_log_offset > 1);
        self.live.insert(
            *stream,
            StreamState {
                next_log_offset: first_log_offset + count,
                first_seq: known.map_or(first_seq, |state| state.first_seq),
                last_seq: first_seq + count - 1,
            },
        );
    }

    /// Takes back an advance that was not committed: the stream is as it was before.
    pub(crate) fn restore(&mut self, stream: &[u8; 16], before: Option<StreamState>) {
        // A stream that had nothing is kept as such: what was frozen may know the advance.
        let nothing = StreamState { next_log_offset: 1, first_seq: 0, last_seq: 0 };
        self.live.insert(*stream, before.unwrap_or(nothing));
    }

    /// Sets the changes so far apart, for a checkpoint. `None` while one is being written.
    pub(crate) fn freeze(&mut self) -> Option<(Arc<States>, StreamTable)> {
        if self.frozen.is_some() {
            return None;
        }
        let frozen = Arc::new(std::mem::take(&mut self.live));
        self.frozen = Some(Arc::clone(&frozen));
        Some((frozen, self.table.clone()))
    }

    /// The checkpoint is durable: its table stands for what was frozen.
    pub(crate) fn install(&mut self, table: StreamTable) {
        self.table = table;
        self.frozen = None;
    }

    /// The checkpoint was not written: what was frozen counts as changed again.
    pub(crate) fn thaw(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            for (stream, state) in frozen.iter() {
                self.live.entry(*stream).or_insert(*state);
            }
        }
    }

    pub(crate) fn table(&self) -> &StreamTable {
        &self.table
    }

    /// Every stream, sorted.
    pub(crate) fn all(&self) -> Vec<([u8; 16], StreamState)> {
        let mut newest = self.frozen.as_deref().cloned().unwrap_or_default();
        newest.extend(self.live.iter());
        merge(&newest, &self.table)
    }
}

/// A table with newer states laid over it; streams that never got a record are left out.
pub(crate) fn merge(newer: &States, table: &StreamTable) -> Vec<([u8; 16], StreamState)> {
    let mut merged: Vec<_> = newer.iter().map(|(stream, state)| (*stream, *state)).collect();
    merged.extend(table.iter().filter(|(stream, _)| !newer.contains_key(stream)));
    merged.retain(|(_, state)| state.next_log_offset > 1);
    merged.sort_unstable_by_key(|(stream, _)| *stream);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_given_out_again() {
        let mut streams = Streams::default();
        streams.advance(&[1; 16], 1, 10, 2);
        let before = streams.find(&[1; 16]);
        streams.advance(&[1; 16], 3, 12, 5);
        streams.advance(&[2; 16], 1, 17, 5);
        let _frozen = streams.freeze();
        streams.restore(&[2; 16], None);
        streams.restore(&[1; 16], before);
        for _ in 0..2 {
            assert_eq!(streams.find(&[1; 16]), before);
            assert_eq!(streams.next_log_offset(&[2; 16]), 1);
            assert_eq!(streams.all().len(), 1);
            streams.thaw();
        }
    }

    #[test]
    fn a_stream_is_found_in_every_layer() {
        let mut streams = Streams::default();
        streams.advance(&[1; 16], 1, 1, 2);
        assert!(streams.freeze().is_some());
        assert!(streams.freeze().is_none());
        streams.advance(&[2; 16], 1, 3, 1);
        assert_eq!((streams.next_log_offset(&[1; 16]), streams.next_log_offset(&[2; 16])), (3, 2));
        assert_eq!(streams.all().len(), 2);
    }
}
