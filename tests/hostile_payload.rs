//! What a record says cannot make recovery look at the same bytes again and again.
#![allow(clippy::unwrap_used)]
mod support;

use std::sync::Arc;
use std::time::Duration;

use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Batch, Options};
use support::{batch, stream};

/// As a frame of as many records as there may be begins, over and over.
fn frames_everywhere(bytes: usize) -> Vec<u8> {
    let mut head = [0u8; 64];
    head[4] = 1;
    head[8..12].copy_from_slice(&(1u32 << 20).to_le_bytes());
    head[12..16].copy_from_slice(&8u32.to_le_bytes());
    head[16..24].copy_from_slice(&9u64.to_le_bytes());
    head[24..32].copy_from_slice(&8u64.to_le_bytes());
    head.repeat(bytes / 64)
}

#[test]
fn a_torn_record_full_of_frame_headers_is_cut_in_time() {
    let storage = MemoryStorage::new();
    let options = Options::new().idle_witness(Duration::from_secs(3600));
    let log = options.open_storage(Arc::new(storage.clone()) as Arc<dyn Storage>).unwrap();
    log.append(stream(1), &batch(0, 3, 100)).unwrap();
    log.append(stream(1), &Batch::one(&frames_everywhere(12 << 20))).unwrap();
    let crashed = storage.snapshot().unwrap();
    drop(log);
    let file =
        crashed.list().unwrap().into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".segment"));
    let last = crashed.open(&file.max().unwrap(), Access::Write).unwrap();
    // The first sector of its frame never got to the disk.
    let mut at = 4096;
    let mut found = [0; 64];
    loop {
        last.read_at(&mut found, at).unwrap();
        if u32::from_le_bytes(found[12..16].try_into().unwrap()) > 1 << 20 {
            break;
        }
        at += 8;
    }
    last.write_at(&[0; 64], at).unwrap();
    let (told, opened) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(options.open_storage(Arc::new(crashed) as Arc<dyn Storage>)));
    let again = opened.recv_timeout(Duration::from_secs(60)).expect("recovery takes for ever").unwrap();
    assert_eq!(again.committed().0, 3);
}

#[test]
fn a_frame_with_a_long_table_still_tells_that_what_is_damaged_before_it_was_durable() {
    let storage = MemoryStorage::new();
    let options = Options::new().idle_witness(Duration::from_secs(3600));
    let log = options.open_storage(Arc::new(storage.clone()) as Arc<dyn Storage>).unwrap();
    log.append(stream(1), &batch(0, 1, 100)).unwrap();
    log.append(stream(1), &batch(1, 3, 100)).unwrap();
    log.append(stream(1), &batch(4, 5_000, 10)).unwrap();
    let crashed = storage.snapshot().unwrap();
    let damage = |storage: &MemoryStorage| {
        let name =
            storage.list().unwrap().into_iter().map(|entry| entry.name).find(|name| name.contains(".seg"));
        let file = storage.open(&name.unwrap(), Access::Write).unwrap();
        // The header of the second frame.
        file.write_at(&[0xff; 8], 4096 + 64 + 8 + 104).unwrap();
    };
    damage(&crashed);
    let opened = options.open_storage(Arc::new(crashed) as Arc<dyn Storage>);
    assert!(opened.is_err_and(|error| error.is_corruption()));
    damage(&storage);
    let read: Vec<_> = log.reader(..).unwrap().collect();
    assert_eq!(read.iter().filter(|record| record.is_err()).count(), 1);
    assert_eq!(read.iter().filter(|record| record.is_ok()).count(), 5_001);
}
