//! A load on a log, in a process of its own: producers, a reader, and a keeper that moves cursors,
//! purges and makes checkpoints. Whatever it does it says before and after.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use stratalog::storage::DiskStorage;
use stratalog::{Appended, Error, Log, Options, SeqId, StreamId};

use crate::chance::Chance;
use crate::history::{Said, Voice};
use crate::payload::{self, BatchName};
use crate::unsynced::WithoutSync;

pub(crate) const STREAMS: u64 = 4;
pub(crate) const CURSOR: &str = "reader";

/// Producers begin nothing more once this is set.
pub(crate) static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LoadOptions {
    /// Directory of the log
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The file it says to what it does
    #[arg(long)]
    pub(crate) said: PathBuf,
    /// Tells apart the batches of several lives on one log
    #[arg(long, default_value_t = 1)]
    pub(crate) life: u64,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[arg(long, default_value_t = 3)]
    pub(crate) producers: u64,
    #[arg(long, default_value_t = 1000)]
    pub(crate) millis: u64,
    /// End after so many batches of each producer, if that comes first
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) batches: u64,
    /// Bytes of a segment
    #[arg(long, default_value_t = 1 << 20)]
    pub(crate) segment_bytes: u64,
    /// About how many SeqIds a purge leaves
    #[arg(long, default_value_t = 400)]
    pub(crate) keep: u64,
    /// Close the log at the end
    #[arg(long)]
    pub(crate) close: bool,
    /// Its syncs do nothing
    #[arg(long)]
    pub(crate) without_sync: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            dir: PathBuf::new(),
            said: PathBuf::new(),
            life: 1,
            seed: 1,
            producers: 3,
            millis: 1000,
            batches: u64::MAX,
            segment_bytes: 1 << 20,
            keep: 400,
            close: false,
            without_sync: false,
        }
    }
}

impl LoadOptions {
    /// The command line that gives these options.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let numbers = [
            ("--life", self.life),
            ("--seed", self.seed),
            ("--producers", self.producers),
            ("--millis", self.millis),
            ("--batches", self.batches),
            ("--segment-bytes", self.segment_bytes),
            ("--keep", self.keep),
        ];
        let flags = [("--close", self.close), ("--without-sync", self.without_sync)];
        let mut arguments: Vec<OsString> =
            vec!["--dir".into(), self.dir.clone().into(), "--said".into(), self.said.clone().into()];
        numbers.iter().for_each(|(name, value)| arguments.extend([(*name).into(), value.to_string().into()]));
        arguments.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| OsString::from(name)));
        arguments
    }
}

pub(crate) fn options(segment_bytes: u64) -> Options {
    Options::new().segment_bytes(segment_bytes).checkpoint_bytes(256 << 10)
}

pub(crate) fn stream(number: u64) -> StreamId {
    StreamId::from_u128(u128::from(number))
}

struct Load {
    log: Log,
    voice: Voice,
    options: LoadOptions,
    stop: AtomicBool,
    /// A call failed with [`Error::Poisoned`].
    poisoned: AtomicBool,
    /// Batches whose append failed.
    failed: Mutex<HashSet<BatchName>>,
}

/// Exit code 0 if every call succeeded or failed as it may.
pub(crate) fn run(options: LoadOptions) -> Result<()> {
    let voice = Voice::open(&options.said)?;
    let log = match open(&options) {
        Ok(log) => log,
        Err(error) => return voice.say(&failed(&error)),
    };
    voice.say(&Said::Open { last: log.committed().0 })?;
    let load = Arc::new(Load {
        log,
        voice,
        options,
        stop: AtomicBool::new(false),
        poisoned: AtomicBool::new(false),
        failed: Mutex::default(),
    });
    let mut threads = Vec::new();
    // Without one of them, for want of memory, the others are load enough.
    let mut start = |work: Box<dyn FnOnce() -> Result<()> + Send>| {
        threads.extend(thread::Builder::new().spawn(work).ok());
        threads.len()
    };
    let mut producers = 0;
    for producer in 0..load.options.producers {
        let own = Arc::clone(&load);
        producers = start(Box::new(move || own.produce(producer)));
    }
    let own = Arc::clone(&load);
    start(Box::new(move || own.keep()));
    let own = Arc::clone(&load);
    start(Box::new(move || own.read()));
    if producers == 0 {
        load.stop.store(true, Ordering::Relaxed);
    }
    let mut outcome = Ok(());
    for (at, thread) in threads.into_iter().enumerate() {
        let ended = thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the load panicked")));
        outcome = outcome.and(ended);
        if at + 1 == producers {
            load.stop.store(true, Ordering::Relaxed);
        }
    }
    outcome?;
    load.keeps_its_word()?;
    if load.options.close {
        match load.log.close() {
            Ok(()) => load.voice.say(&Said::Closed)?,
            Err(error) => load.voice.say(&failed(&error))?,
        }
    }
    Ok(())
}

