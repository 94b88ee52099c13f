//! Stores that are filled once and read in every round.

use anyhow::{Context, Result};

use crate::appends::{fill_in, read_back};
use crate::contender::{Contender, Kind, Promise, Setup, Store, Work};
use crate::payload::{Payload, Tally};
use crate::place::{Place, Scratch};

/// Records per append.
const BATCH: usize = 100;

/// A store and the directory it is in. The store goes first.
pub(crate) struct Filled {
    pub(crate) store: Box<dyn Store>,
    pub(crate) wrote: Tally,
    scratch: Scratch,
}

/// For a store whose content is kept.
pub(crate) fn setup(contender: &dyn Contender, record_bytes: usize, bytes: u64) -> Setup {
    let lazy = contender.offers(Work::Append(Promise::Process));
    let promise = if lazy { Promise::Process } else { Promise::Durable };
    let capacity_bytes = bytes + (BATCH * record_bytes) as u64;
    Setup { promise, record_bytes, producers: 1, capacity_bytes, keep: true }
}

impl Filled {
    /// Fills a store with `bytes` of records in batches of 100, as cheaply as it can: what is read later
    /// does not depend on it. All of it is read back once, and so is in the page cache.
    pub(crate) fn new(
        place: &Place,
        contender: &dyn Contender,
        payload: &Payload,
        bytes: u64,
    ) -> Result<Self> {
        let copies = if contender.kind() == Kind::Peer { 3 } else { 2 };
        let scratch = place.scratch(bytes * copies)?;
        let setup = setup(contender, payload.record_bytes, bytes);
        let store = contender.open(scratch.path(), &setup).context("open")?;
        let wrote = fill_in(store.as_ref(), payload, bytes, BATCH).context("fill")?;
        read_back(store.as_ref(), payload, wrote)?;
        Ok(Filled { store, wrote, scratch })
    }

    /// Closes the store, and gives what it wrote and where it is.
    pub(crate) fn close(self) -> Result<(Tally, Scratch)> {
        self.store.close()?;
        Ok((self.wrote, self.scratch))
    }

    /// The same, closed and opened again: nothing is in memory only because it was just written.
    pub(crate) fn reopened(self, contender: &dyn Contender, payload: &Payload, bytes: u64) -> Result<Self> {
        let (wrote, scratch) = self.close()?;
        let store = contender.open(scratch.path(), &setup(contender, payload.record_bytes, bytes))?;
        read_back(store.as_ref(), payload, wrote)?;
        Ok(Filled { store, wrote, scratch })
    }
}
