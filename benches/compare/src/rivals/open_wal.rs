//! open-wal: one writer, who commits for all that wait, as its documentation asks for.

use std::path::Path;

use anyhow::Result;
use open_wal::{Lsn, Wal, WalConfig};

use crate::combiner::{Combiner, Group, Sink};
use crate::contender::{Contender, Kind, Producer, Promise, Replayed, Setup, Store, Work};

#[derive(Debug)]
pub(super) struct OpenWal;

impl Contender for OpenWal {
    fn name(&self) -> &'static str {
        "open-wal"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn package(&self) -> Option<&'static str> {
        Some("open-wal")
    }

    fn how(&self) -> &'static str {
        "segments of 64 MiB; one commit per append, or, with several producers, one for all that wait, by the same \
         leader and followers as the grouped floor: it has a single writer by design"
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Append(Promise::Durable) | Work::Replay | Work::Open)
    }

    fn open(&self, directory: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        let config = WalConfig { segment_size: 64 << 20, max_record_size: 1 << 20 };
        let (wal, _) = Wal::open(directory, config)?;
        Ok(Box::new(Open { alone: setup.producers == 1, wal: Combiner::new(Writer(wal)) }))
    }
}

struct Writer(Wal);

impl Sink for Writer {
    fn commit(&mut self, group: &Group) -> Result<()> {
        for record in group.records() {
            self.0.append(record)?;
        }
        self.0.commit()?;
        Ok(())
    }
}

struct Open {
    alone: bool,
    wal: Combiner<Writer>,
}

impl Store for Open {
    fn producer(&self, _number: usize) -> Result<Box<dyn Producer + '_>> {
        Ok(Box::new(Appender(self)))
    }

    fn replay(&self, take: &mut dyn FnMut(&[u8])) -> Result<Replayed> {
        self.wal.with_sink(|writer| {
            let mut reader = writer.0.reader_from(Lsn(0))?;
            while let Some(record) = reader.next() {
                take(record?.1);
            }
            Ok(Replayed::All)
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.wal.into_sink());
        Ok(())
    }
}

struct Appender<'a>(&'a Open);

impl Producer for Appender<'_> {
    fn append(&mut self, records: &[&[u8]]) -> Result<()> {
        if !self.0.alone {
            return self.0.wal.append(records);
        }
        self.0.wal.with_sink(|writer| {
            for record in records {
                writer.0.append(record)?;
            }
            writer.0.commit()?;
            Ok(())
        })
    }
}
