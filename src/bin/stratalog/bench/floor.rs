//! The least that each work can cost: loops that do what it needs of the disk, the kernel and the
//! processor, and nothing else.

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use stratalog::storage::{Access, DiskStorage, Storage, StorageFile};

use super::pace::{Calls, Pace, Slice};
use super::random::Random;
use super::work::{BATCH, IN_FLIGHT, PASS_BYTES, Work};
use crate::failure::{CliError, Exit};
use crate::stop::Stop;

const NAME: &str = "floor";
/// The memory that stands in for the map where only the processor is measured: far more than its caches.
const MEMORY_BYTES: usize = 16 << 20;
/// Records between two looks at the clock where each takes a fraction of a microsecond.
pub(super) const REPLAY_STEP: usize = 1024;

pub(super) struct Floor<'a> {
    path: PathBuf,
    storage: DiskStorage,
    record: Vec<u8>,
    /// Every record of the log that is read, as a piece of its map.
    mapped: Vec<Bytes>,
    memory: Vec<u8>,
    random: Random,
    stop: &'a Stop,
}

/// Writes on through a file of zeros, again from its start when it is full.
struct Tape {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    position: u64,
}

impl<'a> Floor<'a> {
    pub(super) fn prepare(
        dir: &Path,
        record_bytes: u32,
        mapped: Vec<Bytes>,
        stop: &'a Stop,
    ) -> Result<Self, CliError> {
        let storage = DiskStorage::existing(dir).map_err(|error| CliError::log(&error, dir))?;
        let path = dir.join(NAME);
        let file = storage.create(NAME, PASS_BYTES).map_err(|error| CliError::io("create", &path, &error))?;
        file.sync().map_err(|error| CliError::io("sync", &path, &error))?;
        Ok(Floor {
            path,
            storage,
            record: vec![7; record_bytes as usize],
            mapped,
            memory: vec![1; MEMORY_BYTES],
            random: Random::new(),
            stop,
        })
    }

    /// The floor of one kind of work; `None` if it has none.
    pub(super) fn slice(&mut self, work: Work, length: Duration) -> Result<Option<Slice>, CliError> {
        let slice = match work {
            Work::Durable => self.durable(work, 1, length),
            Work::DurableBatches => self.durable(work, BATCH, length),
            Work::InFlight => self.durable(work, IN_FLIGHT, length),
            Work::Producers(producers) => self.grouped(producers, length),
            Work::Unsynced => self.unsynced(work, length),
            Work::UnsyncedBatches => self.unsynced_batches(work, length),
            Work::Replay => self.replay(work, length),
            Work::Point => self.point(work, length),
            Work::Open => return Ok(None),
        };
        slice.map(Some)
    }

    fn pace(&self, work: Work, length: Duration, step_bytes: u64) -> Pace<'a> {
        let most = PASS_BYTES / step_bytes.max(1);
        Pace { length, most, timed_of: work.timed_of(), stop: self.stop }
    }

    /// A new map each time: the pages of the last pass are clean and not mapped.
    fn tape(&self) -> Result<Tape, CliError> {
        let file = self.storage.open(NAME, Access::Write);
        let file = file.map_err(|error| CliError::io("open", &self.path, &error))?;
        Ok(Tape { file, path: self.path.clone(), position: 0 })
    }

    /// So many records gathered, written and synced.
    fn durable(&self, work: Work, records: u64, length: Duration) -> Result<Slice, CliError> {
        let mut tape = self.tape()?;
        let mut gathered = Vec::new();
        let mut calls = Calls::default();
        let pace = self.pace(work, length, records * self.record.len() as u64);
        let mut slice = pace.run(|| {
            gathered.clear();
            (0..records).for_each(|_| gathered.extend_from_slice(&self.record));
            calls.add(tape.write_and_sync(&gathered)?);
            Ok(records)
        })?;
        (slice.calls, slice.syncs) = (calls, calls.syncs);
        Ok(slice)
    }

    fn grouped(&self, producers: u32, length: Duration) -> Result<Slice, CliError> {
        let combiner = Combiner::new(self.tape()?);
        let producer = |_| || combiner.commit(&self.record).map(|()| 1);
        let work = Work::Producers(producers);
        let pace = self.pace(work, length, self.record.len() as u64);
        let mut slice = pace.run_threads((0..producers).map(producer).collect())?;
        slice.calls = combiner.calls();
        slice.syncs = slice.calls.syncs;
        Ok(slice)
    }

    fn unsynced(&self, work: Work, length: Duration) -> Result<Slice, CliError> {
        let mut tape = self.tape()?;
        let pace = self.pace(work, length, self.record.len() as u64 + 8);
        let slice = pace.run(|| {
            let checksum = u64::from(crc32fast::hash(&self.record));
            tape.store(&checksum.to_le_bytes())?;
            tape.store(&self.record)?;
            Ok(1)
        })?;
        tape.sync()?;
        Ok(slice)
    }

    fn unsynced_batches(&self, work: Work, length: Duration) -> Result<Slice, CliError> {
        let mut tape = self.tape()?;
        let mut gathered = Vec::new();
        let pace = self.pace(work, length, BATCH * (self.record.len() as u64 + 8));
        let slice = pace.run(|| {
            gathered.clear();
            for _ in 0..BATCH {
                let checksum = u64::from(crc32fast::hash(&self.record));
                gathered.extend_from_slice(&checksum.to_le_bytes());
                gathered.extend_from_slice(&self.record);
            }
            tape.write(&gathered)?;
            Ok(BATCH)
        })?;
        tape.sync()?;
        Ok(slice)
    }

    /// The processor's part of an unsynced append: CRC and a copy, into memory that has its pages.
    pub(super) fn in_memory(&mut self, length: Duration) -> Result<Slice, CliError> {
        let pace = Pace { length, most: u64::MAX, timed_of: Some(16), stop: self.stop };
        let (memory, record) = (&mut self.memory, &self.record);
        let mut position = 0;
        pace.run(|| {
            if position + record.len() > memory.len() {
                position = 0;
            }
            black_box(crc32fast::hash(black_box(record)));
            if let Some(place) = memory.get_mut(position..position + record.len()) {
                place.copy_from_slice(record);
            }
            position += record.len();
            Ok(1)
        })
    }

    fn replay(&self, work: Work, length: Duration) -> Result<Slice, CliError> {
        let mut records = self.mapped.iter();
        Pace { most: u64::MAX, ..self.pace(work, length, 1) }.run(|| {
            let mut read = 0;
            for record in records.by_ref().take(REPLAY_STEP) {
                black_box(crc32fast::hash(record));
                read += 1;
            }
            if read == 0 {
                records = self.mapped.iter();
            }
            Ok(read)
        })
    }

    fn point(&mut self, work: Work, length: Duration) -> Result<Slice, CliError> {
        let pace = Pace { most: u64::MAX, ..self.pace(work, length, 1) };
        let (mapped, random) = (&self.mapped, &mut self.random);
        pace.run(|| {
            let record = mapped.get(random.below(mapped.len() as u64) as usize);
            black_box(crc32fast::hash(record.map_or(&[], |record| record)));
            Ok(1)
        })
    }
}

