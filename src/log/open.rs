//! Opening.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoints::{self, Checkpoints};
use super::directory::Survey;
use super::follow::LOOKS;
use super::producers::Producers;
use super::recovery::{self, RecoveryReport};
use super::registry::Registry;
use super::replay::{Replay, Scan, Start, Verdict};
use super::streams::Streams;
use super::tail::{Group, Hurry, Tail};
use super::watch::{Signal, Watch};
use super::{CheckpointSlot, Counters, Hints, Inner, Log, Shared, background, spare};
use crate::error::{Error, Result};
use crate::format::checkpoint::StreamTable;
use crate::format::control::Control;
use crate::ids::SeqId;
use crate::options::Options;
use crate::segment::scan::read_header;
use crate::segment::{Home, Segment, names};
use crate::storage::{Access, DiskStorage, Storage, StorageLock};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, RwLock};

/// Everything known of a log before a frame behind the checkpoint was read.
struct Found {
    home: Arc<Home>,
    survey: Survey,
    checkpoints: Checkpoints,
    start: Start,
}

impl Found {
    /// What the checkpoint says beside its tables.
    fn known(&self) -> (StreamTable, Registry, Producers) {
        let (mut registry, mut producers) = (Registry::default(), Producers::default());
        let Some(newest) = &self.checkpoints.newest else {
            return (StreamTable::default(), registry, producers);
        };
        for control in &newest.controls {
            match control {
                Control::Produced(last) => producers.set(*last),
                other => registry.apply(other),
            }
        }
        (newest.streams.clone(), registry, producers)
    }

    /// Every segment that should be there is, and no other, once it is known which ones were freed.
    fn check_segments(&mut self, registry: &Registry) -> Result<()> {
        let freed = |base: &u64| registry.is_freed(*base);
        (self.survey.freed, self.survey.segments) =
            std::mem::take(&mut self.survey.segments).into_iter().partition(freed);
        match &self.checkpoints.newest {
            None => Ok(()),
            Some(newest) => {
                self.survey.check_present(newest.segments().filter(|base| !freed(base)))?;
                self.survey.check_known(newest)
            }
        }
    }
}

/// Who opens the log.
#[derive(Debug, Clone, Copy)]
enum Who {
    Writes,
    Reads,
}

fn find(options: &Options, storage: Arc<dyn Storage>, who: Who) -> Result<Found> {
    let mut survey = Survey::of(storage.as_ref())?;
    let checkpoints = checkpoints::load(storage.as_ref(), options.read_mode, |name| {
        survey.checkpoints.iter().any(|n| n == name)
    })?;
    let log_id = match (&checkpoints.newest, survey.segments.first()) {
        (Some(newest), _) => Some(newest.head.log_id),
        (None, Some(base)) => {
            let name = names::segment(*base);
            let file = storage.open(&name, Access::Read).map_err(|e| Error::io("open", &name, e))?;
            Some(read_header(file.as_ref(), &name)?.log_id)
        }
        (None, None) => match who {
            Who::Writes => Some(random_id(storage.as_ref())),
            Who::Reads => None,
        },
    };
    let start = match &checkpoints.newest {
        Some(newest) => {
            // Looked at once more: a writer at work may have begun segments before this checkpoint
            // and behind the first look.
            if matches!(who, Who::Reads) {
                survey = Survey::of(storage.as_ref())?;
            }
            survey.check_present(newest.segments().filter(|base| *base == newest.head.scan_base))?;
            Start::at(newest)
        }
        None => {
            // Without a checkpoint all of the log is scanned, and that begins at 1.
            if let Some(base) = survey.segments.first().filter(|base| **base != 1) {
                return Err(Error::corrupt(
                    names::segment(1),
                    0,
                    "this segment: without a checkpoint the log is read from it on",
                    format!(
                        "no such file and no good checkpoint, the first segment here is {}; restore one of \
                         them, or run a repair",
                        names::segment(*base)
                    ),
                ));
            }
            Start::FIRST
        }
    };
    let home = Home::new(storage, log_id, options.read_mode);
    Ok(Found { home, survey, checkpoints, start })
}

fn random_id(storage: &dyn Storage) -> [u8; 16] {
    let mut id = [0; 16];
    let (head, rest) = id.split_at_mut(8);
    head.copy_from_slice(&storage.random().to_le_bytes());
    rest.copy_from_slice(&storage.random().to_le_bytes());
    id
}

