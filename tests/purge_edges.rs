//! Purges beside damage, followers, failed removals, retries and finished readers.
#![allow(clippy::unwrap_used)]
#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faulty::{Call, FaultyStorage};
use hooked::{Gate, Hook, Hooked, nothing};
use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Batch, Error, Log, LogOffset, Options, ProducerId, SeqId, StreamId, Terms};
use support::{all, batch, open, payload, small, stream};

fn quiet() -> Options {
    small().idle_witness(Duration::from_secs(3600))
}

fn fill(log: &Log, stream: StreamId, count: u64) -> SeqId {
    let mut last = SeqId(0);
    for n in 0..count {
        last = log.append(stream, &Batch::one(&payload(n, 4_000))).unwrap().first_seq_id;
    }
    last
}

fn segments(storage: &MemoryStorage) -> Vec<String> {
    let mut names: Vec<String> = storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".segment"));
    names.sort_unstable();
    names
}

/// "A segment with damage in the way is never dead."
#[test]
fn damage_keeps_a_segment_with_a_live_stream() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    fill(&log, stream(1), 3);
    log.append(stream(2), &Batch::one(b"live, and the only one of its stream here")).unwrap();
    fill(&log, stream(1), 40);
    let last = fill(&log, stream(1), 1);
    log.close().unwrap();
    drop(log);
    let first = segments(&storage)[0].clone();
    // One bit of stream 2's frame header; the index is lost too.
    let file = storage.open(&first, Access::Write).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(9).position(|w| w == b"live, and").unwrap() as u64;
    let header = at - 8 - 64;
    let mut one = [0; 1];
    file.read_at(&mut one, header + 60).unwrap();
    one[0] ^= 1;
    file.write_at(&one, header + 60).unwrap();
    for entry in storage.list().unwrap() {
        if entry.name.ends_with(".index") {
            storage.remove(&entry.name).unwrap();
        }
    }
    let log = open(&small(), &storage);
    let before = log.stream_reader(stream(2), LogOffset(1)..).unwrap().next_record();
    assert!(before.is_err(), "{before:?}");
    log.purge(stream(1), last).unwrap();
    assert!(segments(&storage).contains(&first), "freed, with an unpurged record in it");
}

#[test]
fn a_follower_goes_on_after_its_segment_was_freed() {
    let storage = MemoryStorage::new();
    let log = open(&quiet(), &storage);
    fill(&log, stream(1), 5);
    let follower = quiet().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    let last = fill(&log, stream(1), 60);
    log.purge(stream(1), last).unwrap();
    let last = fill(&log, stream(1), 3);
    log.sync().unwrap();
    fill(&log, stream(1), 1);
    let outcome = follower.refresh();
    outcome.unwrap();
    assert!(follower.committed() >= last);
    assert!(!all(&follower).is_empty());
}

#[test]
fn opening_for_reading_just_behind_a_purge() {
    let storage = MemoryStorage::new();
    let log = open(&quiet(), &storage);
    let last = fill(&log, stream(1), 60);
    log.purge(stream(1), last).unwrap();
    let follower = quiet().open_storage_read_only(Arc::new(storage.clone()));
    follower.unwrap();
}

#[test]
fn opening_for_reading_while_checkpointed_segment_is_freed() {
    let storage = MemoryStorage::new();
    let log = open(&quiet(), &storage);
    fill(&log, stream(1), 5);
    log.checkpoint().unwrap();
    log.checkpoint().unwrap();
    let (writing, done) = (log.clone(), AtomicBool::new(false));
    let after: Hook = Arc::new(move |operation, name| {
        if operation == "open" && name.starts_with("checkpoint-1") && !done.swap(true, Ordering::SeqCst) {
            let last = fill(&writing, stream(1), 60);
            writing.purge(stream(1), last).unwrap();
            fill(&writing, stream(1), 2);
        }
        Ok(())
    });
    let follower = quiet()
        .read_mode(stratalog::ReadMode::Positioned)
        .open_storage_read_only(Arc::new(Hooked::new(Arc::new(storage.clone()), nothing(), after)));
    follower.unwrap();
}

#[test]
fn a_reader_at_its_end_is_not_told_of_a_purge() {
    let log = open(&small(), &MemoryStorage::new());
    fill(&log, stream(1), 10);
    let mut a = log.stream_reader(stream(1), LogOffset(1)..=LogOffset(5)).unwrap();
    let mut b = log.stream_reader_by_seq_id(stream(1), SeqId(1)..=SeqId(5)).unwrap();
    for _ in 0..5 {
        a.next_record().unwrap().unwrap();
        b.next_record().unwrap().unwrap();
    }
    assert!(a.is_finished());
    log.purge(stream(1), SeqId(8)).unwrap();
    assert!(b.next_record().unwrap().is_none(), "all of its range was read");
    assert!(a.next_record().unwrap().is_none());
}

#[test]
fn what_could_not_be_removed_is_tried_again() {
    let memory = MemoryStorage::new();
    let storage = FaultyStorage::new(memory.clone());
    let log = quiet().open_storage(Arc::new(storage.clone())).unwrap();
    let last = fill(&log, stream(1), 60);
    storage.fail(Call::Remove, std::io::ErrorKind::PermissionDenied);
    let outcome = log.purge(stream(1), last);
    assert!(outcome.is_err());
    storage.heal();
    let last = fill(&log, stream(1), 30);
    log.purge(stream(1), last).unwrap();
    log.purge(stream(1), last).unwrap();
    assert!(segments(&memory).len() <= 2, "{:?}", segments(&memory));
}

