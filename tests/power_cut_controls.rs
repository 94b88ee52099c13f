//! Cursors, purges, deletions and retries survive a power cut at any storage call as records do: what
//! is left is the log as it was after one of its operations, and not before the last acknowledged one.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stratalog::storage::{SimulatedStorage, Storage, Survives};
use stratalog::{Batch, Durability, Error, Log, LogOffset, Options, ProducerId, SeqId, Terms, check};
use support::{payload, stream};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const STREAMS: u64 = 3;

/// A log as it should be. Places are log_offsets: SeqIds also go to what the log writes about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    /// Payload numbers, from log_offset 1 on.
    records: BTreeMap<u64, Vec<u64>>,
    purged: BTreeMap<u64, u64>,
    cursors: BTreeMap<(u64, String), u64>,
    /// The producer's newest batch: stream, first log_offset.
    produced: Option<(u64, u64, u64)>,
}

impl Model {
    fn newest(&self, stream: u64) -> u64 {
        self.records.get(&stream).map_or(0, |records| records.len() as u64)
    }

    fn purged(&self, stream: u64) -> u64 {
        self.purged.get(&stream).copied().unwrap_or(0)
    }

    fn least_cursor(&self, stream: u64) -> Option<u64> {
        let of = |((s, _), at): (&(u64, String), &u64)| (*s == stream).then_some(*at);
        self.cursors.iter().filter_map(of).min()
    }

    fn seen(log: &Log) -> Model {
        let mut model = Model::default();
        for n in 0..STREAMS {
            let Some(stats) = log.stream(stream(n.into())) else { continue };
            let records = model.records.entry(n).or_default();
            records.resize(stats.next_log_offset.0 as usize - 1, 0);
            if let Some(point) = log.purge_point(stream(n.into())) {
                model.purged.insert(n, point.log_offset.0);
            }
            for record in log.stream_reader(stream(n.into()), ..).unwrap() {
                let record = record.unwrap();
                let number =
                    String::from_utf8_lossy(&record.payload).split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(record.payload, payload(number, record.payload.len()));
                records[record.log_offset.0 as usize - 1] = number;
            }
        }
        for cursor in log.cursors() {
            let n = (0..STREAMS).find(|n| stream((*n).into()) == cursor.stream).unwrap();
            model.cursors.insert((n, cursor.name), cursor.log_offset.0);
        }
        model
    }

    /// What a reader can see of it.
    fn visible(&self) -> Model {
        let mut visible = self.clone();
        for (n, records) in &mut visible.records {
            let purged = self.purged(*n) as usize;
            records.iter_mut().take(purged).for_each(|number| *number = 0);
        }
        visible.purged.retain(|_, upto| *upto > 0);
        visible.produced = None;
        visible
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

const PRODUCER: ProducerId = ProducerId::from_u128(5);

struct Program<'a> {
    random: Random,
    durability: Durability,
    /// The model after each operation; the first one is what was there at the start.
    models: Vec<Model>,
    /// Operations that are acknowledged.
    acknowledged: &'a AtomicU64,
    next_payload: u64,
}

impl Program<'_> {
    /// The SeqId of a record of the stream, or of none.
    fn seq_of(log: &Log, n: u64, offset: u64) -> Option<SeqId> {
        log.record_at(stream(n.into()), LogOffset(offset)).ok().flatten().map(|record| record.seq_id)
    }