impl Options {
    /// Opens the log in `directory` for writing, makes it if it isn't there, and recovers it
    /// after a crash. See [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`], and [`Error::Invalid`] for options out of range.
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<Log> {
        self.validate()?;
        self.open_storage(Arc::new(DiskStorage::create(directory.as_ref())?))
    }

    /// Opens the log in `directory` for reading only: takes no lock, writes nothing, and can be
    /// used while another process writes. See [`Log::open_read_only`].
    ///
    /// # Errors
    /// As [`Log::open_read_only`].
    pub fn open_read_only(&self, directory: impl AsRef<Path>) -> Result<Log> {
        self.validate()?;
        self.open_storage_read_only(Arc::new(DiskStorage::existing(directory.as_ref())?))
    }

    /// Opens the log in a storage of the caller's.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_storage(&self, storage: Arc<dyn Storage>) -> Result<Log> {
        self.validate()?;
        Log::open_with(self.clone(), storage)
    }

    /// Opens the log in a storage of the caller's for reading only.
    ///
    /// # Errors
    /// As [`Log::open_read_only`].
    pub fn open_storage_read_only(&self, storage: Arc<dyn Storage>) -> Result<Log> {
        self.validate()?;
        Log::open_read_only_with(self.clone(), storage)
    }
}

impl Log {
    fn open_with(options: Options, storage: Arc<dyn Storage>) -> Result<Log> {
        // Looked at before the lock file is made or written to: what isn't ours is not touched. Where a
        // checkpoint is, and a lock file that is no link, it is a log, and its list may be long.
        let is_file = |name: &str| storage.open(name, Access::Read).is_ok();
        if !(is_file(names::LOCK) && names::CHECKPOINTS.into_iter().any(is_file)) {
            Survey::of(storage.as_ref())?;
        }
        let lock = storage.lock()?;
        let mut found = find(&options, Arc::clone(&storage), Who::Writes)?;
        let (table, mut registry, mut producers) = found.known();
        let mut streams = Streams::new(table);
        let Found { home, start, .. } = &found;
        let (home, start) = (Arc::clone(home), *start);
        let scan = Scan::new(&home, &found.survey.segments, Some(&mut streams), Verdict::Judge, start);
        let mut replay = scan.run(start)?;
        replay.controls.iter().for_each(|(_, control)| registry.apply(control));
        replay.produced.iter().for_each(|produced| producers.set(*produced));
        found.check_segments(&registry)?;
        let Found { survey, checkpoints, .. } = found;
        let mut report = RecoveryReport {
            last_seq_id: SeqId(replay.next_seq - 1),
            scanned_bytes: replay.bytes,
            scanned_records: replay.records,
            damaged_checkpoints: checkpoints.damaged.iter().map(ToString::to_string).collect(),
            ..RecoveryReport::default()
        };
        let segments = recovery::settle(&home, &survey, &registry, &start, &mut replay, &mut report)?;
        let closed = checkpoints.newest.as_ref().map_or(survey.is_new(), |newest| newest.head.clean);
        report.clean = closed && replay.next_seq == start.next_seq && report.torn.is_none();

        let spare = survey.spare.then(|| spare::adopt(storage.as_ref(), &options)).flatten();
        let capacity = spare::first_capacity(spare.as_ref(), options.segment_bytes);
        let tail = tail(&replay, streams, producers, capacity);
        let generation = checkpoints.newest.as_ref().map_or(0, |newest| newest.head.generation);
        let inner = build(options, home, report, tail, registry, segments, &replay, &start, Some(lock));
        *inner.spare.lock() = spare;
        *inner.checkpoint_slot.lock() = CheckpointSlot { generation, scan_bases: checkpoints.scan_bases };
        let inner = Arc::new(inner);
        let threads = background::start(&inner)?;
        Ok(Log { shared: Arc::new(Shared { inner, threads: Mutex::new(threads) }) })
    }

    /// A writer that frees segments may overtake who looks at its directory: then look again.
    fn open_read_only_with(options: Options, storage: Arc<dyn Storage>) -> Result<Log> {
        let mut outcome = Err(Error::Closed);
        for _ in 0..LOOKS {
            outcome = Log::look(options.clone(), Arc::clone(&storage));
            let overtaken = |error: &Error| error.is_corruption() || error.is_not_found();
            if !outcome.as_ref().is_err_and(overtaken) {
                break;
            }
        }
        outcome
    }

