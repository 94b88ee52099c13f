//! Records that say who they are, with content that can be made again from that.

use anyhow::{Context, Result, ensure};
use stratalog::Batch;

use crate::chance::Chance;

const HEAD: usize = 24;

/// A batch: its producer, that one's own count of it, and how many records it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BatchName {
    pub(crate) producer: u64,
    pub(crate) number: u64,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordName {
    pub(crate) batch: BatchName,
    pub(crate) place: u32,
    pub(crate) count: u32,
}

pub(crate) fn batch(name: BatchName, count: u32) -> Batch {
    let mut batch = Batch::new();
    for place in 0..count {
        batch.push(&record(RecordName { batch: name, place, count }));
    }
    batch
}

/// Mostly some hundred bytes, sometimes some KiB, now and then much more than a block.
fn record(name: RecordName) -> Vec<u8> {
    let BatchName { producer, number } = name.batch;
    let mut chance = Chance::part(producer, number.wrapping_mul(64) + u64::from(name.place));
    let filler = match chance.below(10) {
        0..6 => chance.between(0, 400),
        6..9 => chance.between(400, 4000),
        _ => chance.between(4000, 24_000),
    };
    let mut record = Vec::with_capacity(HEAD + filler as usize);
    record.extend_from_slice(&producer.to_le_bytes());
    record.extend_from_slice(&number.to_le_bytes());
    record.extend_from_slice(&name.place.to_le_bytes());
    record.extend_from_slice(&name.count.to_le_bytes());
    record.resize(HEAD + filler as usize, 0);
    chance.fill(&mut record[HEAD..]);
    record
}

/// Who the record says it is, if all of it is as it was made.
pub(crate) fn recognise(payload: &[u8]) -> Result<RecordName> {
    let word = |at: usize| -> Result<u64> {
        let bytes = payload.get(at..at + 8).context("expected a record of the load, found a shorter one")?;
        Ok(u64::from_le_bytes(bytes.try_into()?))
    };
    let (producer, number, last) = (word(0)?, word(8)?, word(16)?);
    let name =
        RecordName { batch: BatchName { producer, number }, place: last as u32, count: (last >> 32) as u32 };
    ensure!(name.place < name.count && record(name) == payload, "{name:?}: other bytes than were appended");
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_recognised_and_a_flipped_bit_is_not() {
        let name = RecordName { batch: BatchName { producer: 7, number: 9 }, place: 2, count: 5 };
        let mut bytes = record(name);
        assert_eq!(recognise(&bytes).unwrap(), name);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(recognise(&bytes).is_err());
        assert!(recognise(b"short").is_err());
    }
}
