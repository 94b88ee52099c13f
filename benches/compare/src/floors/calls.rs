//! The floor of batches that survive the process: gathered with their checksums and handed over in
//! large write calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, ensure};
use parking_lot::Mutex;

use super::mapped::HEAD;
use crate::contender::{Contender, Kind, Producer, Promise, Replayed, Setup, Store, Work};

const LARGE_CALL: usize = 1 << 20;
const PIECE: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// A call per batch into a file of zeros that the page cache holds.
    Written,
    /// The same in calls of 1 MiB, whatever a batch is: promises less, as a batch may return unwritten.
    Large,
    /// A call per batch into a file that is only reserved.
    Blank,
}

impl Contender for Calls {
    fn name(&self) -> &'static str {
        match self {
            Calls::Written => "floor: a call per batch",
            Calls::Large => "floor: 1 MiB calls",
            Calls::Blank => "floor: a call per batch into new room",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Floor
    }

    fn how(&self) -> &'static str {
        match self {
            Calls::Written => {
                "the records of a batch gathered with their CRC-32 and written in one call into a file of zeros"
            }
            Calls::Large => {
                "records gathered with their CRC-32 and written in calls of 1 MiB into a file of zeros: promises \
                 less than the others, since a batch may return before its call"
            }
            Calls::Blank => {
                "a call per batch into a file that is reserved and was never written, as a log's next segment is"
            }
        }
    }

    fn offers(&self, work: Work) -> bool {
        work == Work::Append(Promise::Process)
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let path = directory.join("calls");
        let held = path.metadata().is_ok_and(|file| file.len() > 0);
        let file = if held {
            File::options().read(true).write(true).open(path)?
        } else {
            let records = setup.capacity_bytes.div_ceil(setup.record_bytes as u64) + 1;
            let bytes = setup.capacity_bytes + records * HEAD as u64;
            if *self == Calls::Blank {
                super::blank(&path, bytes)?
            } else {
                super::zeroed(&path, bytes, PIECE)?
            }
        };
        let call_bytes = if *self == Calls::Large { LARGE_CALL } else { 0 };
        Ok(Box::new(Open { file, call_bytes, tail: Mutex::default(), record_bytes: setup.record_bytes }))
    }
}

struct Open {
    file: File,
    call_bytes: usize,
    tail: Mutex<Tail>,
    record_bytes: usize,
}

#[derive(Default)]
struct Tail {
    gathered: Vec<u8>,
    at: u64,
}

impl Open {
    fn flush(&self, tail: &mut Tail) -> Result<()> {
        self.file.write_all_at(&tail.gathered, tail.at)?;
        tail.at += tail.gathered.len() as u64;
        tail.gathered.clear();
        Ok(())
    }
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(self)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        self.flush(&mut self.tail.lock())?;
        let mut record = vec![0; HEAD + self.record_bytes];
        let mut at = 0;
        while self.file.read_exact_at(&mut record, at).is_ok() {
            let (head, payload) = record.split_at(HEAD);
            if head.iter().all(|byte| *byte == 0) {
                break;
            }
            ensure!(crc32fast::hash(payload).to_le_bytes() == head[4..], "the record at {at} is damaged");
            take(payload);
            at += record.len() as u64;
        }
        Ok(Replayed::All)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush(&mut self.tail.lock())
    }
}

struct Appender<'a>(&'a Open);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut tail = self.0.tail.lock();
        for record in records {
            tail.gathered.extend_from_slice(&(record.len() as u32).to_le_bytes());
            tail.gathered.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
            tail.gathered.extend_from_slice(record);
        }
        if tail.gathered.len() >= self.0.call_bytes {
            self.0.flush(&mut tail)?;
        }
        Ok(())
    }
}
