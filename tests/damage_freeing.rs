//! Whatever a crash or a power cut leaves while segments are freed is no damage, and no cursor and no
//! record is lost by it.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod damage_support;
#[path = "support/hooked.rs"]
mod hooked;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use damage_support::{options, payload, stream, verify};
use hooked::{Hooked, nothing};
use stratalog::check;
use stratalog::storage::{Access, MemoryStorage, SimulatedStorage, Storage, Survives};
use stratalog::{Batch, Durability, Log, Options, SeqId};

fn batch(log: &Log, of: u64, records: u64) -> SeqId {
    let mut batch = Batch::new();
    (0..records).for_each(|k| batch.push(&payload(k * 5 + 90)));
    let appended = log.append(stream(of), &batch).unwrap();
    SeqId(appended.first_seq_id.0 + records - 1)
}

/// What was acknowledged: the newest SeqId above, the place of the cursor below.
type Acked = Arc<AtomicU64>;

fn newest(acked: u64) -> u64 {
    acked >> 32
}

fn cursor(acked: u64) -> u64 {
    acked & u64::from(u32::MAX)
}

/// Segments are freed at the front and in the middle, while a slow stream keeps one that lies between.
fn free(log: &Log, acked: &Acked) {
    for round in 0..3 {
        for k in 0..28 {
            let last = batch(log, 0, 9);
            acked.store(last.0 << 32 | cursor(acked.load(Ordering::SeqCst)), Ordering::SeqCst);
            if round == 1 && k == 4 {
                batch(log, 1, 1);
            }
        }
        let upto = log.committed();
        log.advance_cursor(stream(0), "reader", upto).unwrap();
        acked.store(newest(acked.load(Ordering::SeqCst)) << 32 | upto.0, Ordering::SeqCst);
        log.purge_passed(stream(0)).unwrap();
    }
    log.delete_stream(stream(1)).unwrap();
    batch(log, 2, 2);
}

fn assert_sound(storage: &Arc<dyn Storage>, options: &Options, acked: u64, what: &str) {
    let (newest, cursor) = (newest(acked), cursor(acked));
    let report = verify(storage.as_ref());
    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
    let plan = check::plan_repair(Arc::clone(storage)).unwrap();
    assert!(plan.actions.is_empty(), "{what}: {:?}", plan.actions);
    let log = options.open_storage(Arc::clone(storage)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(log.committed().0 >= newest, "{what}: {} of {newest}", log.committed());
    let stands = log.cursor(stream(0), "reader").map_or(0, |cursor| cursor.seq_id.0);
    assert!(stands >= cursor && stands <= log.committed().0, "{what}: {stands} of {cursor}");
    let upto = log.purge_point(stream(0)).map_or(0, |point| point.seq_id.0);
    assert!(upto <= stands, "{what}: purged {upto}, cursor {stands}");
    for record in log.reader(..).unwrap() {
        record.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for n in 0..3 {
        for record in log.stream_reader(stream(n), ..).unwrap() {
            record.unwrap_or_else(|error| panic!("{what}: stream {n}: {error}"));
        }
    }
    batch(&log, 0, 1);
    log.close().unwrap();
    let report = verify(storage.as_ref());
    assert!(report.is_clean(), "{what}, closed: {:#?}", report.findings);
}

/// Nothing by the clock: the same calls in every run, as far as that goes.
fn steady(durability: Durability) -> Options {
    options().durability(durability).idle_witness(std::time::Duration::from_secs(3600))
}

#[test]
fn a_crash_at_any_call_while_segments_are_freed_is_no_damage() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let options = steady(durability);
        let storage = MemoryStorage::new();
        let acked = Acked::default();
        let on = Arc::new(AtomicBool::new(false));
        let images = Arc::new(AtomicU64::new(0));
        let failure: Arc<parking_lot::Mutex<Option<String>>> = Arc::default();
        let hook = {
            let (storage, acked, on, images) =
                (storage.clone(), Arc::clone(&acked), Arc::clone(&on), Arc::clone(&images));
            let (options, failure) = (options.clone(), Arc::clone(&failure));
            Arc::new(move |operation: &str, name: &str| {
                let few = operation != "write" || images.load(Ordering::SeqCst) % 3 == 0;
                images.fetch_add(1, Ordering::SeqCst);
                if on.load(Ordering::SeqCst) && few && failure.lock().is_none() {
                    let acked = acked.load(Ordering::SeqCst);
                    let image: Arc<dyn Storage> = Arc::new(storage.snapshot()?);
                    let what = format!("before {operation} {name}");
                    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        assert_sound(&image, &options, acked, &what);
                    }));
                    if let Err(panic) = looked {
                        let text = panic.downcast_ref::<String>().cloned();
                        *failure.lock() = Some(text.unwrap_or(what));
                    }
                }
                Ok(())
            })
        };
        let hooked = Hooked::new(Arc::new(storage.clone()), hook, nothing());
        let log = options.open_storage(Arc::new(hooked)).unwrap();
        batch(&log, 2, 1);
        on.store(true, Ordering::SeqCst);
        free(&log, &acked);
        log.close().unwrap();
        on.store(false, Ordering::SeqCst);
        assert_eq!(*failure.lock(), None);
        assert!(images.load(Ordering::SeqCst) > 200);
        assert!(damage_support::segments(&storage).len() < 6, "{:?}", damage_support::segments(&storage));
    }
}

