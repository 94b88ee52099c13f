//! The records that everyone writes: random bytes, which nobody can compress, the same for all.

use std::collections::HashSet;

/// A pool of different records of one size.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    checksums: Vec<u32>,
    known: HashSet<u32>,
    pub(crate) record_bytes: usize,
}

/// Beyond the second-level cache, so that no contender reads its input from there.
const POOL_BYTES: usize = 8 << 20;

impl Payload {
    pub(crate) fn new(record_bytes: usize) -> Self {
        let count = (POOL_BYTES / record_bytes).max(16);
        let mut random = Random::new(record_bytes as u64);
        let mut bytes = Vec::with_capacity(count * record_bytes + 8);
        while bytes.len() < count * record_bytes {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        bytes.truncate(count * record_bytes);
        let checksums: Vec<u32> = bytes.chunks_exact(record_bytes).map(crc32fast::hash).collect();
        let known = checksums.iter().copied().collect();
        Payload { bytes, checksums, known, record_bytes }
    }

    /// Record `n` of an endless sequence.
    pub(crate) fn record(&self, n: usize) -> &[u8] {
        let at = n % self.checksums.len() * self.record_bytes;
        &self.bytes[at..at + self.record_bytes]
    }

    /// Its checksum, without a look at it.
    pub(crate) fn checksum(&self, n: usize) -> u32 {
        self.checksums[n % self.checksums.len()]
    }
}

/// What was written, or read back. The order does not count: producers race.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) checksums: u64,
    /// Read back, and never written.
    pub(crate) strangers: u64,
}

impl Tally {
    pub(crate) fn wrote(&mut self, payload: &Payload, n: usize) {
        self.records += 1;
        self.checksums = self.checksums.wrapping_add(u64::from(payload.checksum(n)));
    }

    pub(crate) fn read(&mut self, payload: &Payload, record: &[u8]) {
        let checksum = crc32fast::hash(record);
        let known = record.len() == payload.record_bytes && payload.known.contains(&checksum);
        self.records += 1;
        self.strangers += u64::from(!known);
        self.checksums = self.checksums.wrapping_add(u64::from(checksum));
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.records += other.records;
        self.strangers += other.strangers;
        self.checksums = self.checksums.wrapping_add(other.checksums);
    }
}

/// splitmix64: the same numbers for everyone.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_another_order_tallies() {
        let payload = Payload::new(64);
        let (mut wrote, mut read) = (Tally::default(), Tally::default());
        (0..10).for_each(|n| wrote.wrote(&payload, n));
        (0..10).rev().for_each(|n| read.read(&payload, payload.record(n)));
        assert_eq!(wrote, read);
    }

    #[test]
    fn a_record_that_nobody_wrote_is_a_stranger() {
        let payload = Payload::new(64);
        let mut read = Tally::default();
        read.read(&payload, &[0; 64]);
        read.read(&payload, &payload.record(3)[1..]);
        assert_eq!(read.strangers, 2);
    }

    #[test]
    fn records_of_a_pool_differ() {
        let payload = Payload::new(256);
        assert_eq!(payload.known.len(), payload.checksums.len());
    }
}
