//! What was acknowledged survives a power cut at any storage call, and a second one in the
//! recovery from the first.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stratalog::storage::{SimulatedStorage, Survives};
use stratalog::{Batch, Durability, Log, Options};
use support::{assert_well_formed, payload, stream};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn options(durability: Durability) -> Options {
    Options::new()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(64 << 10)
        .durability(durability)
        .idle_witness(Duration::from_millis(2))
}

fn open(storage: &SimulatedStorage, durability: Durability) -> stratalog::Result<Log> {
    options(durability).open_storage(Arc::new(storage.clone()))
}

/// Payload `n` is record `n`: of any log of this program, record SeqId k holds payload k.
fn program(storage: &SimulatedStorage, durability: Durability, seed: u64, acknowledged: &AtomicU64) {
    let mut random = Random(seed);
    let Ok(mut log) = open(storage, durability) else { return };
    let mut next = log.committed().0 + 1;
    for _ in 0..random.below(40) {
        match random.below(20) {
            0 => drop(log.checkpoint()),
            4 => {
                // Submitted and not waited for: closing commits it.
                let mut batch = Batch::new();
                batch.push(&payload(next, 1_500));
                let Ok(pending) = log.submit(stream(2), &batch) else { return };
                next += 1;
                drop(pending);
                if log.close().is_err() {
                    return;
                }
                acknowledged.store(next - 1, Ordering::SeqCst);
                drop(log);
                let Ok(again) = open(storage, durability) else { return };
                log = again;
            }
            1 => {
                let closed = log.close();
                if closed.is_ok() && durability != Durability::Sync {
                    acknowledged.store(next - 1, Ordering::SeqCst);
                }
                drop(log);
                let Ok(again) = open(storage, durability) else { return };
                log = again;
            }
            2 => std::thread::sleep(Duration::from_millis(4)),
            3 if log.sync().is_ok() => acknowledged.store(next - 1, Ordering::SeqCst),
            _ => {
                let mut pending = Vec::new();
                for _ in 0..1 + random.below(4) {
                    let count = 1 + random.below(4);
                    let mut batch = Batch::new();
                    let len = [20, 500, 3_000, 9_000][random.below(4) as usize];
                    (next..next + count).for_each(|n| batch.push(&payload(n, len)));
                    match log.submit(stream(u128::from(random.below(3))), &batch) {
                        Ok(submitted) => pending.push(submitted),
                        Err(_) => return,
                    }
                    next += count;
                }
                for submitted in pending {
                    match submitted.wait() {
                        Ok(appended) if durability == Durability::Sync => {
                            acknowledged.fetch_max(appended.last_seq_id().unwrap().0, Ordering::SeqCst);
                        }
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            }
        }
    }
    if random.below(2) == 0 && log.close().is_ok() {
        acknowledged.store(next - 1, Ordering::SeqCst);
    }
}

fn check(log: &Log, acknowledged: u64, what: &str) -> u64 {
    let records: Vec<_> =
        log.reader(..).unwrap().map(|r| r.unwrap_or_else(|error| panic!("{what}: {error}"))).collect();
    assert_well_formed(&records);
    assert!(records.len() as u64 >= acknowledged, "{what}: {} records of {acknowledged}", records.len());
    for record in &records {
        let due = payload(record.seq_id.0, record.payload.len());
        assert_eq!(record.payload, due, "{what}: SeqId {}", record.seq_id);
    }
    records.len() as u64
}

fn survives(random: &mut Random) -> Survives {
    match random.below(6) {
        0 => Survives::Nothing,
        1 => Survives::Everything,
        _ => Survives::Chance(random.below(256) as u8),
    }
}

fn round(seed: u64) {
    let mut random = Random(seed);
    let durability = [
        Durability::Sync,
        Durability::Sync,
        Durability::Buffered,
        Durability::SyncEvery(Duration::from_millis(3)),
    ][random.below(4) as usize];
    let mut storage = SimulatedStorage::new(seed);
    let mut known = 0;
    for life in 0..4 {
        let what = format!("seed {seed}, {durability:?}, life {life}");
        // The cut may come while the last one is still being recovered from.
        let acknowledged = Arc::new(AtomicU64::new(known));
        storage.cut_at_call(1 + random.below(if life == 0 { 400 } else { 250 }), Arc::clone(&acknowledged));
        if life > 0 {
            let log = open(&storage, durability).unwrap_or_else(|error| panic!("{what}: {error}"));
            // What a recovered log shows is committed: the next cut must not take it back.
            acknowledged.store(check(&log, known, &what), Ordering::SeqCst);
            if random.below(2) == 0 {
                std::mem::drop(log.close());
            }
        }
        program(&storage, durability, seed ^ (life * 0x77), &acknowledged);
        let (left, at_cut) = storage
            .taken_cut()
            .unwrap_or_else(|| (storage.after_kill(), acknowledged.load(Ordering::SeqCst)));
        known = at_cut;
        // Sometimes the process dies first, is started again, and only then the power goes.
        let seed = seed ^ (life << 32);
        storage = if random.below(3) == 0 { left } else { left.after_power_cut(survives(&mut random), seed) };
    }
}

#[test]
fn a_power_cut_at_any_call_takes_back_nothing_that_was_acknowledged() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(800);
    let (from, to) = first.map_or((0, count), |seed: u64| (seed, seed + 1));
    for seed in from..to {
        round(seed);
    }
}
