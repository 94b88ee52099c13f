//! After an error the log either had no effect and goes on, or is poisoned and says so. It never
//! acknowledges after a failed sync.
#![allow(clippy::unwrap_used)]

#[path = "support/faulty.rs"]
mod faulty;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use faulty::{Call, FaultyStorage};
use stratalog::storage::MemoryStorage;
use stratalog::{Error, Log, Options, SeqId};
use support::{all, assert_well_formed, batch, buffered, open, payload, small, stream};

fn open_faulty(options: &Options, storage: &FaultyStorage) -> stratalog::Result<Log> {
    options.open_storage(Arc::new(storage.clone()))
}

#[test]
fn a_failed_sync_stops_the_log_and_every_waiter_is_told() {
    let storage = FaultyStorage::default();
    let log = open_faulty(&small(), &storage).unwrap();
    log.append(stream(1), &batch(0, 1, 100)).unwrap();
    storage.fail(Call::Sync, ErrorKind::Other);
    let threads: Vec<_> = (0..16)
        .map(|n| {
            let log = log.clone();
            std::thread::spawn(move || log.append(stream(2), &batch(n, 1, 100)))
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().is_err());
    }
    storage.heal();
    // A later sync would "succeed", and prove nothing.
    assert!(matches!(log.append(stream(1), &batch(1, 1, 100)), Err(Error::Poisoned(_))));
    assert!(matches!(log.submit(stream(1), &batch(1, 1, 100)), Err(Error::Poisoned(_))));
    assert_eq!(log.committed(), SeqId(1));
    assert_eq!(all(&log).len(), 1, "what was committed can still be read");
    assert!(log.close().is_err());
    let reopened = open(&small(), &storage.inner);
    assert_eq!(reopened.record(SeqId(1)).unwrap().unwrap().payload, payload(0, 100));
    assert_well_formed(&all(&reopened));
}

#[test]
fn a_full_disk_is_an_error_and_the_log_works_again_once_there_is_room() {
    for options in [small(), buffered()] {
        let storage = FaultyStorage::default();
        let log = open_faulty(&options, &storage).unwrap();
        let mut acknowledged = 0;
        storage.fail(Call::Create, ErrorKind::StorageFull);
        let mut refused = 0;
        for n in 0..40 {
            match log.append(stream(1), &batch(acknowledged, 1, 8_000)) {
                Ok(_) => acknowledged += 1,
                Err(Error::Io { source, .. }) => {
                    assert_eq!(source.kind(), ErrorKind::StorageFull);
                    refused += 1;
                    if n > 30 {
                        storage.heal();
                    }
                }
                Err(other) => panic!("{other}"),
            }
            if n == 20 {
                storage.heal();
            }
            if n == 25 {
                storage.fail(Call::Create, ErrorKind::StorageFull);
            }
        }
        assert!(refused > 0 && acknowledged > 0, "{refused} {acknowledged}");
        let records = all(&log);
        assert_well_formed(&records);
        assert_eq!(records.len() as u64, acknowledged);
        assert!(records.iter().enumerate().all(|(k, r)| r.payload == payload(k as u64, 8_000)));
        log.close().unwrap();
        // Checkpoints too say what is there, and not what was refused.
        let found = stratalog::check::verify(&storage.inner, &mut |_| {}).unwrap();
        assert!(found.is_clean(), "{found:?}");
        assert_eq!(all(&open(&options, &storage.inner)), records);
    }
}

#[test]
fn where_there_is_little_room_left_segments_are_smaller() {
    let storage = FaultyStorage::default();
    storage.room_for(100_000);
    let log = open_faulty(&Options::new(), &storage).unwrap();
    let mut acknowledged = 0;
    for _ in 0..60 {
        if log.append(stream(1), &batch(acknowledged, 1, 8_000)).is_ok() {
            acknowledged += 1;
        }
    }
    assert!(acknowledged >= 55, "{acknowledged}");
    assert_eq!(all(&log).len() as u64, acknowledged);
}

#[test]
fn what_failed_does_not_come_back_after_a_clean_close() {
    let storage = FaultyStorage::default();
    let log = open_faulty(&small(), &storage).unwrap();
    log.append(stream(1), &batch(0, 1, 100)).unwrap();
    storage.fail(Call::Write, ErrorKind::Other);
    assert!(matches!(log.append(stream(1), &batch(66, 2, 100)), Err(Error::Io { .. })));
    assert!(matches!(log.append(stream(3), &batch(77, 2, 100)), Err(Error::Io { .. })));
    storage.heal();
    log.close().unwrap();
    let log = open(&small(), &storage.inner);
    assert_eq!(log.committed(), SeqId(1));
    // The numbers of what failed are given to what comes next.
    let appended = log.append(stream(1), &batch(1, 1, 100)).unwrap();
    assert_eq!((appended.first_seq_id.0, appended.first_log_offset.0), (2, 2));
    assert_eq!(log.append(stream(3), &batch(2, 1, 100)).unwrap().first_log_offset.0, 1);
    assert_well_formed(&all(&log));
}