impl Tape {
    fn place(&mut self, bytes: usize) -> u64 {
        if self.position + bytes as u64 > PASS_BYTES {
            self.position = 0;
        }
        let place = self.position;
        self.position += bytes as u64;
        place
    }

    fn failed(&self, operation: &str, error: &io::Error) -> CliError {
        CliError::io(operation, &self.path, error)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let place = self.place(bytes.len());
        self.file.write_at(bytes, place).map_err(|error| self.failed("write", &error))
    }

    /// Through the map where the file system keeps its blocks, as the log does.
    fn store(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let place = self.place(bytes.len());
        self.file.store_at(bytes, place).map_err(|error| self.failed("write", &error))
    }

    fn sync(&self) -> Result<(), CliError> {
        self.file.sync().map_err(|error| self.failed("sync", &error))
    }

    fn write_and_sync(&mut self, bytes: &[u8]) -> Result<Calls, CliError> {
        let begun = Instant::now();
        self.write(bytes)?;
        let written = Instant::now();
        self.sync()?;
        Ok(Calls { writing: written - begun, syncing: written.elapsed(), syncs: 1 })
    }
}

/// A plain group commit: the first who finds nobody at work writes and syncs what all have staged,
/// the others wait.
struct Combiner {
    state: Mutex<Staged>,
    committed: Condvar,
    tape: Mutex<(Tape, Calls)>,
}

#[derive(Default)]
struct Staged {
    bytes: Vec<u8>,
    /// The memory of the last group, to be used again.
    spare: Vec<u8>,
    /// The group that is gathered now; all before `committed` are done.
    group: u64,
    committed: u64,
    at_work: bool,
    failed: bool,
}

impl Combiner {
    fn new(tape: Tape) -> Combiner {
        let tape = Mutex::new((tape, Calls::default()));
        Combiner { state: Mutex::default(), committed: Condvar::new(), tape }
    }

    fn calls(&self) -> Calls {
        self.tape.lock().1
    }

    fn commit(&self, record: &[u8]) -> Result<(), CliError> {
        let mut state = self.state.lock();
        state.bytes.extend_from_slice(record);
        let mine = state.group;
        while state.committed <= mine {
            if state.failed {
                return Err(CliError::new(Exit::Failed, "a write of another producer failed"));
            }
            if state.at_work {
                self.committed.wait(&mut state);
                continue;
            }
            state.at_work = true;
            state.group += 1;
            let spare = std::mem::take(&mut state.spare);
            let mut bytes = std::mem::replace(&mut state.bytes, spare);
            drop(state);
            let written = self.write(&bytes);
            bytes.clear();
            state = self.state.lock();
            state.spare = bytes;
            state.at_work = false;
            state.failed |= written.is_err();
            state.committed = state.group;
            self.committed.notify_all();
            written?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        let (tape, calls) = &mut *self.tape.lock();
        calls.add(tape.write_and_sync(bytes)?);
        Ok(())
    }
}
