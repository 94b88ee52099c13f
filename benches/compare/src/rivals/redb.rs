//! redb: a table by number in a copy-on-write tree.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

#[derive(Debug)]
pub(super) struct Redb;

impl Contender for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("redb")
    }

    fn verifies(&self) -> bool {
        false
    }

    fn how(&self) -> &'static str {
        "a table by number; a write transaction per append, Durability::Immediate, the default commit in one phase; \
         writers take turns, as there is one at a time. Checksums of pages are read only in recovery"
    }

    fn offers(&self, work: Work) -> bool {
        work != Work::Append(Promise::Process)
    }

    fn open(&self, directory: &Path, _setup: &Setup) -> Result<Box<dyn Store>> {
        let database = Database::builder().create(directory.join("log.redb"))?;
        let next = {
            let transaction = database.begin_write()?;
            let last = transaction.open_table(LOG)?.last()?.map(|(key, _)| key.value());
            transaction.commit()?;
            last.map_or(0, |last| last + 1)
        };
        Ok(Box::new(Open { database, next: AtomicU64::new(next) }))
    }
}

struct Open {
    database: Database,
    /// Only moved within a write transaction, of which there is one at a time.
    next: AtomicU64,
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(self)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let table = self.database.begin_read()?.open_table(LOG)?;
        for entry in table.iter()? {
            take(entry?.1.value());
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(self.database.begin_read()?.open_table(LOG)?)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.database);
        Ok(())
    }
}

struct Appender<'a>(&'a Open);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut transaction = self.0.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(LOG)?;
            for record in records {
                table.insert(self.0.next.fetch_add(1, Ordering::Relaxed), record)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Reads(redb::ReadOnlyTable<u64, &'static [u8]>);

impl Points for Reads {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let found = self.0.get(number)?.with_context(|| format!("expected record {number}, found none"))?;
        take(found.value());
        Ok(())
    }
}
