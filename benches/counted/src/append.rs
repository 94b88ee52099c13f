//! Appends: each durability, alone and in batches, and by many at once.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use anyhow::Result;
use stratalog::{Batch, Durability, Log, Options, Upkeep};

use crate::payload::{STREAMS, batch, payload, stream};
use crate::region::region;
use crate::work::{Bar, COMMIT, Count, Ground, Outcome, RECORD, Work};

const EACH: &[(Count, &str, Bar)] = &[
    (Count::Instructions, RECORD, Bar::Held),
    (Count::Allocations, COMMIT, Bar::Held),
    (Count::SystemCalls, COMMIT, Bar::Held),
    (Count::PageFaults, COMMIT, Bar::Held),
];

const FLYING: &[(Count, &str, Bar)] = &[
    (Count::Instructions, RECORD, Bar::Held),
    (Count::Allocations, RECORD, Bar::Held),
    (Count::SystemCalls, RECORD, Bar::Held),
];
const CROWD: &[(Count, &str, Bar)] =
    &[(Count::Allocations, RECORD, Bar::Shown), (Count::SystemCalls, RECORD, Bar::Shown)];

pub(crate) const WORKS: &[Work] = &[
    one("append sync 256", |g| append(g, Durability::Sync, 256)),
    one("append sync 2048", |g| append(g, Durability::Sync, 2048)),
    one("append every 2048", |g| append(g, EVERY, 2048)),
    one("append buffered 256", |g| append(g, Durability::Buffered, 256)),
    one("append buffered 2048", |g| append(g, Durability::Buffered, 2048)),
    one("append buffered 6656", |g| append(g, Durability::Buffered, 6656)),
    hundred("append 100 sync 2048", |g| append(g, Durability::Sync, 2048)),
    hundred("append 100 every 2048", |g| append(g, EVERY, 2048)),
    hundred("append 100 buffered 256", |g| append(g, Durability::Buffered, 256)),
    hundred("append 100 buffered 2048", |g| append(g, Durability::Buffered, 2048)),
    Work { name: "submit 256 in flight sync 256", times: 8, counts: FLYING, records: FLIGHT, run: in_flight },
    Work { name: "append with upkeep 2048", times: 8_000, counts: UPKEEP, records: 1, run: with_upkeep },
    crowd("64 producers sync 2048", |g| producers(g, Durability::Sync)),
    crowd("64 producers buffered 2048", |g| producers(g, Durability::Buffered)),
];

/// With all that the log's own threads would do: segments, indexes, checkpoints.
const UPKEEP: &[(Count, &str, Bar)] = &[(Count::Instructions, RECORD, Bar::Held)];

const EVERY: Durability = Durability::SyncEvery(Duration::from_millis(200));
const FLIGHT: u64 = 256;
const PRODUCERS: u64 = 64;

const fn one(name: &'static str, run: fn(&Ground<'_>) -> Result<Outcome>) -> Work {
    Work { name, times: 1_000, counts: EACH, records: 1, run }
}

const fn hundred(name: &'static str, run: fn(&Ground<'_>) -> Result<Outcome>) -> Work {
    Work { name, times: 30, counts: EACH, records: 100, run }
}

const fn crowd(name: &'static str, run: fn(&Ground<'_>) -> Result<Outcome>) -> Work {
    Work { name, times: 50 * PRODUCERS, counts: CROWD, records: 1, run }
}

/// A log without threads that stands at the beginning of a segment with room for a region.
pub(crate) fn open(directory: &Path, durability: Durability) -> Result<Log> {
    let log = options(durability).open(directory)?;
    grow(&log)?;
    Ok(log)
}

pub(crate) fn options(durability: Durability) -> Options {
    Options::new().durability(durability).upkeep(Upkeep::Caller).segment_bytes(16 << 20)
}

/// Through the small segments with which a life begins: 1 MiB, 4 MiB.
fn grow(log: &Log) -> Result<()> {
    let filler = Batch::one(&payload(256 << 10));
    for _ in 0..24 {
        log.append(stream(0), &filler)?;
        log.tend()?;
    }
    Ok(())
}

fn append(ground: &Ground<'_>, durability: Durability, len: usize) -> Result<Outcome> {
    let log = open(ground.directory, durability)?;
    let record = payload(len);
    let mut batch = Batch::new();
    let mut times = |times: u64| -> Result<()> {
        for n in 0..times {
            batch.clear();
            (0..ground.records).for_each(|_| batch.push(&record));
            log.append(stream(n % STREAMS), &batch)?;
        }
        Ok(())
    };
    times(ground.times.min(STREAMS * 4))?;
    Ok(region(|| times(ground.times))?.into())
}

/// One thread that waits for none of its batches before all are on their way.
fn in_flight(ground: &Ground<'_>) -> Result<Outcome> {
    let log = open(ground.directory, Durability::Sync)?;
    let record = payload(256);
    let mut batch = Batch::new();
    let mut pending = Vec::with_capacity(ground.records as usize);
    let mut times = |times: u64| -> Result<()> {
        for _ in 0..times {
            for n in 0..ground.records {
                batch.clear();
                batch.push(&record);
                pending.push(log.submit(stream(n % STREAMS), &batch)?);
            }
            for pending in pending.drain(..) {
                pending.wait()?;
            }
        }
        Ok(())
    };
    times(2)?;
    Ok(region(|| times(ground.times))?.into())
}

fn with_upkeep(ground: &Ground<'_>) -> Result<Outcome> {
    let log = options(Durability::Buffered)
        .segment_bytes(1 << 20)
        .checkpoint_bytes(2 << 20)
        .open(ground.directory)?;
    let batch = batch(1, 2048);
    let times = |times: u64| -> Result<()> {
        for n in 0..times {
            log.append(stream(n % STREAMS), &batch)?;
            if n % 100 == 0 {
                log.tend()?;
            }
        }
        Ok(())
    };
    times(ground.times / 4)?;
    Ok(region(|| times(ground.times))?.into())
}

/// A log with threads of its own, as users have it.
fn producers(ground: &Ground<'_>, durability: Durability) -> Result<Outcome> {
    let options = Options::new().durability(durability).segment_bytes(16 << 20);
    let log = options.open(ground.directory)?;
    grow(&log)?;
    let each = ground.times / PRODUCERS;
    let [ready, begin, end, leave] = [(); 4].map(|()| Barrier::new(PRODUCERS as usize + 1));
    let work = |producer: u64| -> Result<()> {
        let batch = batch(1, 2048);
        let times = |times: u64| {
            (0..times).try_for_each(|_| log.append(stream(producer % STREAMS), &batch).map(drop))
        };
        let warm = times(each / 4);
        ready.wait();
        begin.wait();
        let done = times(each);
        end.wait();
        leave.wait();
        Ok(warm.and(done)?)
    };
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PRODUCERS).map(|n| scope.spawn(move || work(n))).collect();
        ready.wait();
        let told = region(|| {
            begin.wait();
            end.wait();
            Ok(())
        });
        leave.wait();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(told?.into())
    })
}
