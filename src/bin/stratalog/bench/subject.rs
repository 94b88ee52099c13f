//! The log, at each kind of work.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stratalog::{Batch, Durability, Log, Options, PendingAppend, SeqId, StreamId};

use super::floor::REPLAY_STEP;
use super::pace::{Pace, Slice};
use super::random::Random;
use super::work::{BATCH, IN_FLIGHT, PASS_BYTES, Work};
use crate::failure::{CliError, Exit};
use crate::latency::Latencies;
use crate::stop::Stop;

const STREAM: StreamId = StreamId::from_u128(1);
/// The log that is read, and the one that is opened.
const READ_BYTES: u64 = 32 << 20;
const READ_RECORDS: u64 = 250_000;
/// A young log's segments are small; behind so many bytes they have their full size.
const YOUNG_BYTES: usize = 22 << 20;
const FILLER_BYTES: usize = 1 << 20;
/// How long the next segment may take to be ready.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Subject<'a> {
    durable: Written,
    unsynced: Written,
    read: Log,
    read_dir: PathBuf,
    /// Closed, but for the moments in which it is opened.
    closed_dir: PathBuf,
    record: Vec<u8>,
    random: Random,
    stop: &'a Stop,
}

/// A log that is appended to.
struct Written {
    log: Log,
    dir: PathBuf,
}

impl<'a> Subject<'a> {
    pub(super) fn prepare(dir: &Path, record_bytes: u32, stop: &'a Stop) -> Result<Self, CliError> {
        let record = vec![7; record_bytes as usize];
        let (read_dir, closed_dir) = (dir.join("read"), dir.join("closed"));
        fill(&closed_dir, &record, stop)?;
        fill(&read_dir, &record, stop)?;
        let read = Log::open(&read_dir).map_err(|error| CliError::log(&error, &read_dir))?;
        let durable = Written::new(dir.join("durable"), Durability::Sync, stop)?;
        let unsynced = Written::new(dir.join("unsynced"), Durability::Buffered, stop)?;
        Ok(Subject { durable, unsynced, read, read_dir, closed_dir, record, random: Random::new(), stop })
    }

    /// Every record of the log that is read, as a piece of its map: the same bytes for the floor.
    pub(super) fn mapped(&self) -> Result<Vec<Bytes>, CliError> {
        let failed = |error| CliError::log(&error, &self.read_dir);
        let records = self.read.reader(..).map_err(failed)?;
        records.map(|record| record.map(|record| record.payload).map_err(failed)).collect()
    }

    pub(super) fn slice(&mut self, work: Work, length: Duration) -> Result<Slice, CliError> {
        match work {
            Work::Durable => self.append(&self.durable, work, 1, length),
            Work::DurableBatches => self.append(&self.durable, work, BATCH, length),
            Work::Producers(producers) => self.producers(producers, length),
            Work::InFlight => self.in_flight(length),
            Work::Unsynced => self.append(&self.unsynced, work, 1, length),
            Work::UnsyncedBatches => self.append(&self.unsynced, work, BATCH, length),
            Work::Replay => self.replay(length),
            Work::Point => self.point(length),
            Work::Open => self.open(length),
        }
    }

