//! Logs that lie in memory and are small enough for an interpreter (see `tests/sanitize`): threads that
//! append, read, subscribe, purge and close at once, and records that outlive the files they are slices of.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Delivery, Durability, Hub, HubOptions, Log, Options, SeqId, Start, SubscribeOptions};
use support::{all, all_of, assert_well_formed, batch, open, stream};

/// Without an idle witness: an interpreter's clock is not ours.
fn tiny() -> Options {
    Options::new().segment_bytes(64 << 10).idle_witness(Duration::from_secs(3600))
}

/// Runs `work(0)` to `work(n - 1)`, each in a thread of its own, and waits for all.
fn together(n: u64, work: impl Fn(u64) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..n)
        .map(|k| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(k))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn threads_that_append_at_once_get_numbers_of_their_own_and_lose_nothing() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let storage = MemoryStorage::new();
        let log = open(&tiny().durability(durability), &storage);
        let appending = log.clone();
        together(3, move |k| {
            for n in 0..4 {
                let appended = appending.append(stream(u128::from(k)), &batch(n, 2, 20)).unwrap();
                assert!(appending.committed() >= appended.first_seq_id);
            }
        });
        let records = all(&log);
        assert_eq!(records.len(), 24);
        assert_well_formed(&records);
        log.close().unwrap();
        assert_eq!(all(&open(&tiny(), &storage)), records);
    }
}

#[test]
fn what_nobody_waits_for_in_a_thread_is_committed_by_the_log() {
    let log = open(&tiny(), &MemoryStorage::new());
    let submitting = log.clone();
    together(2, move |k| {
        let first = submitting.submit(stream(u128::from(k)), &batch(0, 1, 20)).unwrap();
        let second = submitting.submit(stream(u128::from(k)), &batch(1, 1, 20)).unwrap();
        assert!(pollster::block_on(second).unwrap().first_seq_id > first.wait().unwrap().first_seq_id);
    });
    assert_well_formed(&all(&log));
}

#[test]
fn readers_at_the_tail_get_every_record_while_it_is_appended() {
    let log = open(&tiny(), &MemoryStorage::new());
    let mut reader = log.reader(..).unwrap();
    let mut of_stream = log.stream_reader(stream(1), ..).unwrap();
    let reading = thread::spawn(move || {
        for n in 1..=8 {
            assert_eq!(reader.wait_record(None).unwrap().unwrap().seq_id, SeqId(n));
        }
    });
    let reading_one = thread::spawn(move || {
        for n in 1..=4 {
            assert_eq!(of_stream.wait_record(None).unwrap().unwrap().log_offset.0, n);
        }
    });
    for n in 0..8 {
        log.append(stream(u128::from(n) % 2), &batch(n, 1, 20)).unwrap();
    }
    reading.join().unwrap();
    reading_one.join().unwrap();
}

#[test]
fn records_outlive_the_file_the_purge_and_the_log_they_were_read_from() {
    let storage = MemoryStorage::new();
    let log = open(&tiny(), &storage);
    // Each in a segment of its own.
    log.append(stream(1), &Batch::one(&vec![1; 31_000])).unwrap();
    log.append(stream(1), &Batch::one(&vec![2; 31_000])).unwrap();
    let read = all(&log);
    let copies: Vec<Vec<u8>> = read.iter().map(|record| record.payload.to_vec()).collect();
    log.checkpoint().unwrap();
    log.append(stream(2), &Batch::one(&vec![3; 31_000])).unwrap();
    log.purge(stream(1), SeqId(2)).unwrap();
    log.checkpoint().unwrap();
    log.close().unwrap();
    drop(log);
    for entry in storage.list().unwrap() {
        storage.remove(&entry.name).unwrap();
    }
    drop(storage);
    assert!(read.iter().zip(&copies).all(|(record, copy)| record.payload[..] == copy[..]));
}

#[test]
fn a_crash_at_the_end_of_each_append_is_recovered_from() {
    let options = tiny().durability(Durability::Buffered);
    let mut storage = MemoryStorage::new();
    for n in 0..2 {
        let log = open(&options, &storage);
        log.append(stream(1), &batch(n, 1, 100)).unwrap();
        let left = storage.snapshot().unwrap();
        drop(log);
        storage = left;
    }
    assert_eq!(all_of(&open(&options, &storage), stream(1)).len(), 2);
}

#[test]
fn a_follower_reads_beside_the_writer() {
    let storage = MemoryStorage::new();
    let log = open(&tiny(), &storage);
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let follower: Log = tiny().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    let appending = log.clone();
    let writer = thread::spawn(move || {
        for n in 1..6 {
            appending.append(stream(1), &batch(n, 1, 20)).unwrap();
        }
        appending.close().unwrap();
    });
    while follower.committed() < SeqId(6) {
        follower.refresh().unwrap();
        thread::yield_now();
    }
    writer.join().unwrap();
    follower.refresh().unwrap();
    assert_eq!(all(&follower).iter().filter(|record| record.stream == stream(1)).count(), 6);
}

#[test]
fn subscribers_in_threads_and_inline_get_what_is_appended_at_once() {
    let hub = Hub::new(open(&tiny(), &MemoryStorage::new()), HubOptions::new().max_threads(2)).unwrap();
    hub.append(stream(1), &Batch::one(b"before")).unwrap();
    let (tell, told) = mpsc::channel();
    let from_start = || SubscribeOptions::new().start(Start::After(SeqId(0)));
    let threaded = hub
        .subscribe(stream(1), from_start(), move |batch| {
            let sent: Result<(), _> = batch.iter().try_for_each(|record| tell.send(record.seq_id));
            Ok(sent?)
        })
        .unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&seen);
    let inline = from_start().delivery(Delivery::Inline);
    let inline = hub
        .subscribe(stream(1), inline, move |batch| {
            counting.fetch_add(batch.len() as u64, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let appending = hub.clone();
    together(2, move |_| {
        for _ in 0..2 {
            appending.append(stream(1), &Batch::one(b"after")).unwrap();
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), 5, "inline: before the append returns");
    assert_eq!(told.iter().take(5).map(|seq_id| seq_id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    hub.unsubscribe(&threaded);
    assert!(told.recv().is_err(), "the callback is gone");
    hub.unsubscribe(&inline);
    hub.close();
    hub.log().close().unwrap();
}

#[test]
fn closing_ends_those_who_wait() {
    let log = open(&tiny(), &MemoryStorage::new());
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let mut reader = log.reader(SeqId(2)..).unwrap();
    let waiting = thread::spawn(move || reader.wait_record(None));
    let appending = log.clone();
    let other = thread::spawn(move || {
        let outcomes = (0..3).map(|n| appending.append(stream(2), &batch(n, 1, 20)));
        outcomes.filter(Result::is_ok).count()
    });
    log.close().unwrap();
    let acknowledged = other.join().unwrap();
    assert!(acknowledged <= 3);
    let woken = waiting.join().unwrap();
    assert!(woken.is_err() || acknowledged > 0, "{woken:?}");
}