fn open(options: &LoadOptions) -> stratalog::Result<Log> {
    let storage = DiskStorage::create(&options.dir)?;
    let how = self::options(options.segment_bytes);
    if options.without_sync {
        how.open_storage(Arc::new(WithoutSync(storage)))
    } else {
        how.open_storage(Arc::new(storage))
    }
}

pub(crate) fn failed(error: &Error) -> Said {
    Said::Failed { poisoned: matches!(error, Error::Poisoned(_)), why: error.to_string() }
}

impl Load {
    /// Up to three batches at a time; each one's outcome is said, whatever it is.
    fn produce(&self, producer: u64) -> Result<()> {
        let name = self.options.life * 1000 + producer;
        let mut chance = Chance::part(self.options.seed, name);
        let deadline = Instant::now() + Duration::from_millis(self.options.millis);
        let mut number = 0;
        let over = || self.stop.load(Ordering::Relaxed) || ASKED_TO_END.load(Ordering::Relaxed);
        while number < self.options.batches && Instant::now() < deadline && !over() {
            let at_once = if chance.one_in(3) { chance.between(2, 4) } else { 1 };
            let mut pending = Vec::new();
            for _ in 0..at_once {
                number += 1;
                let batch = BatchName { producer: name, number };
                let (count, stream) = (chance.between(1, 8) as u32, chance.between(1, STREAMS));
                self.voice.say(&Said::Append { batch, count, stream: u128::from(stream) })?;
                let content = payload::batch(batch, count);
                // Both ways in: the caller who leads a group, and the committer that is told to.
                let poisoned = self.poisoned.load(Ordering::SeqCst);
                if at_once == 1 {
                    self.appended(batch, self.log.append(self::stream(stream), &content), poisoned)?;
                } else {
                    pending.push((batch, self.log.submit(self::stream(stream), &content), poisoned));
                }
            }
            for (batch, outcome, poisoned) in pending {
                self.appended(batch, outcome.and_then(|pending| pending.wait()), poisoned)?;
            }
        }
        Ok(())
    }

    /// `poisoned`: the log had said before the call that it acknowledges nothing more.
    fn appended(&self, batch: BatchName, outcome: stratalog::Result<Appended>, poisoned: bool) -> Result<()> {
        match outcome {
            Ok(_) if poisoned => bail!("{batch:?} was acknowledged by a poisoned log"),
            Ok(appended) => self.voice.say(&Said::Appended {
                batch,
                first_seq: appended.first_seq_id.0,
                first_offset: appended.first_log_offset.0,
            }),
            Err(error) => {
                self.failed.lock().map_err(|_| anyhow::anyhow!("a producer panicked"))?.insert(batch);
                self.note(&error)
            }
        }
    }

    fn note(&self, error: &Error) -> Result<()> {
        if matches!(error, Error::Poisoned(_)) {
            self.poisoned.store(true, Ordering::SeqCst);
            self.stop.store(true, Ordering::Relaxed);
        } else if !matches!(error, Error::Io { .. }) {
            bail!("expected success or an error of the system, found: {error}");
        }
        self.voice.say(&failed(error))
    }

