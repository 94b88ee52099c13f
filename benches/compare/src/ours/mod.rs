//! This log, as a contender, and the rows in which it has no rival.

pub(crate) mod crash;
pub(crate) mod hub;
pub(crate) mod ingest;
pub(crate) mod memory;
pub(crate) mod purge;
pub(crate) mod recycling;
pub(crate) mod scale;
pub(crate) mod segments;
pub(crate) mod size;
pub(crate) mod streams;
pub(crate) mod upkeep;

use std::path::Path;

use anyhow::{Context, Result};
use stratalog::{Batch, Durability, Log, Options, SeqId, StreamId};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

pub(crate) const NAME: &str = "stratalog";

#[derive(Debug)]
pub(crate) struct Stratalog;

impl Contender for Stratalog {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> Kind {
        Kind::Ours
    }

    fn package(&self) -> Option<&'static str> {
        Some("stratalog")
    }

    fn how(&self) -> &'static str {
        "default options (segments of 64 MiB, two threads of its own); Sync where durable, else Buffered; each \
         producer its own stream"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    /// The first segments of a log are small, up to 16 MiB; behind them it is in its stride.
    fn warm_up_bytes(&self) -> u64 {
        32 << 20
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        Ok(Box::new(open(directory, setup.promise)?))
    }
}

/// Nothing but the durability differs from the defaults.
pub(crate) fn options(promise: Promise) -> Options {
    Options::new().durability(match promise {
        Promise::Durable => Durability::Sync,
        Promise::Process => Durability::Buffered,
    })
}

pub(crate) fn stream(number: usize) -> StreamId {
    StreamId::from_u128(number as u128 + 1)
}

pub(crate) struct Open {
    pub(crate) log: Log,
}

pub(crate) fn open(directory: &Path, promise: Promise) -> Result<Open> {
    Ok(Open { log: options(promise).open(directory)? })
}

impl Store for Open {
    fn producer(&self, number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender { log: &self.log, stream: stream(number), batch: Batch::new() }))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let mut reader = self.log.reader(SeqId(1)..)?;
        while let Some(record) = reader.next_ref()? {
            take(record.payload);
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(&self.log)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.close()?)
    }
}

struct Appender<'a> {
    log: &'a Log,
    stream: StreamId,
    batch: Batch,
}

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        self.batch.clear();
        records.iter().for_each(|record| self.batch.push(record));
        self.log.append(self.stream, &self.batch)?;
        Ok(())
    }
}

struct Reads<'a>(&'a Log);

impl Points for Reads<'_> {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let record = self.0.record(SeqId(number + 1))?;
        take(&record.with_context(|| format!("expected record {number}, found none"))?.payload);
        Ok(())
    }
}
