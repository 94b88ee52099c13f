//! What a power cut leaves is no damage: `verify` is content with it and `repair` leaves it alone.
//! And a power cut in the middle of a repair takes back nothing that was good.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use damage_support::{
    Reading, append, fill, flip_bit, frames, options, segments, size, truncate, verify, zero_range,
};
use stratalog::check;
use stratalog::storage::{SimulatedStorage, Storage, Survives};
use stratalog::{Durability, Error, Log, Record};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn survives(&mut self) -> Survives {
        match self.below(5) {
            0 => Survives::Nothing,
            1 => Survives::Everything,
            _ => Survives::Chance(self.below(256) as u8),
        }
    }
}

fn open(storage: &SimulatedStorage, durability: Durability) -> stratalog::Result<Log> {
    options().durability(durability).open_storage(Arc::new(storage.clone()))
}

fn live(storage: &SimulatedStorage, durability: Durability, random: &mut Random) {
    let log = open(storage, durability).unwrap();
    for _ in 0..random.below(60) {
        append(&log, random.below(50));
        if random.below(15) == 0 {
            log.checkpoint().unwrap();
        }
    }
    if random.below(3) == 0 {
        log.close().unwrap();
    }
}

fn content_with_it(storage: &SimulatedStorage, what: &str) -> u64 {
    let report = verify(storage);
    assert!(report.is_clean(), "{what}: {:#?}", report.findings);
    let plan = check::plan_repair(Arc::new(storage.clone())).unwrap();
    assert!(plan.actions.is_empty(), "{what}: {:?}", plan.actions);
    report.last_seq_id.0
}

#[test]
fn what_a_power_cut_leaves_is_no_damage() {
    for seed in 0..seeds(150) {
        let mut random = Random(seed);
        let durability = if seed % 2 == 0 { Durability::Sync } else { Durability::Buffered };
        let mut storage = SimulatedStorage::new(seed);
        for life in 0..4 {
            let what = format!("seed {seed}, {durability:?}, life {life}");
            storage.cut_at_call(20 + random.below(400), Arc::new(AtomicU64::new(0)));
            live(&storage, durability, &mut random);
            let left = storage.taken_cut().map_or_else(|| storage.after_kill(), |(left, _)| left);
            storage = left.after_power_cut(random.survives(), seed << 8 | life);
            if storage.list().unwrap().iter().any(|entry| entry.name.ends_with(".segment")) {
                let last = content_with_it(&storage, &what);
                let log = open(&storage, durability).unwrap();
                assert!(log.committed().0 <= last, "{what}");
                let records = Reading::of(log.reader(..).unwrap()).records.len() as u64;
                assert_eq!(records, log.committed().0, "{what}");
                content_with_it(&storage, &what);
            }
        }
    }
}

/// DAMAGE_SEEDS=10000 makes a long run of it.
fn seeds(otherwise: u64) -> u64 {
    std::env::var("DAMAGE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(otherwise)
}

/// The log after damage, and the records that it still should have.
fn damaged(seed: u64, random: &mut Random) -> (SimulatedStorage, Vec<Record>) {
    let storage = SimulatedStorage::new(seed);
    let log = open(&storage, Durability::Sync).unwrap();
    fill(&log, 0..50);
    log.close().unwrap();
    let places = frames(&storage);
    for _ in 0..1 + random.below(3) {
        let place = &places[random.below(places.len() as u64) as usize];
        let bit = place.start * 8 + random.below((place.end - place.start) * 8);
        if !segments(&storage).contains(&place.file) || size(&storage, &place.file) < place.end {
            continue;
        }
        match random.below(6) {
            0 => zero_range(&storage, &place.file, 0..200),
            1 => truncate(&storage, &place.file, place.start + 7),
            2 => storage.remove(&segments(&storage)[0]).unwrap(),
            _ => flip_bit(&storage, &place.file, bit),
        }
    }
    for entry in storage.list().unwrap() {
        storage.open(&entry.name, stratalog::storage::Access::Write).unwrap().sync().unwrap();
    }
    storage.sync_directory().unwrap();
    let whole = storage.after_kill();
    check::repair(Arc::new(whole.clone())).unwrap();
    let log = open(&whole, Durability::Sync).unwrap();
    (storage, Reading::of(log.reader(..).unwrap()).records)
}

#[test]
fn a_power_cut_in_a_repair_takes_back_nothing_that_was_good() {
    let mut cuts = 0;
    for seed in 0..seeds(60) {
        let mut random = Random(seed ^ 0xABCD);
        let (storage, due) = damaged(seed, &mut random);
        let counting = storage.after_kill();
        let end = check::repair(Arc::new(counting.clone())).unwrap().last_seq_id;
        for _ in 0..12 {
            let cut = 1 + random.below(counting.calls());
            let what = format!("seed {seed}, cut at call {cut}");
            let running = storage.after_kill();
            running.cut_at_call(cut, Arc::new(AtomicU64::new(0)));
            check::repair(Arc::new(running.clone())).unwrap();
            let Some((left, _)) = running.taken_cut() else { continue };
            let left = left.after_power_cut(random.survives(), seed << 16 | cut);
            check::repair(Arc::new(left.clone())).unwrap_or_else(|error| panic!("{what}: {error}"));
            // And the power goes once more when the second one is done.
            let left = left.after_power_cut(Survives::Nothing, cut);
            assert!(verify(&left).is_clean(), "{what}: {:#?}", verify(&left).findings);
            let log = open(&left, Durability::Sync).unwrap();
            let reading = Reading::of(log.reader(..).unwrap());
            let numbers = |records: &[Record]| records.iter().map(|r| r.seq_id.0).collect::<Vec<_>>();
            assert_eq!(numbers(&reading.records), numbers(&due), "{what}");
            assert!(reading.records == due, "{what}: a record changed");
            assert!(reading.errors.iter().all(|error| matches!(error, Error::Gone { .. })), "{what}");
            assert!(log.committed() >= end, "{what}: {} before {end}", log.committed());
            cuts += 1;
        }
    }
    assert!(cuts > 300, "{cuts}");
}
