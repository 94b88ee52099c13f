//! Producers that append for a while: the measurement behind all rows of appends.
//!
//! The time is fixed, not the work: the slowest rival is a hundred times slower than the fastest, and
//! an amount of work that one does in a second keeps the other busy for minutes. All get the same
//! records, an empty directory, and are brought to their steady state first.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::Bench;
use crate::contender::{Contender, Kind, Promise, Replayed, Setup, Store};
use crate::payload::{Payload, Tally};
use crate::place::Place;
use crate::row::Sample;
use crate::statistics::percentile;

/// Of one call while a store is filled.
const FILL_CALL_BYTES: usize = 256 << 10;
/// The same while it is warmed up, at least: a store may go by how much was synced at a time lately, and is not
/// to be taught other work than what it is measured at.
const WARM_UP_CALL_BYTES: usize = 64 << 10;
/// What is busy in the background after the warm-up is done by then.
const SETTLE: Duration = Duration::from_millis(300);
/// Without a clock around each append: how many pass between two looks at it.
const UNTIMED: usize = 64;

/// What the producers do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appends {
    pub(crate) promise: Promise,
    pub(crate) producers: usize,
    /// Records per append.
    pub(crate) batch: usize,
    pub(crate) record_bytes: usize,
    pub(crate) seconds: f64,
    /// No more than this is appended, however long it takes.
    pub(crate) most_bytes: u64,
    /// A clock around every append. Not for those that take less than some clocks.
    pub(crate) timed: bool,
}

impl Appends {
    pub(crate) fn new(bench: &Bench, promise: Promise, record_bytes: usize) -> Self {
        Appends {
            promise,
            producers: 1,
            batch: 1,
            record_bytes,
            seconds: bench.settings.seconds,
            most_bytes: bench.scaled(1 << 30),
            timed: promise == Promise::Durable,
        }
    }

    pub(crate) fn producers(self, producers: usize) -> Self {
        Appends { producers, ..self }
    }

    pub(crate) fn batch(self, batch: usize) -> Self {
        Appends { batch, ..self }
    }

    fn setup(&self, warm_up_bytes: u64) -> Setup {
        let in_flight = (self.producers * self.batch * self.record_bytes * (UNTIMED + 1)) as u64;
        let capacity_bytes = self.most_bytes
            + in_flight
            + warm_up_bytes
            + (self.batch * self.record_bytes).max(WARM_UP_CALL_BYTES) as u64;
        let (promise, record_bytes, producers) = (self.promise, self.record_bytes, self.producers);
        Setup { promise, record_bytes, producers, capacity_bytes, keep: false }
    }

    /// One measurement in a directory of its own. In the first round all of it is read back.
    pub(crate) fn run(
        &self,
        place: &Place,
        contender: &dyn Contender,
        payload: &Payload,
        round: usize,
    ) -> Result<Sample> {
        let setup = self.setup(contender.warm_up_bytes());
        // Trees and tables write the same bytes again.
        let copies = if contender.kind() == Kind::Peer { 4 } else { 2 };
        let scratch = place.scratch(setup.capacity_bytes * copies)?;
        let store = contender.open(scratch.path(), &setup).context("open")?;
        let mut tally =
            warm_up(store.as_ref(), payload, contender.warm_up_bytes(), self.batch).context("warm up")?;
        std::thread::sleep(SETTLE);
        let ran = self.produce(store.as_ref(), payload)?;
        tally.add(ran.tally);
        store.close().context("close")?;
        if round == 0 {
            let store = contender.open(scratch.path(), &setup).context("open again")?;
            read_back(store.as_ref(), payload, tally)?;
            store.close()?;
        }
        drop(scratch);
        place.settle()?;
        Ok(ran.sample())
    }

