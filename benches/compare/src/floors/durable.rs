//! The floor of durable appends: a positioned write into a file of zeros and an fdatasync; where
//! several producers wait, one of both for all of them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::combiner::{Combiner, Group, Sink};
use crate::contender::{Contender, Kind, Producer, Promise, Replayed, Setup, Store, Work};

/// Written over again from the start when it is full, as recycled segments are.
const FILE_BYTES: u64 = 256 << 20;
/// Zeros in large pieces: what is written by position costs least then.
const PIECE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Durable {
    /// Into room that was reserved only, and each block once.
    pub(super) blank: bool,
}

impl Contender for Durable {
    fn name(&self) -> &'static str {
        if self.blank { "floor into new room" } else { "floor" }
    }

    fn kind(&self) -> Kind {
        Kind::Floor
    }

    fn how(&self) -> &'static str {
        if self.blank {
            return "as the one before, into a file that is reserved and was never written; each of its blocks is \
                    written once";
        }
        "one positioned write and one fdatasync per append into a file of zeros (256 MiB, from the start again \
         when full); from two producers on, one of both for all that wait, by a leader and its followers. No \
         checksum, no header"
    }

    fn offers(&self, work: Work) -> bool {
        work == Work::Append(Promise::Durable)
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let path = directory.join("floor");
        let bytes = if setup.keep || self.blank { setup.capacity_bytes } else { FILE_BYTES };
        let held = path.metadata().is_ok_and(|file| file.len() > 0);
        let file = if held {
            File::options().read(true).write(true).open(path)?
        } else if self.blank {
            super::blank(&path, bytes)?
        } else {
            super::zeroed(&path, bytes, PIECE)?
        };
        let capacity = file.metadata()?.len();
        let wrapped = directory.join("wrapped");
        let writer = Writer { file, capacity, at: 0, written: 0, wrapped, record_bytes: setup.record_bytes };
        Ok(Box::new(Open { alone: setup.producers == 1, writer: Combiner::new(writer) }))
    }
}

struct Open {
    alone: bool,
    writer: Combiner<Writer>,
}

struct Writer {
    file: File,
    capacity: u64,
    at: u64,
    /// Since it was opened.
    written: u64,
    /// A file that is there once it was begun from the start again.
    wrapped: PathBuf,
    record_bytes: usize,
}

impl Sink for Writer {
    fn commit(&mut self, group: &Group) -> Result<()> {
        self.write(&group.bytes)
    }
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.at + bytes.len() as u64 > self.capacity {
            self.at = 0;
            File::create(&self.wrapped)?;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.file.sync_data()?;
        self.at += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender { store: self, gathered: Vec::new() }))
    }

    /// What it knows it wrote last, or, opened again, everything before the first record of zeros.
    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        self.writer.with_sink(|writer| {
            let wrapped = writer.wrapped.exists();
            let end = if writer.written > 0 { writer.at } else { writer.capacity };
            let mut record = vec![0; writer.record_bytes];
            let mut at = 0;
            while at + record.len() as u64 <= end {
                writer.file.read_exact_at(&mut record, at)?;
                if writer.written == 0 && record.iter().all(|byte| *byte == 0) {
                    break;
                }
                take(&record);
                at += record.len() as u64;
            }
            Ok(if wrapped { Replayed::Rest } else { Replayed::All })
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Appender<'a> {
    store: &'a Open,
    gathered: Vec<u8>,
}

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        if !self.store.alone {
            return self.store.writer.append(records);
        }
        self.store.writer.with_sink(|writer| {
            if let [record] = records {
                return writer.write(record);
            }
            self.gathered.clear();
            records.iter().for_each(|record| self.gathered.extend_from_slice(record));
            writer.write(&self.gathered)
        })
    }
}
