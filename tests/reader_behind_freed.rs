//! A reader whose segment is followed by others, while those before it are freed, misses nothing.
#![allow(clippy::unwrap_used)]
mod support;

use std::sync::mpsc;
use std::time::Duration;

use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Hub, HubOptions, Log, LogOffset, SeqId, Start, StreamId, SubscribeOptions};
use support::{open, payload, small, stream};

fn fill(log: &Log, stream: StreamId, count: u64) -> SeqId {
    let mut last = SeqId(0);
    for n in 0..count {
        last = log.append(stream, &Batch::one(&payload(n, 4_000))).unwrap().first_seq_id;
    }
    last
}

/// Segments A, B of stream 1, then C with stream 2's first record.
fn before() -> (Log, SeqId) {
    let log = open(&small(), &MemoryStorage::new());
    fill(&log, stream(1), 40);
    let one = log.append(stream(2), &Batch::one(b"one")).unwrap().first_seq_id;
    (log, one)
}

/// A and B are freed, D is begun and gets stream 2's second record.
fn free_and_roll(log: &Log, upto: SeqId) -> SeqId {
    log.purge(stream(1), upto).unwrap();
    fill(log, stream(1), 14);
    log.append(stream(2), &Batch::one(b"two")).unwrap().first_seq_id
}

#[test]
fn a_stream_reader_finds_what_was_committed() {
    let (log, one) = before();
    let mut reader = log.stream_reader(stream(2), LogOffset(1)..).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().seq_id, one);
    assert!(reader.next_record().unwrap().is_none());
    let two = free_and_roll(&log, one);
    assert_eq!(reader.next_record().unwrap().map(|r| r.seq_id), Some(two));
}

#[test]
fn a_stream_reader_behind_a_checkpoint_is_not_told_of_damage() {
    let (log, one) = before();
    let mut reader = log.stream_reader(stream(2), LogOffset(1)..).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().seq_id, one);
    assert!(reader.next_record().unwrap().is_none());
    let two = free_and_roll(&log, one);
    log.checkpoint().unwrap();
    let found = reader.next_record();
    assert_eq!(found.unwrap().map(|r| r.seq_id), Some(two));
}

#[test]
fn a_log_reader_finds_what_was_committed() {
    let (log, one) = before();
    let mut reader = log.reader(one..).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().seq_id, one);
    assert!(reader.next_record().unwrap().is_none());
    let two = free_and_roll(&log, one);
    let rest: Vec<SeqId> = reader.map(|r| r.unwrap().seq_id).collect();
    assert_eq!(rest.last(), Some(&two));
}

fn subscriber(pause: Duration) {
    let (log, one) = before();
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let (tell, told) = mpsc::channel();
    hub.subscribe(stream(2), SubscribeOptions::new().start(Start::After(SeqId(0))), move |records| {
        records.iter().for_each(|r| tell.send(r.seq_id).unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), one);
    std::thread::sleep(Duration::from_millis(50));
    let two = free_and_roll(&log, one);
    std::thread::sleep(pause);
    let three = log.append(stream(2), &Batch::one(b"three")).unwrap().first_seq_id;
    std::thread::sleep(Duration::from_millis(500));
    let got: Vec<SeqId> = told.try_iter().collect();
    assert_eq!(got, [two, three]);
}

/// Nothing else is committed for a while, and the idle reader is taken away: the record is skipped for good.
#[test]
fn a_subscriber_skips_no_record() {
    subscriber(Duration::from_millis(3_000));
}

#[test]
fn a_subscriber_does_not_wait_for_another_commit() {
    let (log, one) = before();
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let (tell, told) = mpsc::channel();
    hub.subscribe(stream(2), SubscribeOptions::new().start(Start::After(SeqId(0))), move |records| {
        records.iter().for_each(|r| tell.send(r.seq_id).unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), one);
    std::thread::sleep(Duration::from_millis(50));
    let two = free_and_roll(&log, one);
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).ok(), Some(two));
}