/// Appends from several threads until the storage refuses; what was acknowledged comes back.
fn run(storage: &FaultyStorage, options: &Options) -> u64 {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let Ok(log) = open_faulty(options, storage) else { return 0 };
    let threads: Vec<_> = (0..2u64)
        .map(|t| {
            let (log, acknowledged) = (log.clone(), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                for n in 0..12 {
                    if let Ok(appended) =
                        log.append(stream(u128::from(t)), &batch(t * 1000 + n * 2, 2, 3_000))
                    {
                        acknowledged.fetch_max(appended.last_seq_id().unwrap().0, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let _ = log.checkpoint();
    let _ = log.close();
    acknowledged.load(Ordering::SeqCst)
}

/// Batches of two, in the order in which each thread appended them.
fn assert_is_prefix_of_what_was_submitted(log: &Log) {
    let records = all(log);
    assert_well_formed(&records);
    for t in 0..2u64 {
        let of_thread: Vec<_> = records.iter().filter(|r| r.stream == stream(u128::from(t))).collect();
        assert_eq!(of_thread.len() % 2, 0);
        let mut last = None;
        for pair in of_thread.chunks(2) {
            let number: u64 =
                String::from_utf8_lossy(&pair[0].payload).split(' ').nth(1).unwrap().parse().unwrap();
            assert_eq!(pair[0].payload, payload(number, 3_000));
            assert_eq!(pair[1].payload, payload(number + 1, 3_000));
            assert!(last < Some(number), "twice or out of order: {last:?} {number}");
            last = Some(number);
        }
    }
}

#[test]
fn every_call_that_fails_once_costs_nothing_that_was_acknowledged() {
    failing_call(false);
}

#[test]
fn every_call_from_which_on_nothing_works_costs_nothing_that_was_acknowledged() {
    failing_call(true);
}

fn failing_call(stay_dead: bool) {
    for options in [small(), buffered()] {
        let dry = FaultyStorage::default();
        run(&dry, &options);
        let calls = dry.calls();
        assert!(calls > 60, "{calls}");
        for n in 1..=calls {
            let storage = FaultyStorage::new(MemoryStorage::new());
            storage.fail_nth(n, stay_dead);
            let acknowledged = run(&storage, &options);
            let crashed = storage.inner.snapshot().unwrap();
            let log = options
                .open_storage(Arc::new(crashed.clone()))
                .unwrap_or_else(|error| panic!("call {n}: {error}"));
            assert!(log.committed().0 >= acknowledged, "call {n}: {} < {acknowledged}", log.committed());
            assert_is_prefix_of_what_was_submitted(&log);
            let next = log.append(stream(9), &batch(0, 1, 10)).unwrap();
            assert_eq!(next.first_seq_id.0, log.committed().0);
            drop(log);
            assert_is_prefix_of_what_was_submitted_ignoring_last(&crashed, &options);
        }
    }
}

fn assert_is_prefix_of_what_was_submitted_ignoring_last(storage: &MemoryStorage, options: &Options) {
    let log = open(options, storage);
    assert_well_formed(&all(&log));
}

#[test]
fn recovery_that_fails_at_any_call_can_be_run_again() {
    for options in [small(), buffered()] {
        let storage = MemoryStorage::new();
        let log = open(&options, &storage);
        for n in 0..80 {
            log.append(stream(u128::from(n % 3)), &batch(n, 1, 2_500)).unwrap();
        }
        let due = all(&log);
        let crashed = storage.snapshot().unwrap();
        for n in 1.. {
            let faulty = FaultyStorage::new(crashed.snapshot().unwrap());
            faulty.fail_nth(n, true);
            let outcome = open_faulty(&options, &faulty);
            let survived = outcome.is_ok();
            // Crashed here, whether it got through or not.
            let again = faulty.inner.snapshot().unwrap();
            drop(outcome);
            assert_eq!(all(&open(&options, &again)), due, "cut off at call {n}");
            if survived && faulty.calls() < n {
                break;
            }
            assert!(n < 500);
        }
    }
}

#[test]
fn a_submitter_is_told_by_future_and_by_wait() {
    let storage = FaultyStorage::default();
    let log = open_faulty(&small(), &storage).unwrap();
    let pending: Vec<_> = (0..50).map(|n| log.submit(stream(1), &batch(n, 1, 100)).unwrap()).collect();
    for (n, pending) in pending.into_iter().enumerate() {
        let appended = if n % 2 == 0 { pollster::block_on(pending) } else { pending.wait() };
        assert_eq!(appended.unwrap().first_seq_id, SeqId(n as u64 + 1));
    }
    storage.fail(Call::Sync, ErrorKind::Other);
    let pending: Vec<_> = (0..50).filter_map(|n| log.submit(stream(1), &batch(n, 1, 100)).ok()).collect();
    assert!(!pending.is_empty());
    for pending in pending {
        assert!(pollster::block_on(pending).is_err());
    }
}

#[test]
fn a_full_queue_blocks_or_fails_and_never_grows() {
    let storage = FaultyStorage::default();
    let log = open_faulty(&small().queue_bytes(8_192), &storage).unwrap();
    let mut full = 0;
    let mut pending = Vec::new();
    for n in 0..2_000 {
        match log.try_submit(stream(1), &batch(n, 1, 1_000)) {
            Ok(submitted) => pending.push(submitted),
            Err(Error::QueueFull { queued_bytes, limit }) => {
                assert!(queued_bytes <= limit && limit == 8_192);
                full += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full > 0);
    for submitted in pending {
        submitted.wait().unwrap();
    }
    for n in 0..200 {
        drop(log.submit(stream(1), &batch(n, 1, 1_000)).unwrap());
        assert!(log.stats().unwrap().queued_bytes <= 8_192);
    }
}

#[test]
fn appends_that_wait_together_share_a_sync() {
    let storage = FaultyStorage::default();
    let log = open_faulty(&Options::new(), &storage).unwrap();
    log.append(stream(1), &batch(0, 1, 100)).unwrap();
    let before = log.counters();
    let pending: Vec<_> = (0..1_000).map(|n| log.submit(stream(1), &batch(n, 1, 100)).unwrap()).collect();
    for submitted in pending {
        submitted.wait().unwrap();
    }
    let after = log.counters();
    assert_eq!(after.records - before.records, 1_000);
    assert!(after.syncs - before.syncs <= after.groups - before.groups + 4);
}
