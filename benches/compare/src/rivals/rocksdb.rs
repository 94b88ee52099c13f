//! RocksDB: its write-ahead log, with memtables in front, as the one does not come without the other.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rocksdb::{DB, DBCompressionType, Options, ReadOptions, WriteBatch, WriteBatchIterator, WriteOptions};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

#[derive(Debug)]
pub(super) struct RocksDb;

impl Contender for RocksDb {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("rocksdb")
    }

    fn how(&self) -> &'static str {
        "a write batch per append under ascending keys, big-endian, sync where durable; memtables and so log files of 64 MiB, \
         log files recycled, pipelined writes, no compression, no compaction; replay goes through its log by \
         get_updates_since"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(64 << 20);
        options.set_max_write_buffer_number(6);
        options.set_compression_type(DBCompressionType::None);
        options.set_enable_pipelined_write(true);
        options.set_disable_auto_compactions(true);
        options.set_level_zero_slowdown_writes_trigger(10_000);
        options.set_level_zero_stop_writes_trigger(10_000);
        if setup.keep {
            // Log files that are done with are kept for the replay.
            options.set_wal_ttl_seconds(1 << 20);
        } else {
            options.set_recycle_log_file_num(4);
        }
        let db = DB::open(&options, directory)?;
        let mut from_the_end = db.raw_iterator_opt(ReadOptions::default());
        from_the_end.seek_to_last();
        let next = match from_the_end.key() {
            Some(key) => u64::from_be_bytes(key.try_into()?) + 1,
            None => 0,
        };
        drop(from_the_end);
        let mut write = WriteOptions::default();
        write.set_sync(setup.promise == Promise::Durable);
        Ok(Box::new(Open { db, next: AtomicU64::new(next), write, keep: setup.keep }))
    }
}

struct Open {
    db: DB,
    next: AtomicU64,
    write: WriteOptions,
    keep: bool,
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(self)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        if !self.keep {
            for entry in self.db.iterator(rocksdb::IteratorMode::Start) {
                take(&entry?.1);
            }
            return Ok(Replayed::All);
        }
        let mut each = Each(take);
        for batch in self.db.get_updates_since(0)? {
            batch?.1.iterate(&mut each);
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(&self.db)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.flush_wal(true)?;
        Ok(())
    }
}

struct Each<'a>(&'a mut dyn FnMut(&[u8]));

impl WriteBatchIterator for Each<'_> {
    fn put(&mut self, _key: &[u8], value: &[u8]) {
        (self.0)(value);
    }

    fn delete(&mut self, _key: &[u8]) {}
}

struct Appender<'a>(&'a Open);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        let mut batch = WriteBatch::default();
        let next = self.0.next.fetch_add(records.len() as u64, Ordering::Relaxed);
        for (number, record) in (next..).zip(records) {
            batch.put(number.to_be_bytes(), record);
        }
        self.0.db.write_opt(batch, &self.0.write)?;
        Ok(())
    }
}

struct Reads<'a>(&'a DB);

impl Points for Reads<'_> {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let found = self.0.get_pinned(number.to_be_bytes())?;
        take(&found.with_context(|| format!("expected record {number}, found none"))?);
        Ok(())
    }
}
