//! okaywal: its files are filled with zeros once and then used again and again.

#![allow(unsafe_code)]

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use okaywal::{
    Configuration, Entry, EntryId, LogManager, LogPosition, ReadChunkResult, SegmentReader, WriteAheadLog,
};
use parking_lot::Mutex;

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

const SEGMENT_BYTES: u32 = 64 << 20;

#[derive(Debug)]
pub(super) struct OkayWal;

impl Contender for OkayWal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("okaywal")
    }

    fn how(&self) -> &'static str {
        "an entry per append, a chunk per record; files of 64 MiB, checkpointed at 60 MiB by a manager that lets go \
         of everything at once, so that they are used again (where all is read back: one file, never checkpointed); \
         a buffer of 1 MiB"
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Append(Promise::Durable) | Work::Replay | Work::Points | Work::Open)
    }

    /// Twice round its files, so that they are recycled from then on.
    fn warm_up_bytes(&self) -> u64 {
        160 << 20
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let directory = directory.to_owned();
        let log = Some(open(&directory, setup.keep, Arc::default())?);
        Ok(Box::new(Open { log: Mutex::new(log), directory, keep: setup.keep, places: Mutex::default() }))
    }
}

fn open(directory: &Path, keep: bool, lent: Arc<Mutex<Option<Lent>>>) -> Result<WriteAheadLog> {
    let after = if keep { u64::MAX } else { u64::from(SEGMENT_BYTES) - (4 << 20) };
    let configuration = Configuration::default_for(directory)
        .preallocate_bytes(SEGMENT_BYTES)
        .checkpoint_after_bytes(after)
        .buffer_bytes(1 << 20);
    configuration.open(Manager { lent, chunk: Vec::new() }).context("open")
}

/// Who takes what is recovered, lent to the manager while a log is being opened.
struct Lent(*mut (dyn FnMut(&[u8]) + 'static));

// SAFETY: only called while the log is being opened, by the thread that opens it.
unsafe impl Send for Lent {}

/// Passes on what is recovered, and wants nothing of what is checkpointed.
struct Manager {
    lent: Arc<Mutex<Option<Lent>>>,
    chunk: Vec<u8>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Manager")
    }
}

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut lent = self.lent.lock();
        // Read in any case: a chunk that is left for okaywal to skip makes it lose its place, and take
        // that for the end of the log.
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            self.chunk.resize(chunk.bytes_remaining() as usize, 0);
            chunk.read_exact(&mut self.chunk)?;
            if !chunk.check_crc()? {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk is damaged"));
            }
            if let Some(Lent(take)) = &mut *lent {
                // SAFETY: it is lent, so the call to `replay` that owns it waits for the open that we are in.
                unsafe { (**take)(&self.chunk) };
            }
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

struct Open {
    /// Taken out while it is opened anew.
    log: Mutex<Option<WriteAheadLog>>,
    directory: PathBuf,
    keep: bool,
    /// Of each record, while all are kept.
    places: Mutex<Vec<LogPosition>>,
}

impl Open {
    fn log(&self) -> Result<WriteAheadLog> {
        self.log.lock().clone().context("the log could not be opened anew")
    }
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender { log: self.log()?, places: Vec::new(), store: self }))
    }

    /// It is read in order only when it is opened.
    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let mut log = self.log.lock();
        if let Some(open) = log.take() {
            open.shutdown()?;
        }
        let take: *mut (dyn FnMut(&[u8]) + '_) = take;
        // SAFETY: only the lifetime changes; it is taken back below, before `take` is.
        let take: *mut (dyn FnMut(&[u8]) + 'static) = unsafe { std::mem::transmute(take) };
        let lent = Arc::new(Mutex::new(Some(Lent(take))));
        let opened = open(&self.directory, self.keep, Arc::clone(&lent));
        *lent.lock() = None;
        *log = Some(opened?);
        Ok(if self.keep { Replayed::All } else { Replayed::Rest })
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads { log: self.log()?, places: self.places.lock().clone(), record: Vec::new() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.into_inner().context("the log could not be opened anew")?.shutdown()?)
    }
}

struct Appender<'a> {
    log: WriteAheadLog,
    places: Vec<LogPosition>,
    store: &'a Open,
}

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut entry = self.log.begin_entry()?;
        for record in records {
            let chunk = entry.write_chunk(record)?;
            if self.store.keep {
                self.places.push(chunk.position);
            }
        }
        entry.commit()?;
        Ok(())
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.store.places.lock().append(&mut self.places);
    }
}

struct Reads {
    log: WriteAheadLog,
    places: Vec<LogPosition>,
    record: Vec<u8>,
}

impl Points for Reads {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let place = self
            .places
            .get(number as usize)
            .with_context(|| format!("expected record {number}, found none"))?;
        let mut chunk = self.log.read_at(*place)?;
        self.record.resize(chunk.chunk_length() as usize, 0);
        chunk.read_exact(&mut self.record)?;
        ensure!(chunk.crc_is_valid()?, "record {number} is damaged");
        take(&self.record);
        Ok(())
    }
}
