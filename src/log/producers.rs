//! Who appended what last, so that a retry writes nothing.

use std::collections::HashMap;

use super::pending::Appended;
use crate::error::{Error, Result};
use crate::format::control::{Control, Note, Produced};
use crate::ids::{LogOffset, ProducerId, SeqId, StreamId};

/// Of more producers than this, those who appended longest ago are forgotten.
const REMEMBERED: usize = 16_384;

#[derive(Debug, Default, Clone)]
pub(crate) struct Producers {
    last: HashMap<[u8; 16], Produced>,
}

impl Producers {
    pub(crate) fn last(&self, producer: &[u8; 16]) -> Option<Produced> {
        self.last.get(producer).copied()
    }

    /// What the batch `note` got, if it is in the log already; `None` if it is a new one.
    pub(super) fn retried(&self, note: Note, stream: StreamId) -> Result<Option<Appended>> {
        let Some(last) = self.last(&note.producer) else { return Ok(None) };
        let producer = ProducerId::from_bytes(note.producer);
        if note.sequence > last.note.sequence {
            return Ok(None);
        }
        if note.sequence < last.note.sequence {
            return Err(Error::OldSequence { producer, last: last.note.sequence, found: note.sequence });
        }
        if last.stream != *stream.as_bytes() {
            return Err(Error::Invalid(format!(
                "producer {producer} appended its batch {} to stream {}, a retry must go there: found {stream}",
                note.sequence,
                StreamId::from_bytes(last.stream)
            )));
        }
        Ok(Some(Appended {
            first_seq_id: SeqId(last.first_seq),
            first_log_offset: LogOffset(last.first_log_offset),
            count: last.count,
        }))
    }

    pub(crate) fn set(&mut self, produced: Produced) {
        self.last.insert(produced.note.producer, produced);
    }

    /// Takes back what was not committed.
    pub(super) fn restore(&mut self, producer: [u8; 16], before: Option<Produced>) {
        match before {
            Some(before) => self.set(before),
            None => drop(self.last.remove(&producer)),
        }
    }

    /// Forgets all but the newest, and returns those.
    pub(crate) fn remembered(&mut self) -> Self {
        if self.last.len() > REMEMBERED {
            let mut newest: Vec<u64> = self.last.values().map(|last| last.first_seq).collect();
            newest.sort_unstable_by(|a, b| b.cmp(a));
            let least = newest.get(REMEMBERED - 1).copied().unwrap_or(0);
            self.last.retain(|_, last| last.first_seq >= least);
        }
        self.clone()
    }

    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        let mut all: Vec<&Produced> = self.last.values().collect();
        all.sort_unstable_by_key(|last| last.first_seq);
        for last in all {
            Control::Produced(*last).encode_into(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_producers_are_remembered() {
        let mut producers = Producers::default();
        for n in 0..REMEMBERED as u64 + 10 {
            let mut producer = [0; 16];
            producer[..8].copy_from_slice(&n.to_le_bytes());
            let note = Note { producer, sequence: 1 };
            producers.set(Produced {
                note,
                stream: [0; 16],
                first_seq: n + 1,
                first_log_offset: 1,
                count: 1,
            });
        }
        let kept = producers.remembered();
        assert_eq!(kept.last.len(), REMEMBERED);
        assert!(kept.last.values().all(|last| last.first_seq > 10));
    }
}
