//! fjall: its journal, with the tree behind it, as the one does not come without the other.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

#[derive(Debug)]
pub(super) struct Fjall;

impl Contender for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("fjall")
    }

    fn how(&self) -> &'static str {
        "a keyspace by number, big-endian; a write batch per append with PersistMode::SyncData (Buffer where not \
         durable); memtables of 64 MiB, as large as its journal files; no compression, as nothing here can be \
         compressed"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let database = Database::builder(directory).journal_compression(CompressionType::None).open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(64 << 20)
                .data_block_compression_policy(CompressionPolicy::disabled())
        };
        let keyspace = database.keyspace("log", options)?;
        let last = keyspace.last_key_value().map(|entry| entry.key()).transpose()?;
        let next = match last {
            Some(key) => u64::from_be_bytes(key.as_ref().try_into()?) + 1,
            None => 0,
        };
        let mode =
            if setup.promise == Promise::Durable { PersistMode::SyncData } else { PersistMode::Buffer };
        Ok(Box::new(Open { database, keyspace, next: AtomicU64::new(next), mode }))
    }
}

struct Open {
    database: Database,
    keyspace: Keyspace,
    next: AtomicU64,
    mode: PersistMode,
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(self)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        for entry in self.keyspace.iter() {
            take(&entry.value()?);
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(&self.keyspace)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}

struct Appender<'a>(&'a Open);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let store = self.0;
        let mut batch = store.database.batch().durability(Some(store.mode));
        let next = store.next.fetch_add(records.len() as u64, Ordering::Relaxed);
        for (number, record) in (next..).zip(records) {
            batch.insert(&store.keyspace, number.to_be_bytes(), *record);
        }
        batch.commit()?;
        Ok(())
    }
}

struct Reads<'a>(&'a Keyspace);

impl Points for Reads<'_> {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let found = self.0.get(number.to_be_bytes())?;
        take(&found.with_context(|| format!("expected record {number}, found none"))?);
        Ok(())
    }
}