    fn pace(&self, length: Duration, step_bytes: u64, timed_of: Option<u64>) -> Pace<'a> {
        Pace { length, most: PASS_BYTES / step_bytes.max(1), timed_of, stop: self.stop }
    }

    fn append(&self, to: &Written, work: Work, records: u64, length: Duration) -> Result<Slice, CliError> {
        let mut batch = Batch::new();
        let pace = self.pace(length, records * self.record.len() as u64, work.timed_of());
        let step = || {
            batch.clear();
            (0..records).for_each(|_| batch.push(&self.record));
            to.append(&batch).map(|()| records)
        };
        to.counted(|| pace.run(step))
    }

    fn producers(&self, producers: u32, length: Duration) -> Result<Slice, CliError> {
        let producer = |_| {
            let mut batch = Batch::new();
            move || {
                batch.clear();
                batch.push(&self.record);
                self.durable.append(&batch).map(|()| 1)
            }
        };
        let pace = self.pace(length, self.record.len() as u64, Some(1));
        self.durable.counted(|| pace.run_threads((0..producers).map(producer).collect()))
    }

    /// Each is timed from its submission to the moment its outcome is known here.
    fn in_flight(&self, length: Duration) -> Result<Slice, CliError> {
        let to = &self.durable;
        let mut batch = Batch::new();
        let mut latencies = Latencies::default();
        let mut on_their_way: VecDeque<(PendingAppend, Instant)> = VecDeque::new();
        let mut wait = |(pending, begun): (PendingAppend, Instant)| {
            pending.wait().map_err(|error| to.failed(&error))?;
            latencies.add(begun.elapsed());
            Ok::<(), CliError>(())
        };
        let pace = self.pace(length, self.record.len() as u64, None);
        let begun = Instant::now();
        let mut slice = to.counted(|| {
            let slice = pace.run(|| {
                if on_their_way.len() as u64 >= IN_FLIGHT {
                    on_their_way.pop_front().map_or(Ok(()), &mut wait)?;
                }
                batch.clear();
                batch.push(&self.record);
                let begun = Instant::now();
                let pending = to.log.submit(STREAM, &batch).map_err(|error| to.failed(&error))?;
                on_their_way.push_back((pending, begun));
                Ok(1)
            });
            on_their_way.drain(..).try_for_each(&mut wait)?;
            slice.map(|slice| Slice { taken: begun.elapsed(), ..slice })
        })?;
        slice.latencies = latencies;
        Ok(slice)
    }

    fn replay(&self, length: Duration) -> Result<Slice, CliError> {
        let failed = |error| CliError::log(&error, &self.read_dir);
        let mut reader = self.read.reader(..).map_err(failed)?;
        Pace { length, most: u64::MAX, timed_of: None, stop: self.stop }.run(|| {
            let mut read = 0;
            for record in reader.by_ref().take(REPLAY_STEP) {
                black_box(record.map_err(failed)?);
                read += 1;
            }
            if read == 0 {
                reader = self.read.reader(..).map_err(failed)?;
            }
            Ok(read)
        })
    }

    fn point(&mut self, length: Duration) -> Result<Slice, CliError> {
        let (log, dir, random) = (&self.read, &self.read_dir, &mut self.random);
        let records = log.committed().0;
        let pace = Pace { length, most: u64::MAX, timed_of: Work::Point.timed_of(), stop: self.stop };
        pace.run(|| {
            let seq_id = SeqId(random.below(records) + 1);
            match log.record(seq_id).map_err(|error| CliError::log(&error, dir))? {
                Some(record) => black_box(record),
                None => {
                    let found =
                        format!("expected a record at SeqId {seq_id} of {}, found none", dir.display());
                    return Err(CliError::new(Exit::Failed, found));
                }
            };
            Ok(1)
        })
    }

    /// The closes between are not timed.
    fn open(&self, length: Duration) -> Result<Slice, CliError> {
        let failed = |error| CliError::log(&error, &self.closed_dir);
        let mut latencies = Latencies::default();
        let mut taken = Duration::ZERO;
        let pace = Pace { length, most: u64::MAX, timed_of: None, stop: self.stop };
        let slice = pace.run(|| {
            let begun = Instant::now();
            let log = Log::open(&self.closed_dir).map_err(failed)?;
            let time = begun.elapsed();
            latencies.add(time);
            taken += time;
            log.close().map_err(failed)?;
            Ok(1)
        })?;
        Ok(Slice { latencies, taken, ..slice })
    }
}

impl Written {
    /// A log whose next segment is ready, and of full size.
    fn new(dir: PathBuf, durability: Durability, stop: &Stop) -> Result<Written, CliError> {
        let log = Options::new().durability(durability).open(&dir);
        let log = log.map_err(|error| CliError::log(&error, &dir))?;
        let written = Written { log, dir };
        let filler = Batch::one(&vec![1; FILLER_BYTES]);
        for _ in 0..=YOUNG_BYTES / FILLER_BYTES {
            if stop.asked() {
                return Err(super::interrupted());
            }
            written.append(&filler)?;
            written.wait_for_spare();
        }
        written.settle()?;
        Ok(written)
    }

    fn failed(&self, error: &stratalog::Error) -> CliError {
        CliError::log(error, &self.dir)
    }

    fn append(&self, batch: &Batch) -> Result<(), CliError> {
        self.log.append(STREAM, batch).map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// With the syncs that the log counted meanwhile. Ends when nothing of it is left to be done, lest
    /// the next one pay for it.
    fn counted(&self, run: impl FnOnce() -> Result<Slice, CliError>) -> Result<Slice, CliError> {
        let before = self.log.counters();
        let mut slice = run()?;
        slice.syncs = self.log.counters().syncs - before.syncs;
        self.settle()?;
        Ok(slice)
    }

    fn settle(&self) -> Result<(), CliError> {
        self.log
            .sync()
            .and_then(|()| self.log.purge(STREAM, self.log.committed()))
            .map_err(|error| self.failed(&error))?;
        self.wait_for_spare();
        Ok(())
    }

    /// The segment that comes next is made in the background.
    fn wait_for_spare(&self) {
        let begun = Instant::now();
        while !self.dir.join("spare").exists() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes a log of `READ_BYTES`, and closes it.
fn fill(dir: &Path, record: &[u8], stop: &Stop) -> Result<(), CliError> {
    let failed = |error| CliError::log(&error, dir);
    let log = Options::new().durability(Durability::Buffered).open(dir).map_err(failed)?;
    let mut batch = Batch::new();
    (0..BATCH).for_each(|_| batch.push(record));
    let batches = (READ_BYTES / batch.frame_bytes() as u64).clamp(1, READ_RECORDS / BATCH);
    for _ in 0..batches {
        if stop.asked() {
            return Err(super::interrupted());
        }
        log.append(STREAM, &batch).map_err(failed)?;
    }
    log.close().map_err(failed)
}
