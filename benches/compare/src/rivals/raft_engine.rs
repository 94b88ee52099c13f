//! raft-engine: a group of the Raft consensus per producer.

use std::path::Path;

use anyhow::{Context, Result};
use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::contender::{Contender, Kind, Points, Producer, Promise, Replayed, Setup, Store, Work};

/// Entries fetched at once by a replay.
const FETCH: u64 = 1_000;

#[derive(Debug)]
pub(super) struct RaftEngine;

impl Contender for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("raft-engine")
    }

    fn how(&self) -> &'static str {
        "an entry per record, a log batch per append, a group per producer; files of 64 MiB, filled with zeros \
         beforehand for recycling (1 GiB; none where data is prepared for reading); no compression, as its example \
         has it"
    }

    fn offers(&self, _work: Work) -> bool {
        true
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let config = Config {
            dir: directory.to_str().context("expected a path in UTF-8")?.to_owned(),
            target_file_size: ReadableSize::mb(64),
            purge_threshold: ReadableSize::gb(64),
            batch_compression_threshold: ReadableSize::kb(0),
            prefill_for_recycle: !setup.keep,
            prefill_limit: (!setup.keep)
                .then_some(ReadableSize(setup.capacity_bytes.clamp(64 << 20, 1 << 30))),
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        Ok(Box::new(Open { engine, sync: setup.promise == Promise::Durable }))
    }
}

/// A generated message with a number and bytes, as an entry of Raft is: one that comes with protobuf, so
/// that nothing has to be generated here.
struct Numbered;

impl MessageExt for Numbered {
    type Entry = UninterpretedOption;

    fn index(entry: &Self::Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

struct Open {
    engine: Engine,
    sync: bool,
}

impl Store for Open {
    fn producer(&self, number: usize) -> Result<Box<dyn Producer + '_>> {
        let group = number as u64 + 1;
        let next = self.engine.last_index(group).unwrap_or(0) + 1;
        Ok(Box::new(Appender {
            store: self,
            group,
            next,
            batch: LogBatch::with_capacity(128),
            entries: Vec::new(),
        }))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        let mut entries = Vec::new();
        for group in self.engine.raft_groups() {
            let Some(mut next) = self.engine.first_index(group) else { continue };
            let end = self.engine.last_index(group).map_or(next, |last| last + 1);
            while next < end {
                let upto = end.min(next + FETCH);
                self.engine.fetch_entries_to::<Numbered>(group, next, upto, None, &mut entries)?;
                entries.drain(..).for_each(|entry| take(entry.get_string_value()));
                next = upto;
            }
        }
        Ok(Replayed::All)
    }

    fn points(&self) -> Result<Box<dyn Points + '_>> {
        Ok(Box::new(Reads(&self.engine)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.engine.sync()?;
        Ok(())
    }
}

struct Appender<'a> {
    store: &'a Open,
    group: u64,
    next: u64,
    batch: LogBatch,
    entries: Vec<UninterpretedOption>,
}

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        self.entries.resize(records.len(), UninterpretedOption::new());
        for (entry, record) in self.entries.iter_mut().zip(records) {
            entry.set_positive_int_value(self.next);
            let bytes = entry.mut_string_value();
            bytes.clear();
            bytes.extend_from_slice(record);
            self.next += 1;
        }
        self.batch.add_entries::<Numbered>(self.group, &self.entries)?;
        self.store.engine.write(&mut self.batch, self.store.sync)?;
        Ok(())
    }
}

struct Reads<'a>(&'a Engine);

impl Points for Reads<'_> {
    fn read(&mut self, number: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let entry = self.0.get_entry::<Numbered>(1, number + 1)?;
        take(entry.with_context(|| format!("expected record {number}, found none"))?.get_string_value());
        Ok(())
    }
}
