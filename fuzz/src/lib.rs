//! What the targets that open a log share.

pub mod directory;
pub mod failing;
#[path = "../../tests/support/faulty.rs"]
mod faulty;
pub mod history;

use std::sync::Arc;

use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Durability, Error, Log, Options, ReadMode, Record, SeqId, Upkeep};

/// Small options, so that a few KiB of input make several segments. Mostly without threads, so that an
/// input does the same each time; with them without an idle witness, as whether one is written would
/// depend on the machine's speed.
pub fn options(choice: u8) -> Options {
    let durability = if choice & 1 == 0 { Durability::Sync } else { Durability::Buffered };
    let read_mode = if choice & 2 == 0 { ReadMode::Mapped } else { ReadMode::Positioned };
    Options::new()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(1 << 30)
        .idle_witness(std::time::Duration::from_secs(3600))
        .durability(durability)
        .read_mode(read_mode)
        .upkeep(if choice & 8 == 0 { Upkeep::Caller } else { Upkeep::Threads })
}

pub fn open(options: &Options, storage: &MemoryStorage) -> Result<Log, Error> {
    options.open_storage(Arc::new(storage.clone()))
}

pub fn open_read_only(options: &Options, storage: &MemoryStorage) -> Result<Log, Error> {
    options.open_storage_read_only(Arc::new(storage.clone()))
}

/// Every file with its content, sorted by name.
pub fn files(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> =
        storage.list().expect("memory can be listed").into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.into_iter().map(|name| (name.clone(), content(storage, &name))).collect()
}

pub fn content(storage: &MemoryStorage, name: &str) -> Vec<u8> {
    let file = storage.open(name, Access::Read).expect("the file was listed");
    let mut bytes = vec![0; file.size().expect("memory has a size") as usize];
    file.read_at(&mut bytes, 0).expect("memory can be read");
    bytes
}

pub fn put(storage: &MemoryStorage, name: &str, bytes: &[u8]) {
    let file = storage.create(name, bytes.len() as u64).expect("there is memory");
    file.write_at(bytes, 0).expect("memory can be written");
}

/// All records that can be read in order, and how many errors came between them. That reading
/// ends is part of the promise: each step costs at least eight bytes of some file.
pub fn read_all(log: &Log, bytes: usize) -> (Vec<Record>, usize) {
    let (mut records, mut errors) = (Vec::new(), 0);
    let most = bytes / 4 + 1000;
    for record in log.reader(..).expect("the log is open") {
        match record {
            Ok(record) => records.push(record),
            Err(_) => errors += 1,
        }
        assert!(records.len() + errors < most, "reading does not end");
    }
    (records, errors)
}

/// Point reads and stream reads agree with reading in order.
pub fn assert_reads_agree(log: &Log, records: &[Record]) {
    for record in records.iter().take(200) {
        if let Ok(found) = log.record(record.seq_id) {
            assert_eq!(found.as_ref(), Some(record));
        }
        if let Ok(Some(found)) = log.record_at(record.stream, record.log_offset) {
            assert_eq!(&found, record);
        }
    }
    for beyond in [0, log.committed().0 + 1, i64::MAX as u64, u64::MAX] {
        assert!(!matches!(log.record(SeqId(beyond)), Ok(Some(_))), "SeqId {beyond} was never committed");
    }
}