    /// What one operation makes of the model, and its outcome. `None` if there was nothing to do.
    fn step(&mut self, log: &Log, model: &mut Model) -> Option<stratalog::Result<()>> {
        let n = self.random.below(STREAMS);
        let id = stream(n.into());
        let name = ["a", "b"][self.random.below(2) as usize].to_owned();
        let pick = |random: &mut Random, from: u64, to: u64| {
            (from <= to).then(|| from + random.below(to - from + 1))
        };
        match self.random.below(16) {
            0..=6 => {
                let count = 1 + self.random.below(3);
                let len = [20, 3_000, 9_000][self.random.below(3) as usize];
                let mut batch = Batch::new();
                let records = model.records.entry(n).or_default();
                let first = records.len() as u64 + 1;
                for number in self.next_payload..self.next_payload + count {
                    batch.push(&payload(number, len));
                    records.push(number);
                }
                self.next_payload += count;
                let mut terms = Terms::new().next_offset(LogOffset(first));
                if self.random.below(2) == 0 {
                    let sequence = model.produced.map_or(1, |(sequence, ..)| sequence + 1);
                    model.produced = Some((sequence, n, first));
                    terms = terms.producer(PRODUCER, sequence);
                }
                Some(log.append_on(&terms, id, &batch).map(|appended| {
                    assert_eq!(appended.first_log_offset, LogOffset(first));
                }))
            }
            7..=9 => {
                let at = model.cursors.get(&(n, name.clone())).copied().unwrap_or(0);
                let to = pick(&mut self.random, at.max(model.purged(n)) + 1, model.newest(n))?;
                let seq = Self::seq_of(log, n, to)?;
                model.cursors.insert((n, name.clone()), to);
                Some(log.advance_cursor(id, &name, seq).map(drop))
            }
            10 => {
                let at = model.cursors.get(&(n, name.clone())).copied()?;
                let to = pick(&mut self.random, model.purged(n) + 1, at)?;
                let seq = Self::seq_of(log, n, to)?;
                model.cursors.insert((n, name.clone()), to);
                Some(log.rollback_cursor(id, &name, seq).map(drop))
            }
            11 => {
                model.cursors.remove(&(n, name.clone()))?;
                Some(log.drop_cursor(id, &name).map(drop))
            }
            12 => {
                let most = model.least_cursor(n).unwrap_or(model.newest(n));
                let to = pick(&mut self.random, model.purged(n) + 1, most)?;
                let seq = Self::seq_of(log, n, to)?;
                model.purged.insert(n, to);
                Some(log.purge(id, seq).map(drop))
            }
            13 => {
                let least = model.least_cursor(n).filter(|least| *least > model.purged(n))?;
                model.purged.insert(n, least);
                Some(log.purge_passed(id).map(drop))
            }
            14 if self.random.below(3) == 0 => {
                model.purged.insert(n, model.newest(n));
                model.cursors.retain(|(s, _), _| *s != n);
                Some(log.delete_stream(id))
            }
            _ => Some(match self.random.below(3) {
                0 => log.checkpoint(),
                1 => log.sync(),
                _ => {
                    std::thread::sleep(Duration::from_millis(3));
                    Ok(())
                }
            }),
        }
    }

    fn run(&mut self, log: &mut Log, storage: &SimulatedStorage) {
        for _ in 0..self.random.below(50) {
            if self.random.below(12) == 0 {
                if log.close().is_err() {
                    return;
                }
                self.acknowledged.store(self.models.len() as u64 - 1, Ordering::SeqCst);
                let Ok(again) = open(storage, self.durability) else { return };
                *log = again;
                continue;
            }
            let mut model = self.models.last().unwrap().clone();
            let Some(outcome) = self.step_into(log, &mut model) else { continue };
            if outcome.is_err() {
                return;
            }
            if self.durability == Durability::Sync {
                self.acknowledged.store(self.models.len() as u64 - 1, Ordering::SeqCst);
            }
        }
    }

    /// The model is there before the operation: a cut in it may leave either.
    fn step_into(&mut self, log: &Log, model: &mut Model) -> Option<stratalog::Result<()>> {
        // The operation is tried on a copy first, to know what it will have made.
        let outcome = self.step(log, model)?;
        self.models.push(model.clone());
        Some(outcome)
    }
}

