//! This log as it is used where a consumer follows: what it has passed is purged, and the files of freed
//! segments make the next ones. (The floor writes over its own bytes in the same way, and okaywal over its
//! files.)

use std::path::Path;

use anyhow::Result;
use stratalog::{SeqId, StreamId};

use super::{Open, options, stream};
use crate::contender::{Contender, Kind, Producer, Replayed, Setup, Store, Work};

pub(crate) const NAME: &str = "stratalog, purged behind";

/// Bytes of records that the consumer has not passed yet.
const KEPT: u64 = 128 << 20;

#[derive(Debug)]
pub(crate) struct Recycling;

impl Contender for Recycling {
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
        "as stratalog, with Options::recycle; every producer purges its stream of all but the last 128 to 256 MiB of \
         the log"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    /// By then segments were freed, and some of them are in use again.
    fn warm_up_bytes(&self) -> u64 {
        4 * KEPT
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let log = options(setup.promise).recycle(true).open(directory)?;
        Ok(Box::new(Purged { open: Open { log }, kept: KEPT / setup.record_bytes as u64 }))
    }
}

struct Purged {
    open: Open,
    kept: u64,
}

impl Store for Purged {
    fn producer(&self, number: usize) -> Result<Box<dyn Producer + '_>> {
        let stream = stream(number);
        let purged = self.open.log.purge_point(stream).map_or(0, |point| point.seq_id.0);
        Ok(Box::new(Behind { all: self, inner: self.open.producer(number)?, stream, purged }))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        self.open.replay(take)?;
        let nothing = self.open.log.purge_point(stream(0)).is_none();
        Ok(if nothing { Replayed::All } else { Replayed::Rest })
    }

    fn close(self: Box<Self>) -> Result<()> {
        Box::new(self.open).close()
    }
}

struct Behind<'a> {
    all: &'a Purged,
    inner: Box<dyn Producer + 'a>,
    stream: StreamId,
    /// Up to here the stream was purged.
    purged: u64,
}

impl Producer for Behind<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        self.inner.append(records)?;
        let newest = self.all.open.log.committed().0;
        if newest > self.purged + 2 * self.all.kept {
            self.purged = newest - self.all.kept;
            self.all.open.log.purge(self.stream, SeqId(self.purged))?;
        }
        Ok(())
    }
}