    /// After a failure: a poisoned log acknowledges nothing more; another one shows nothing of what
    /// failed, and goes on.
    fn keeps_its_word(&self) -> Result<()> {
        let failed = self.failed.lock().map_err(|_| anyhow::anyhow!("a producer panicked"))?;
        let poisoned = self.poisoned.load(Ordering::SeqCst);
        for number in 0..3 {
            let batch = BatchName { producer: self.options.life * 1000 + 998, number };
            self.voice.say(&Said::Append { batch, count: 1, stream: 1 })?;
            match self.log.append(stream(1), &payload::batch(batch, 1)) {
                Ok(_) if poisoned => bail!("a poisoned log acknowledged {batch:?}"),
                Ok(appended) => self.voice.say(&Said::Appended {
                    batch,
                    first_seq: appended.first_seq_id.0,
                    first_offset: appended.first_log_offset.0,
                })?,
                Err(error) => self.voice.say(&self::failed(&error))?,
            }
        }
        if failed.is_empty() || poisoned {
            return Ok(());
        }
        // A segment that can't be mapped is tried again and again: its error does not end the reader.
        let mut unreadable = 0;
        for record in self.log.reader(..)?.take_while(|record| {
            unreadable += u32::from(record.is_err());
            unreadable < 50
        }) {
            match record {
                Ok(record) => {
                    let batch = payload::recognise(&record.payload)?.batch;
                    ensure!(!failed.contains(&batch), "{batch:?} was refused, and is in the log");
                }
                Err(Error::Io { .. }) => {}
                Err(error) => bail!("read after a failure: {error}"),
            }
        }
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        let mut chance = Chance::part(self.options.seed, self.options.life * 1000 + 999);
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(chance.between(1, 15)));
            let stream = chance.between(1, STREAMS);
            let committed = self.log.committed().0;
            let target = committed.saturating_sub(chance.between(0, self.options.keep));
            let outcome = match chance.below(10) {
                0..6 => self.move_cursor(stream, target)?,
                6..9 => self.purge(stream)?,
                _ => self.log.checkpoint(),
            };
            if let Err(error) = outcome {
                self.note(&error)?;
            }
        }
        Ok(())
    }

    fn move_cursor(&self, stream: u64, target: u64) -> Result<stratalog::Result<()>> {
        let (id, name) = (self::stream(stream), u128::from(stream));
        let stands = self.log.cursor(id, CURSOR).map_or(0, |cursor| cursor.seq_id.0);
        let purged = self.log.purge_point(id).map_or(0, |point| point.seq_id.0);
        if target <= stands.max(purged) {
            return Ok(Ok(()));
        }
        self.voice.say(&Said::Cursor { stream: name, seq: target })?;
        Ok(match self.log.advance_cursor(id, CURSOR, SeqId(target)) {
            Ok(cursor) => {
                self.voice.say(&Said::CursorStands { stream: name, seq: cursor.seq_id.0 })?;
                Ok(())
            }
            Err(error) => Err(error),
        })
    }

    fn purge(&self, stream: u64) -> Result<stratalog::Result<()>> {
        let (id, name) = (self::stream(stream), u128::from(stream));
        let Some(cursor) = self.log.cursor(id, CURSOR) else { return Ok(Ok(())) };
        self.voice.say(&Said::Purge { stream: name, seq: cursor.seq_id.0 })?;
        Ok(match self.log.purge_passed(id) {
            Ok(Some(point)) => {
                self.voice.say(&Said::Purged { stream: name, seq: point.seq_id.0 })?;
                Ok(())
            }
            Ok(None) => bail!("stream {stream}: expected a purge up to its cursor, found no cursor"),
            Err(error) => Err(error),
        })
    }

    /// What a reader has seen no crash takes back.
    fn read(&self) -> Result<()> {
        let mut reader = self.log.reader(SeqId(self.log.committed().0 + 1)..)?;
        let (mut newest, mut said) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            match reader.wait_record(Some(Duration::from_millis(5))) {
                Ok(Some(record)) => newest = record.seq_id.0,
                // The reader was slower than the purge.
                Err(Error::Gone { .. } | Error::Purged { .. }) => {}
                Ok(None) => {}
                Err(error @ Error::Io { .. }) => self.note(&error)?,
                Err(error) => bail!("read: {error}"),
            }
            if newest > said + 20 {
                self.voice.say(&Said::Seen { seq: newest })?;
                said = newest;
            }
        }
        Ok(())
    }
}
