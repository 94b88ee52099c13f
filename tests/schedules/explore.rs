//! How a scenario is run, and what scenarios share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread::JoinHandle;
use shuttle::{Config, Runner};
use stratalog::{Batch, Log, Options, Record, SeqId, StreamId};

use super::disk::Disk;

const ITERATIONS: usize = 3_000;

/// Changes of priority in a schedule of the second kind: most bugs need no more to show.
const DEPTH: usize = 3;

/// Runs a scenario in many orders: at random, and by priorities that change now and then, which lets
/// one thread fall far behind.
pub(crate) fn explore(scenario: impl Fn() + Copy + Send + Sync + 'static) {
    if let Ok(schedule) = std::env::var("REPLAY") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario);
        return;
    }
    let iterations = std::env::var("ITERATIONS").map_or(ITERATIONS, |n| n.parse().unwrap());
    let started = Instant::now();
    run(RandomScheduler::new(iterations), scenario);
    run(PctScheduler::new(DEPTH, iterations), scenario);
    println!("{} orders in {:.1} s", 2 * iterations, started.elapsed().as_secs_f64());
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

/// Small segments, and no witness when idle: a commit that nobody was called for stays undone instead
/// of being made good by a timeout.
pub(crate) fn options() -> Options {
    Options::new()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(1 << 30)
        .idle_witness(Duration::from_secs(1 << 20))
}

pub(crate) fn open(options: &Options, disk: &Disk) -> Log {
    options.open_storage(Arc::new(disk.clone())).unwrap()
}

pub(crate) fn fresh() -> (Disk, Log) {
    let disk = Disk::default();
    let log = open(&options(), &disk);
    (disk, log)
}

pub(crate) fn stream(n: u128) -> StreamId {
    StreamId::from_u128(n)
}

/// What a record says: found on the disk by it, and in no other record.
pub(crate) fn token(producer: u64, n: u64) -> Vec<u8> {
    format!("<record {n} of {producer}>").into_bytes()
}

pub(crate) fn one(producer: u64, n: u64) -> Batch {
    Batch::one(&token(producer, n))
}

pub(crate) fn all(log: &Log) -> Vec<Record> {
    log.reader(..).unwrap().map(|record| record.unwrap()).collect()
}

/// Dense from 1, and all of it durable.
pub(crate) fn assert_durable_prefix(disk: &Disk, records: &[Record]) {
    for (k, record) in records.iter().enumerate() {
        assert_eq!(record.seq_id, SeqId(k as u64 + 1));
        assert!(disk.has_durable(&record.payload), "{} was seen and is not durable", record.seq_id);
    }
}

/// Appends `count` records one by one, and looks at each acknowledgement. The SeqIds.
pub(crate) fn produce(disk: &Disk, log: &Log, producer: u64, count: u64) -> JoinHandle<Vec<SeqId>> {
    let (disk, log) = (disk.clone(), log.clone());
    shuttle::thread::spawn(move || {
        let appended = |n| {
            let seq_id = log.append(stream(1), &one(producer, n)).unwrap().first_seq_id;
            assert_acknowledged(&disk, &log, seq_id, &token(producer, n));
            seq_id
        };
        (0..count).map(appended).collect()
    })
}

/// Durable, committed, and there for who reads it.
pub(crate) fn assert_acknowledged(disk: &Disk, log: &Log, seq_id: SeqId, payload: &[u8]) {
    assert!(disk.has_durable(payload), "{seq_id} was acknowledged before the sync that covers it");
    assert!(log.durable() >= seq_id, "{seq_id} was acknowledged and is not durable");
    assert!(log.committed() >= seq_id, "{seq_id} was acknowledged and is not committed");
    assert_eq!(log.record(seq_id).unwrap().unwrap().payload, payload);
}

/// What a subscriber was called with.
#[derive(Default)]
pub(crate) struct Seen {
    seq_ids: Mutex<Vec<u64>>,
    more: Condvar,
}

impl Seen {
    pub(crate) fn take(&self, records: &[Record]) {
        self.seq_ids.lock().unwrap().extend(records.iter().map(|record| record.seq_id.0));
        self.more.notify_all();
    }

    pub(crate) fn now(&self) -> Vec<u64> {
        self.seq_ids.lock().unwrap().clone()
    }

    /// Blocks until there are so many.
    pub(crate) fn wait(&self, count: usize) -> Vec<u64> {
        let mut seq_ids = self.seq_ids.lock().unwrap();
        while seq_ids.len() < count {
            seq_ids = self.more.wait(seq_ids).unwrap();
        }
        seq_ids.clone()
    }
}