    /// All producers at once, until the time is over.
    pub(crate) fn produce(&self, store: &dyn Store, payload: &Payload) -> Result<Ran> {
        let barrier = Barrier::new(self.producers);
        let one = |number| {
            let producer = store.producer(number);
            // Before any error: the others wait for all.
            barrier.wait();
            self.produce_one(producer?.as_mut(), payload, number)
        };
        let one = &one;
        let parts: Vec<Result<Part>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.producers).map(|number| scope.spawn(move || one(number))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|part| part.unwrap_or_else(|_| Err(anyhow::anyhow!("a producer panicked")))).collect()
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        let mut ran = Ran { tally: Tally::default(), seconds: 0.0, nanos: Vec::new() };
        let begun = parts.iter().map(|part| part.begun).min().context("expected producers, found none")?;
        for mut part in parts {
            ran.tally.add(part.tally);
            ran.seconds = ran.seconds.max((part.ended - begun).as_secs_f64());
            ran.nanos.append(&mut part.nanos);
        }
        Ok(ran)
    }

    fn produce_one(
        &self,
        producer: &mut dyn crate::contender::Producer,
        payload: &Payload,
        number: usize,
    ) -> Result<Part> {
        let most = (self.most_bytes / (self.producers * self.record_bytes) as u64).max(1);
        let mut records: Vec<&[u8]> = Vec::with_capacity(self.batch);
        let mut tally = Tally::default();
        let mut nanos = Vec::new();
        // Producers do not all write the same records.
        let mut next = number * 7_919;
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs_f64(self.seconds);
        let mut now = begun;
        while now < deadline && tally.records < most {
            let appends = if self.timed { 1 } else { UNTIMED };
            for _ in 0..appends {
                records.clear();
                for _ in 0..self.batch {
                    records.push(payload.record(next));
                    tally.wrote(payload, next);
                    next += 1;
                }
                producer.append(&records)?;
            }
            let before = std::mem::replace(&mut now, Instant::now());
            if self.timed {
                nanos.push((now - before).as_nanos() as u64);
            }
        }
        Ok(Part { begun, ended: now, tally, nanos })
    }
}

struct Part {
    begun: Instant,
    ended: Instant,
    tally: Tally,
    nanos: Vec<u64>,
}

/// What all producers together did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) tally: Tally,
    pub(crate) seconds: f64,
    /// Of every append, if they were timed.
    pub(crate) nanos: Vec<u64>,
}

impl Ran {
    pub(crate) fn sample(mut self) -> Sample {
        let mut sample = vec![("rate", self.tally.records as f64 / self.seconds)];
        if !self.nanos.is_empty() {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                sample.push((name, percentile(&mut self.nanos, share) as f64 / 1e3));
            }
        }
        sample
    }
}

/// Appends records in large batches, by one producer.
pub(crate) fn fill(store: &dyn Store, payload: &Payload, bytes: u64) -> Result<Tally> {
    fill_in(store, payload, bytes, (FILL_CALL_BYTES / payload.record_bytes).max(1))
}

/// As [`fill`], in appends not smaller than those of `batch` records that will be measured.
pub(crate) fn warm_up(store: &dyn Store, payload: &Payload, bytes: u64, batch: usize) -> Result<Tally> {
    fill_in(store, payload, bytes, batch.max(WARM_UP_CALL_BYTES / payload.record_bytes))
}

/// Appends records in batches of `batch`, by one producer.
pub(crate) fn fill_in(store: &dyn Store, payload: &Payload, bytes: u64, batch: usize) -> Result<Tally> {
    let mut producer = store.producer(0)?;
    let mut tally = Tally::default();
    let due = bytes.div_ceil(payload.record_bytes as u64);
    let mut records = Vec::with_capacity(batch);
    while tally.records < due {
        records.clear();
        for _ in 0..batch.min((due - tally.records) as usize) {
            let n = tally.records as usize;
            records.push(payload.record(n));
            tally.wrote(payload, n);
        }
        producer.append(&records)?;
    }
    Ok(tally)
}

/// Nobody is timed for doing nothing: what was appended is there, or, where a store recycles, what is
/// there was appended.
pub(crate) fn read_back(store: &dyn Store, payload: &Payload, wrote: Tally) -> Result<()> {
    let mut read = Tally::default();
    let replayed = store.replay(&mut |record| read.read(payload, record)).context("read back")?;
    ensure!(
        read.strangers == 0,
        "read back {} records, of which {} were never written",
        read.records,
        read.strangers
    );
    match replayed {
        Replayed::All => ensure!(read == wrote, "expected {wrote:?} to be read back, found {read:?}"),
        Replayed::Rest => ensure!(
            read.records > 0 && read.records <= wrote.records,
            "expected some of {} records to be read back, found {}",
            wrote.records,
            read.records
        ),
    }
    Ok(())
}
