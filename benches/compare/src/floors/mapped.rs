//! The floor of appends that survive the process: a checksum and a copy into a map. And of reading:
//! a pass over the map with a checksum per record; for single records a dense table beside it.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use memmap2::MmapRaw;
use parking_lot::Mutex;

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

/// Zeros in small pieces: stores through a map into what was written in large ones dirty more.
const PIECE: usize = 4 << 10;
/// Length and checksum.
pub(super) const HEAD: usize = 8;

#[derive(Debug)]
pub(super) struct Mapped {
    /// Into room that was reserved only.
    pub(super) blank: bool,
}

impl Contender for Mapped {
    fn name(&self) -> &'static str {
        if self.blank { "floor: map into new room" } else { "floor: map" }
    }

    fn kind(&self) -> Kind {
        Kind::Floor
    }

    fn how(&self) -> &'static str {
        if self.blank {
            return "as the one before, into a file that is reserved and was never written, as a log's next segment is";
        }
        "appends: CRC-32 and copy into the map of a file of zeros, one producer, no system call. Replay: the CRC-32 \
         of each record on its way through the map. Single records: a dense table of positions in memory, the map \
         and one CRC-32"
    }

    fn offers(&self, work: Work) -> bool {
        work == Work::Append(Promise::Process) || !self.blank && matches!(work, Work::Replay | Work::Points)
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let path = directory.join("map");
        let held = path.metadata().is_ok_and(|file| file.len() > 0);
        let file = if held {
            File::options().read(true).write(true).open(path)?
        } else {
            let records = setup.capacity_bytes.div_ceil(setup.record_bytes as u64) + 1;
            let bytes = setup.capacity_bytes + records * HEAD as u64;
            if self.blank { super::blank(&path, bytes)? } else { super::zeroed(&path, bytes, PIECE)? }
        };
        let store = Open { map: MmapRaw::map_raw(&file)?, end: AtomicUsize::new(0), table: Mutex::default() };
        if held {
            store.find_end();
        }
        Ok(Box::new(store))
    }
}

struct Open {
    map: MmapRaw,
    /// Bytes below it are written and never change.
    end: AtomicUsize,
    /// The position of each record.
    table: Mutex<Vec<u64>>,
}

impl Open {
    fn written(&self) -> &[u8] {
        let end = self.end.load(Ordering::Acquire);
        // SAFETY: `end` never exceeds the map, bytes below it are initialised and not written any more,
        // and nobody else has the file.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), end) }
    }

    fn find_end(&self) {
        // SAFETY: the whole map is initialised and nobody writes while the store is being opened.
        let all = unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) };
        let (mut at, mut table) = (0, self.table.lock());
        while let Some((payload, _)) = record(all, at).filter(|(payload, _)| !payload.is_empty()) {
            table.push(at as u64);
            at += HEAD + payload.len();
        }
        self.end.store(at, Ordering::Release);
    }
}

/// The record at a position, and the checksum that is stored of it.
fn record(bytes: &[u8], at: usize) -> Option<(&[u8], u32)> {
    let head = bytes.get(at..at + HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let checksum = u32::from_le_bytes(head[4..].try_into().ok()?);
    Some((bytes.get(at + HEAD..at + HEAD + length)?, checksum))
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender { store: self, table: Vec::new() }))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let (written, mut at) = (self.written(), 0);
        while let Some((payload, checksum)) = record(written, at) {
            ensure!(crc32fast::hash(payload) == checksum, "the record at {at} is damaged");
            take(payload);
            at += HEAD + payload.len();
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Table { written: self.written(), table: self.table.lock().clone() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Appender<'a> {
    store: &'a Open,
    table: Vec<u64>,
}

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let map = &self.store.map;
        for payload in records {
            let at = self.store.end.load(Ordering::Relaxed);
            ensure!(at + HEAD + payload.len() <= map.len(), "the map is full");
            let checksum = crc32fast::hash(payload);
            // SAFETY: within the map, checked above; nobody reads above `end`; there is one producer.
            unsafe {
                let to = map.as_mut_ptr().add(at);
                to.copy_from_nonoverlapping((payload.len() as u32).to_le_bytes().as_ptr(), 4);
                to.add(4).copy_from_nonoverlapping(checksum.to_le_bytes().as_ptr(), 4);
                to.add(HEAD).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            }
            self.table.push(at as u64);
            self.store.end.store(at + HEAD + payload.len(), Ordering::Release);
        }
        Ok(())
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.store.table.lock().append(&mut self.table);
    }
}

struct Table<'a> {
    written: &'a [u8],
    table: Vec<u64>,
}

impl Points for Table<'_> {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let found = self.table.get(number as usize).and_then(|at| record(self.written, *at as usize));
        let Some((payload, checksum)) = found else { anyhow::bail!("expected record {number}, found none") };
        ensure!(crc32fast::hash(payload) == checksum, "record {number} is damaged");
        take(payload);
        Ok(())
    }
}