    fn look(options: Options, storage: Arc<dyn Storage>) -> Result<Log> {
        let mut found = find(&options, storage, Who::Reads)?;
        let (table, registry, producers) = found.known();
        let Found { home, start, survey, checkpoints } = &found;
        let (home, start) = (Arc::clone(home), *start);
        let segments = sealed_before(&home, survey, &registry, start.base);
        let replay = Scan::new(&home, &[], None, Verdict::Follow, start).run(start)?;
        let report = RecoveryReport {
            clean: start.clean,
            damaged_checkpoints: checkpoints.damaged.iter().map(ToString::to_string).collect(),
            ..RecoveryReport::default()
        };
        let mut tail = tail(&replay, Streams::new(table), producers, options.segment_bytes);
        tail.stopped =
            Some(Error::Invalid("the log was opened for reading only; open it for writing to append".into()));
        let mut inner = build(options, home, report, tail, registry, segments, &replay, &start, None);
        inner.follow = Some(Mutex::new(start));
        inner.refresh(Verdict::Follow)?;
        found.check_segments(&inner.registry.read())?;
        inner.report.last_seq_id = SeqId(inner.committed.load(Ordering::Acquire));
        Ok(Log { shared: Arc::new(Shared { inner: Arc::new(inner), threads: Mutex::new(Vec::new()) }) })
    }
}

/// The segments before the one in which a scan begins.
pub(super) fn sealed_before(
    home: &Arc<Home>,
    survey: &Survey,
    registry: &Registry,
    scan_base: u64,
) -> Vec<Arc<Segment>> {
    let below = survey.segments.iter().copied().take_while(|base| *base < scan_base);
    let below: Vec<u64> = below.filter(|base| !registry.is_freed(*base)).collect();
    let ends = below.iter().skip(1).copied().chain([scan_base]);
    let sealed =
        |(base, next): (&u64, u64)| Arc::new(Segment::sealed(home, *base, registry.end_of(*base, next)));
    below.iter().zip(ends).map(sealed).collect()
}

fn tail(replay: &Replay, streams: Streams, producers: Producers, planned_capacity: u64) -> Tail {
    Tail {
        next_seq: replay.next_seq,
        last_micros: replay.last_micros,
        streams,
        producers,
        spot: None,
        planned_capacity,
        active: None,
        lock: None,
        group: Group::default(),
        idle: None,
        head: Vec::new(),
        queued_bytes: 0,
        leading: false,
        crowd: 0,
        awaited: None,
        hurry: Hurry::default(),
        sync_time: Duration::ZERO,
        sync_bytes: 0,
        called: false,
        unwitnessed: false,
        setbacks: 0,
        stopped: None,
    }
}

#[allow(clippy::too_many_arguments)]
fn build(
    options: Options,
    home: Arc<Home>,
    report: RecoveryReport,
    tail: Tail,
    registry: Registry,
    segments: Vec<Arc<Segment>>,
    replay: &Replay,
    start: &Start,
    lock: Option<Box<dyn StorageLock>>,
) -> Inner {
    let table = tail.streams.table().clone();
    Inner {
        checkpoint_due: AtomicU64::new(options.checkpoint_bytes),
        options,
        home,
        report,
        tail: Mutex::new(Tail { lock, ..tail }),
        room: Condvar::new(),
        work: Condvar::new(),
        segments: RwLock::new(Arc::new(segments)),
        committed: AtomicU64::new(replay.next_seq - 1),
        // After recovery nothing is in doubt any more.
        durable: AtomicU64::new(replay.next_seq - 1),
        tail_moved: Watch::default(),
        spare: Mutex::new(None),
        kept: Mutex::default(),
        spare_wanted: AtomicBool::new(false),
        duty: Signal::default(),
        syncing: Mutex::default(),
        checkpointing: Mutex::new(()),
        checkpoint_slot: Mutex::new(CheckpointSlot::default()),
        // Replayed bytes count: a log that crashes again and again still moves its checkpoint.
        since_checkpoint: AtomicU64::new(replay.bytes),
        hints: RwLock::new(Hints { table, next_seq: start.next_seq }),
        purges: AtomicU64::new(u64::from(registry.any_purged())),
        registry: RwLock::new(registry),
        holding: Mutex::new(()),
        freeing: Mutex::new(Vec::new()),
        unindexed: Mutex::new(Vec::new()),
        counters: Counters::default(),
        background_error: Mutex::new(None),
        follow: None,
        listeners: super::listen::Listeners::default(),
    }
}
