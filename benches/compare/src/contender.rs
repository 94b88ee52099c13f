//! What takes part: this log, a floor, or a rival. One trait, so that the harness treats all alike.

use std::path::Path;

use anyhow::{Result, bail};

/// What an append that returned has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A power cut.
    Durable,
    /// A crash of the process: the bytes are with the operating system.
    Process,
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) promise: Promise,
    pub(crate) record_bytes: usize,
    /// Threads that append at the same time.
    pub(crate) producers: usize,
    /// Bytes of records that will be appended at most.
    pub(crate) capacity_bytes: u64,
    /// Everything is read back later: nothing may be recycled.
    pub(crate) keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Ours,
    Floor,
    Peer,
    /// A peer that does less than the row asks for: shown, and never the one to beat.
    Lesser,
}

/// What a contender may be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Append(Promise),
    Replay,
    /// Reads of single records by number, in the process that appended them.
    Points,
    /// Opening what is there.
    Open,
}

pub(crate) trait Contender: Send + Sync {
    fn name(&self) -> &'static str;

    fn kind(&self) -> Kind;

    /// The crate in `Cargo.lock` that it is; `None` for what is written here.
    fn package(&self) -> Option<&'static str> {
        None
    }

    /// Whether a checksum stands between a damaged disk and what it gives to a reader.
    fn verifies(&self) -> bool {
        true
    }

    /// Its part where reads are to be verified.
    fn kind_as_reader(&self) -> Kind {
        if self.kind() == Kind::Peer && !self.verifies() { Kind::Lesser } else { self.kind() }
    }

    /// How it is used, for the report.
    fn how(&self) -> &'static str;

    fn offers(&self, work: Work) -> bool;

    /// Bytes to append before a measurement, so that it is in its steady state.
    fn warm_up_bytes(&self) -> u64 {
        8 << 20
    }

    /// Opens what is in the directory; makes it if nothing is there.
    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>>;
}

/// An open log or store.
pub(crate) trait Store: Send + Sync {
    /// For one thread. Numbers of producers that are in use at the same time differ.
    fn producer(&self, number: usize) -> Result<Box<dyn Producer + '_>>;

    /// Reads everything, checksums verified where the store has any on its way.
    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed>;

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        bail!("reads no single records")
    }

    fn close(self: Box<Self>) -> Result<()>;
}

pub(crate) trait Producer: Send {
    /// Returns once the promise holds. What is passed together is one batch, atomic where the store
    /// has such a thing.
    fn append(&mut self, records: &[&[u8]]) -> Result<()>;
}

pub(crate) trait Points {
    /// The record that was appended as number `number`, from 0, by the only producer.
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()>;
}

/// How much a replay gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replayed {
    All,
    /// The store has recycled the rest.
    Rest,
}