#[test]
fn a_retry_of_a_committed_batch_is_not_said_to_be_lost() {
    let memory = MemoryStorage::new();
    let gate = Gate::default();
    let (held, failing) = (gate.clone(), Arc::new(AtomicBool::new(false)));
    let fail = Arc::clone(&failing);
    let before: Hook = Arc::new(move |operation, name| {
        if operation == "write" && (name.ends_with(".segment") || name.contains("spare")) {
            held.pass();
            if fail.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("injected"));
            }
        }
        Ok(())
    });
    let log = quiet().open_storage(Arc::new(Hooked::new(Arc::new(memory), before, nothing()))).unwrap();
    let terms = Terms::new().producer(ProducerId::from_u128(7), 1);
    let first = log.append_on(&terms, stream(1), &batch(0, 1, 100)).unwrap();
    gate.shut();
    let a = {
        let log = log.clone();
        std::thread::spawn(move || log.append(stream(2), &batch(1, 1, 100)))
    };
    gate.wait_for_one();
    // Behind the group that is being written: another append, and the retry of what is committed.
    let b = log.submit(stream(2), &batch(2, 1, 100)).unwrap();
    let retry = log.submit_on(&terms, stream(1), &batch(0, 1, 100)).unwrap();
    failing.store(true, Ordering::SeqCst);
    gate.open();
    assert!(a.join().unwrap().is_err() && b.wait().is_err());
    let outcome = retry.wait();
    match outcome {
        Ok(appended) => assert_eq!(appended, first),
        Err(error) => {
            assert!(!matches!(error, Error::Io { .. }), "it is in the log, and was told not to be: {error}")
        }
    }
}

#[test]
fn a_purge_of_nothing_writes_nothing() {
    let log = open(&quiet(), &MemoryStorage::new());
    fill(&log, stream(1), 3);
    let last = fill(&log, stream(2), 3);
    log.advance_cursor(stream(1), "c", last).unwrap();
    log.purge_passed(stream(1)).unwrap();
    let before = log.committed();
    for _ in 0..10 {
        log.purge_passed(stream(1)).unwrap();
        log.purge(stream(1), last).unwrap();
    }
    assert_eq!(log.committed(), before, "purges of what is purged already fill the log");
}

#[test]
fn a_follower_asked_for_one_freed_record() {
    let storage = MemoryStorage::new();
    let log = open(&quiet(), &storage);
    fill(&log, stream(1), 60);
    log.sync().unwrap();
    fill(&log, stream(1), 1);
    let follower = quiet().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    let last = fill(&log, stream(1), 3);
    log.purge(stream(1), last).unwrap();
    fill(&log, stream(1), 2);
    let outcome = follower.record(SeqId(3));
    assert!(matches!(outcome, Err(Error::Gone { .. } | Error::Purged { .. })), "{outcome:?}");
}

#[test]
fn a_follower_reading_a_stream_behind_frees() {
    let storage = MemoryStorage::new();
    let log = open(&quiet(), &storage);
    fill(&log, stream(1), 60);
    log.sync().unwrap();
    fill(&log, stream(1), 1);
    let follower = quiet().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    let last = fill(&log, stream(1), 3);
    log.purge(stream(1), last).unwrap();
    let mut reader = follower.stream_reader(stream(1), ..).unwrap();
    let outcome = reader.next_record();
    assert!(matches!(outcome, Ok(_) | Err(Error::Gone { .. } | Error::Purged { .. })), "{outcome:?}");
    let mut reader = follower.reader(..).unwrap();
    let outcome = reader.next_record();
    assert!(matches!(outcome, Ok(_) | Err(Error::Gone { .. } | Error::Purged { .. })), "{outcome:?}");
}

#[test]
fn a_cursor_does_not_come_back_below_a_deletion() {
    let memory = MemoryStorage::new();
    let gate = Gate::default();
    let held = gate.clone();
    let before: Hook = Arc::new(move |operation, name| {
        if operation == "write" && (name.contains("spare") || name.ends_with(".segment")) {
            held.pass();
        }
        Ok(())
    });
    let log = quiet().open_storage(Arc::new(Hooked::new(Arc::new(memory), before, nothing()))).unwrap();
    fill(&log, stream(1), 10);
    log.advance_cursor(stream(1), "c", SeqId(2)).unwrap();
    gate.shut();
    let a = {
        let log = log.clone();
        std::thread::spawn(move || log.delete_stream(stream(1)))
    };
    gate.wait_for_one();
    let b = {
        let log = log.clone();
        std::thread::spawn(move || log.advance_cursor(stream(1), "c", SeqId(5)))
    };
    std::thread::sleep(Duration::from_millis(200));
    gate.open();
    a.join().unwrap().unwrap();
    // It came too late, or in time and went with the stream.
    drop(b.join().unwrap());
    let point = log.purge_point(stream(1)).unwrap().seq_id;
    assert!(log.cursors().iter().all(|c| c.seq_id >= point), "a cursor below the purge point");
}