/// The log is one of the models from `least` on; which one.
fn check_log(log: &Log, models: &[Model], least: u64, what: &str) -> usize {
    let seen = Model::seen(log);
    let fits = |at: &usize| models[*at].visible() == seen;
    let Some(at) = (least as usize..models.len()).rev().find(fits) else {
        let last = models.last().map(Model::visible);
        panic!(
            "{what}: {least} of {} operations acknowledged; found {seen:#?}\nlast {last:#?}",
            models.len()
        );
    };
    // The whole log is what its streams are, in order.
    let whole: usize = log.reader(..).unwrap().map(|record| record.map(drop).unwrap()).count();
    let live: usize = seen.records.values().flatten().filter(|number| **number > 0).count();
    assert_eq!(whole, live, "{what}");
    at
}

fn check_retry(log: &Log, model: &Model, what: &str) {
    let Some((sequence, n, first)) = model.produced else { return };
    let terms = Terms::new().producer(PRODUCER, sequence);
    let again = log.append_on(&terms, stream(n.into()), &Batch::one(b"a retry"));
    assert_eq!(again.unwrap().first_log_offset, LogOffset(first), "{what}");
    let old = Terms::new().producer(PRODUCER, sequence - 1);
    let old = log.append_on(&old, stream(n.into()), &Batch::one(b"old"));
    assert!(matches!(old, Err(Error::OldSequence { .. })) || sequence == 0, "{what}: {old:?}");
}

/// Every segment is one that the log knows.
fn check_files(log: &Log, storage: &SimulatedStorage, what: &str) {
    let known: Vec<String> = log.stats().unwrap().segments.into_iter().map(|segment| segment.name).collect();
    for entry in storage.list().unwrap() {
        let stem = entry.name.strip_suffix(".segment").or(entry.name.strip_suffix(".index"));
        // One that was begun and is still empty is none of them yet.
        let empty = |stem: &str| stem.parse::<u64>().unwrap() > log.committed().0;
        let Some(stem) = stem.filter(|stem| !empty(stem)) else { continue };
        assert!(known.contains(&format!("{stem}.segment")), "{what}: {} of {known:?}", entry.name);
    }
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
    let durability = [Durability::Sync, Durability::Sync, Durability::Buffered][random.below(3) as usize];
    let mut storage = SimulatedStorage::new(seed);
    let mut models = vec![Model::default()];
    let mut known = 0;
    for life in 0..4 {
        let what = format!("seed {seed}, {durability:?}, life {life}");
        let acknowledged = Arc::new(AtomicU64::new(known));
        storage.cut_at_call(1 + random.below(if life == 0 { 500 } else { 300 }), Arc::clone(&acknowledged));
        let mut log = open(&storage, durability).unwrap_or_else(|error| panic!("{what}: {error}"));
        let at = check_log(&log, &models, known, &what);
        let model = models[at].clone();
        check_files(&log, &storage, &what);
        check_retry(&log, &model, &what);
        // A recovered log shows what is committed: the next cut must not take it back.
        models.truncate(at + 1);
        acknowledged.store(at as u64, Ordering::SeqCst);
        let mut program = Program {
            random: Random(seed ^ (life * 0x77)),
            durability,
            models,
            acknowledged: &acknowledged,
            next_payload: 1 + life * 1_000,
        };
        program.run(&mut log, &storage);
        models = std::mem::take(&mut program.models);
        drop(log);
        let cut = storage.taken_cut();
        let (left, at_cut) =
            cut.unwrap_or_else(|| (storage.after_kill(), acknowledged.load(Ordering::SeqCst)));
        known = at_cut;
        let seed = seed ^ (life << 32);
        storage = if random.below(3) == 0 { left } else { left.after_power_cut(survives(&mut random), seed) };
        match check::verify(&storage, &mut |_| ()) {
            Ok(report) => {
                assert!(report.is_clean() || std::env::var("NOVERIFY").is_ok(), "{what}: {report:#?}")
            }
            // Nothing had been written yet; whether it should have been, the next life tells.
            Err(error) => assert!(matches!(error, Error::NotALog { .. }), "{what}: {error}"),
        }
    }
}

#[test]
fn a_power_cut_leaves_cursors_purges_and_retries_as_they_were_after_some_operation() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let count = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let (from, to) = first.map_or((0, count), |seed: u64| (seed, seed + 1));
    for seed in from..to {
        round(seed);
    }
}
