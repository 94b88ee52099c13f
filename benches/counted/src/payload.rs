//! The same records in every run.

use stratalog::{Batch, StreamId};

pub(crate) const STREAMS: u64 = 16;

pub(crate) fn stream(n: u64) -> StreamId {
    StreamId::from_u128(u128::from(n) + 1)
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    let mut chance = Chance(len as u64);
    (0..len).map(|_| chance.next() as u8).collect()
}

pub(crate) fn batch(records: u64, len: usize) -> Batch {
    let mut batch = Batch::new();
    let record = payload(len);
    (0..records).for_each(|_| batch.push(&record));
    batch
}
