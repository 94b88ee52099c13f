//! `verify` beside a writer at work finds nothing wrong.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use damage_support::{append, options, stream, verify};
use stratalog::storage::{DiskStorage, MemoryStorage, Storage};
use stratalog::{Durability, Options};

fn beside_writers(options: &Options, storage: &Arc<dyn Storage>) {
    let log = options.open_storage(Arc::clone(storage)).unwrap();
    append(&log, 1);
    let stop = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        for writer in 0..3 {
            let (log, stop) = (&log, &stop);
            scope.spawn(move || {
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    append(log, n);
                    n += 3;
                    if n % 200 == 1 {
                        log.checkpoint().unwrap();
                    }
                    if n % 64 < 3 {
                        std::thread::sleep(Duration::from_millis(u64::from(n % 128 < 3) * 60));
                    }
                }
            });
        }
        let begun = Instant::now();
        let mut looks = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begun.elapsed() < Duration::from_secs(4) {
                let before = log.committed();
                let report = verify(storage.as_ref());
                assert!(report.is_clean(), "{:#?}", report.findings);
                assert!(
                    report.last_seq_id >= before.min(log.durable()),
                    "{} before {before}",
                    report.last_seq_id
                );
                looks += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap();
        looks
    });
    assert!(looks > 3, "{looks}");
    log.close().unwrap();
    let report = verify(storage.as_ref());
    assert!(report.is_clean() && report.records == report.last_seq_id.0, "{:#?}", report.findings);
}

#[test]
fn nothing_is_wrong_beside_a_writer_in_memory() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        beside_writers(&options().durability(durability), &storage);
    }
}

#[test]
fn nothing_is_wrong_beside_a_writer_on_a_disk() {
    for durability in
        [Durability::Sync, Durability::Buffered, Durability::SyncEvery(Duration::from_millis(20))]
    {
        let dir = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::existing(dir.path()).unwrap());
        beside_writers(&options().durability(durability), &storage);
    }
}

/// Segments vanish under the look at them, all the time.
#[test]
fn verify_is_clean_beside_a_writer_that_purges() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let log = options().open_storage(Arc::clone(&storage)).unwrap();
    append(&log, 1);
    let stop = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                (n..n + 40).for_each(|n| append(&log, n));
                n += 40;
                let upto = log.committed();
                for of in 0..5 {
                    // One stream is behind, so some segments stay for a while.
                    if of > 0 || n % 400 == 0 {
                        log.advance_cursor(stream(of), "reader", upto).unwrap();
                        log.purge_passed(stream(of)).unwrap();
                    }
                }
            }
        });
        let begun = Instant::now();
        let mut looks = 0;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while begun.elapsed() < Duration::from_secs(5) {
                let report = verify(storage.as_ref());
                assert!(report.is_clean(), "look {looks}: {:#?}", report.findings);
                looks += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap();
        looks
    });
    assert!(looks > 3, "{looks}");
    log.close().unwrap();
    let report = verify(storage.as_ref());
    assert!(report.is_clean(), "{:#?}", report.findings);
}