/// Spread over all calls of a run.
const CUTS: u64 = 240;

#[test]
fn a_power_cut_while_segments_are_freed_is_no_damage() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let options = steady(durability);
        let calls = {
            let storage = SimulatedStorage::new(1);
            let log = options.open_storage(Arc::new(storage.clone())).unwrap();
            free(&log, &Acked::default());
            storage.calls()
        };
        for n in 0..CUTS {
            let storage = SimulatedStorage::new(n);
            let acked = Acked::default();
            storage.cut_at_call(calls * n / CUTS, Arc::clone(&acked));
            let log = options.open_storage(Arc::new(storage.clone())).unwrap();
            free(&log, &acked);
            drop(log);
            let Some((cut, seen)) = storage.taken_cut() else { continue };
            let seen = if durability == Durability::Sync { seen } else { 0 };
            let survives = match n % 3 {
                0 => Survives::Nothing,
                1 => Survives::Everything,
                _ => Survives::Chance((n * 37 % 256) as u8),
            };
            let after: Arc<dyn Storage> = Arc::new(cut.after_power_cut(survives, n));
            if damage_support::segments(after.as_ref()).is_empty() {
                assert_eq!(seen, 0);
                continue;
            }
            assert_sound(&after, &options, seen, &format!("{durability:?}, cut {n}, {survives:?}"));
        }
    }
}

/// Without a checkpoint a log is scanned from its first segment on, and that one is freed.
#[test]
fn losing_both_checkpoints_once_segments_are_freed_is_damage_that_a_repair_mends() {
    let storage = MemoryStorage::new();
    let acked = Acked::default();
    let log = options().open_storage(Arc::new(storage.clone())).unwrap();
    free(&log, &acked);
    let read: Vec<_> = log.reader(..).unwrap().map(Result::unwrap).collect();
    log.close().unwrap();
    assert!(storage.open("00000000000000000001.segment", Access::Read).is_err(), "it was freed");
    ["checkpoint-0", "checkpoint-1"].iter().for_each(|name| storage.remove(name).unwrap());

    let open = || options().open_storage(Arc::new(storage.clone()));
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains("checkpoint") && refused.contains("repair"), "{refused}");
    let report = verify(&storage);
    assert!(!report.is_clean(), "opening refuses it");
    check::repair(Arc::new(storage.clone())).unwrap();
    let report = verify(&storage);
    assert!(report.is_clean(), "{:#?}", report.findings);
    // Nobody knows any more what the freed SeqIds were, so a reader is told that they are gone.
    let log = open().unwrap();
    assert_eq!(log.reader(..).unwrap().filter_map(Result::ok).collect::<Vec<_>>(), read);
}
