//! What several test files share: a plain model of a log, and ways to fill and read one.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Durability, Log, LogOffset, Options, Record, SeqId, StreamId};

pub fn stream(n: u128) -> StreamId {
    StreamId::from_u128(n)
}

/// A payload that says which one it is, of the length asked for.
pub fn payload(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = format!("record {n} ").into_bytes();
    bytes.resize(len.max(8), (n % 251) as u8);
    bytes
}

pub fn batch(first: u64, count: u64, len: usize) -> Batch {
    let mut batch = Batch::new();
    for n in first..first + count {
        batch.push(&payload(n, len));
    }
    batch
}

pub fn small() -> Options {
    Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10)
}

pub fn buffered() -> Options {
    small().durability(Durability::Buffered)
}

pub fn open(options: &Options, storage: &MemoryStorage) -> Log {
    options.open_storage(Arc::new(storage.clone()) as Arc<dyn Storage>).unwrap()
}

/// Held to the end of the process and never closed, as if the process that has it was killed.
pub fn abandon(log: Log) {
    static ABANDONED: Mutex<Vec<Log>> = Mutex::new(Vec::new());
    ABANDONED.lock().unwrap().push(log);
}

pub fn all(log: &Log) -> Vec<Record> {
    log.reader(..).unwrap().map(|record| record.unwrap()).collect()
}

pub fn all_of(log: &Log, stream: StreamId) -> Vec<Record> {
    log.stream_reader(stream, ..).unwrap().map(|record| record.unwrap()).collect()
}

/// Dense SeqIds, dense log_offsets per stream, timestamps that never decrease.
pub fn assert_well_formed(records: &[Record]) {
    let mut offsets = std::collections::HashMap::new();
    let mut time = i64::MIN;
    for (k, record) in records.iter().enumerate() {
        assert_eq!(record.seq_id, SeqId(k as u64 + 1));
        let due = offsets.entry(record.stream).or_insert(0u64);
        *due += 1;
        assert_eq!(record.log_offset, LogOffset(*due));
        assert!(record.unix_micros >= time);
        time = record.unix_micros;
    }
}
