//! Much that nobody waits for is synced in pieces, so that those who do wait get their turn between them.
//! A piece that fails counts as the sync that failed.
#![allow(clippy::unwrap_used)]

#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::io::ErrorKind;
use std::sync::Arc;

use faulty::{Call, FaultyStorage};
use hooked::{Hooked, nothing};
use parking_lot::Mutex;
use stratalog::storage::{DiskStorage, MemoryStorage, Storage};
use stratalog::{Durability, Error, Log, Options, SeqId};
use support::{all, assert_well_formed, batch, stream};

const MIB: u64 = 1 << 20;

fn unsynced() -> Options {
    Options::new().durability(Durability::Buffered).checkpoint_bytes(1 << 40)
}

fn append_mib(log: &Log, mib: u64) {
    for n in 0..mib * 4 {
        log.append(stream(1), &batch(n, 1, 256 << 10)).unwrap();
    }
}

/// What was called of a segment from `act` on, one line each.
fn calls(storage: Arc<dyn Storage>, options: &Options, act: impl FnOnce(&Log, &dyn Fn())) -> Vec<String> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let before = move |operation: &str, file: &str| {
        if file.ends_with(".segment") || file == "spare" || file == "spare.tmp" {
            seen.lock().push(operation.to_owned());
        }
        Ok(())
    };
    let log = options.open_storage(Arc::new(Hooked::new(storage, Arc::new(before), nothing()))).unwrap();
    act(&log, &|| calls.lock().clear());
    drop(log);
    let mut calls = calls.lock();
    std::mem::take(&mut *calls)
}

/// Every byte up to the end is in a piece, or in the sync behind the pieces, and none in two.
#[test]
fn a_large_sync_goes_in_pieces_and_ends_with_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::create(directory.path()).unwrap());
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let calls = calls(storage, &unsynced(), |log, forget| {
        // Behind the small first segments there is one with room for all of this.
        append_mib(log, 24);
        log.sync().unwrap();
        forget();
        append_mib(log, 9);
        log.sync().unwrap();
        log.sync().unwrap();
    });
    for call in &calls {
        if let Some((start, end)) = call.strip_prefix("write out ").and_then(|range| range.split_once("..")) {
            ranges.push((start.parse().unwrap(), end.parse().unwrap()));
        }
    }
    let pieces = ranges.iter().map(|(start, end)| end - start);
    assert!(pieces.clone().all(|piece| piece <= 2 * MIB), "{calls:?}");
    let total: u64 = pieces.sum();
    assert!(total > 5 * MIB && total <= 10 * MIB, "{total} of 9 MiB in pieces: {calls:?}");
    assert!(ranges.windows(2).all(|two| two[0].1 == two[1].0), "{calls:?}");
    let last_piece = calls.iter().rposition(|call| call.starts_with("write out")).unwrap();
    assert!(calls[last_piece..].iter().any(|call| call == "sync"), "nothing behind the pieces: {calls:?}");
}

#[test]
fn a_small_sync_has_no_pieces() {
    let calls = calls(Arc::new(MemoryStorage::new()), &unsynced(), |log, forget| {
        log.append(stream(1), &batch(0, 1, 256 << 10)).unwrap();
        forget();
        log.sync().unwrap();
    });
    assert!(!calls.iter().any(|call| call.starts_with("write out")), "{calls:?}");
    assert!(calls.iter().any(|call| call == "sync"));
}

/// The system says once that a write failed, and it may have said so to the piece.
#[test]
fn a_piece_that_fails_stops_the_log_as_a_sync_does() {
    let storage = FaultyStorage::default();
    let log = unsynced().open_storage(Arc::new(storage.clone())).unwrap();
    append_mib(&log, 24);
    storage.fail(Call::WriteOut, ErrorKind::Other);
    assert!(log.sync().is_err());
    storage.heal();
    assert!(matches!(log.sync(), Err(Error::Poisoned(_))));
    assert!(matches!(log.append(stream(1), &batch(0, 1, 10)), Err(Error::Poisoned(_))));
    assert!(log.durable() < log.committed());
    assert_well_formed(&all(&log));
    assert_eq!(log.committed(), SeqId(24 * 4));
}
