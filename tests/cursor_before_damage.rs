//! A cursor and a purge before records that are damaged or were cut out neither hang nor claim more.
#![allow(clippy::unwrap_used)]
mod damage_support;

use std::sync::mpsc;
use std::time::Duration;

use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Batch, LogOffset, SeqId, StreamId};

fn s(n: u128) -> StreamId {
    StreamId::from_u128(n)
}

fn within<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(act()));
    told.recv_timeout(Duration::from_secs(10)).unwrap()
}

/// Three records of stream 1 (SeqIds 1 to 3), the last one damaged on disk, the indexes lost.
fn damaged(last_of_all: bool) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let log = damage_support::open(&storage).unwrap();
    for n in 1..=3 {
        log.append(s(1), &Batch::one(format!("record number {n}").as_bytes())).unwrap();
    }
    if !last_of_all {
        log.append(s(2), &Batch::one(b"another stream")).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let first = damage_support::segments(&storage)[0].clone();
    let file = storage.open(&first, Access::Write).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(15).position(|w| w == b"record number 3").unwrap() as u64;
    let header = at - 8 - 64;
    file.write_at(&[bytes[header as usize + 60] ^ 1], header + 60).unwrap();
    for entry in storage.list().unwrap() {
        if entry.name.ends_with(".index") {
            storage.remove(&entry.name).unwrap();
        }
    }
    storage
}

fn cursor_before_damage(last_of_all: bool) {
    let storage = damaged(last_of_all);
    let log = damage_support::open(&storage).unwrap();
    let outcome = within(move || log.advance_cursor(s(1), "c", SeqId(2)));
    assert_eq!(outcome.unwrap().log_offset, LogOffset(2));
}

#[test]
fn a_cursor_before_a_damaged_last_record_of_a_stream() {
    cursor_before_damage(false);
}

#[test]
fn a_cursor_before_a_damaged_last_record() {
    cursor_before_damage(true);
}

#[test]
fn a_cursor_before_a_record_that_a_repair_dropped() {
    for last in [false, true] {
        let storage = damaged(last);
        let log = damage_support::open(&storage).unwrap();
        let outcome = within(move || log.advance_cursor(s(1), "c", SeqId(2)));
        assert_eq!(outcome.unwrap().log_offset, LogOffset(2));
    }
}

#[test]
fn a_purge_before_a_record_that_a_repair_dropped() {
    for last in [false, true] {
        let storage = damaged(last);
        let log = damage_support::open(&storage).unwrap();
        let outcome = within(move || log.purge(s(1), SeqId(2)));
        assert_eq!(outcome.unwrap().log_offset, LogOffset(2));
    }
}

#[test]
fn a_purge_said_twice_reaches_no_further() {
    let storage = MemoryStorage::new();
    let log = damage_support::open(&storage).unwrap();
    for n in 1..=3u64 {
        log.append(s(1), &Batch::one(&n.to_le_bytes())).unwrap();
    }
    for n in 4..=9u64 {
        log.append(s(2), &Batch::one(&n.to_le_bytes())).unwrap();
    }
    log.append(s(1), &Batch::one(b"tenth")).unwrap();
    let once = log.purge(s(1), SeqId(9)).unwrap();
    // A reader that stands behind the last purged record has lost nothing.
    let mut reader = log.stream_reader_by_seq_id(s(1), SeqId(5)..).unwrap();
    let again = log.purge(s(1), SeqId(9)).unwrap();
    let first = reader.next_record();
    assert_eq!(first.unwrap().unwrap().seq_id, SeqId(10));
    assert_eq!(once, again);
}
