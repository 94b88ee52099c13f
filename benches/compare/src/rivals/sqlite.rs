//! SQLite: a table by number, in WAL mode.

use std::path::{Path, PathBuf};

use anyhow::Result;
use parking_lot::Mutex;
use rusqlite::{Connection, params};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

#[derive(Debug)]
pub(super) struct Sqlite;

impl Contender for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("libsqlite3-sys")
    }

    fn verifies(&self) -> bool {
        false
    }

    fn how(&self) -> &'static str {
        "a table by number; journal_mode=WAL, synchronous=FULL (NORMAL where not durable), a checkpoint after 64 MiB \
         of WAL; a transaction per append with prepared statements, writers take turns on one connection. Its pages \
         carry no checksum once they are out of the WAL"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let path = directory.join("log.db");
        let connection = connect(&path, setup.promise)?;
        connection
            .execute("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)", [])?;
        Ok(Box::new(Open { connection: Mutex::new(connection), path, promise: setup.promise }))
    }
}

fn connect(path: &Path, promise: Promise) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if promise == Promise::Durable { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Pages of 4 KiB.
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "mmap_size", 8_i64 << 30)?;
    Ok(connection)
}

struct Open {
    connection: Mutex<Connection>,
    path: PathBuf,
    promise: Promise,
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(&self.connection)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let connection = connect(&self.path, self.promise)?;
        let mut select = connection.prepare("SELECT payload FROM log ORDER BY seq")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            take(row.get_ref(0)?.as_blob()?);
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(connect(&self.path, self.promise)?)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.connection.into_inner().close().map_err(|(_, error)| error.into())
    }
}

struct Appender<'a>(&'a Mutex<Connection>);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO log (payload) VALUES (?1)")?;
            for record in records {
                insert.execute(params![record])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Reads(Connection);

impl Points for Reads {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut select = self.0.prepare_cached("SELECT payload FROM log WHERE seq = ?1")?;
        let mut rows = select.query([number as i64 + 1])?;
        let Some(row) = rows.next()? else { anyhow::bail!("expected record {number}, found none") };
        take(row.get_ref(0)?.as_blob()?);
        Ok(())
    }
}
