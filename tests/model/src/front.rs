//! An open log and what it is written through.

use std::sync::Arc;

use parking_lot::Mutex;
use stratalog::ingest::{Condition, Consumer, Ingest, IngestOptions, LocalIngest, Producer, SubmitTerms};
use stratalog::storage::Storage;
use stratalog::{
    Cursor, Delivery, Hub, HubOptions, Log, LogOffset, Options, ProducerId, PurgePoint, Record, Result,
    SeqId, Start, SubscribeOptions, Terms,
};

use crate::payload::{Coding, Id};
use crate::program::Front;
use crate::state::stream_id;

/// What an inline subscription was called with.
pub(crate) type Delivered = Arc<Mutex<Vec<Record>>>;

pub(crate) enum Open {
    Log(Log),
    Hub(Hub, Delivered),
    Ingest(LocalIngest),
}

/// On what terms a batch is appended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions {
    pub(crate) next_offset: Option<u64>,
    pub(crate) producer: Option<(ProducerId, u64)>,
}

/// The numbers a batch got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) seq_ids: Vec<u64>,
    /// The ingest layer does not tell.
    pub(crate) first_offset: Option<u64>,
}

impl Open {
    pub(crate) fn new(front: Front, options: &Options, storage: Arc<dyn Storage>) -> Result<Open> {
        match front {
            Front::Log => options.open_storage(storage).map(Open::Log),
            Front::Ingest => {
                IngestOptions::new().log(options.clone()).open_storage(storage).map(Open::Ingest)
            }
            Front::Hub => {
                let hub = Hub::new(options.open_storage(storage)?, HubOptions::new())?;
                let delivered = Delivered::default();
                let sink = Arc::clone(&delivered);
                let inline = SubscribeOptions::new().start(Start::Now).delivery(Delivery::Inline);
                hub.subscribe(stream_id(0), inline, move |records| {
                    sink.lock().extend_from_slice(records);
                    Ok(())
                })?;
                Ok(Open::Hub(hub, delivered))
            }
        }
    }

    pub(crate) fn log(&self) -> &Log {
        match self {
            Open::Log(log) => log,
            Open::Hub(hub, _) => hub.log(),
            Open::Ingest(ingest) => ingest.log(),
        }
    }

    pub(crate) fn hub(&self) -> Option<&Hub> {
        match self {
            Open::Log(_) => None,
            Open::Hub(hub, _) => Some(hub),
            Open::Ingest(ingest) => Some(ingest.hub()),
        }
    }

    pub(crate) fn append(&self, stream: u64, ids: &[Id], on: Conditions, coding: Coding) -> Result<Numbers> {
        let id = stream_id(stream);
        let mut terms = Terms::new();
        if let Some(next) = on.next_offset {
            terms = terms.next_offset(LogOffset(next));
        }
        if let Some((producer, sequence)) = on.producer {
            terms = terms.producer(producer, sequence);
        }
        let appended = match self {
            Open::Log(log) => log.append_on(&terms, id, &coding.batch(ids))?,
            Open::Hub(hub, _) => hub.append_on(&terms, id, &coding.batch(ids))?,
            Open::Ingest(ingest) => {
                let mut terms = SubmitTerms::new();
                terms.producer = on.producer;
                terms.condition = on.next_offset.map(|next| Condition::NextOffset(LogOffset(next)));
                let records: Vec<_> = ids.iter().map(|id| Coding::record(*id)).collect();
                let seq_ids = ingest.submit_with(id, &records, &terms)?;
                return Ok(Numbers {
                    seq_ids: seq_ids.iter().map(|seq| seq.0).collect(),
                    first_offset: None,
                });
            }
        };
        Ok(Numbers {
            seq_ids: appended.seq_ids().map(|seq| seq.0).collect(),
            first_offset: Some(appended.first_log_offset.0),
        })
    }

    pub(crate) fn advance(&self, stream: u64, name: &str, seq: u64) -> Result<Cursor> {
        match self {
            Open::Ingest(ingest) => ingest.advance_cursor(stream_id(stream), name, SeqId(seq)),
            _ => self.log().advance_cursor(stream_id(stream), name, SeqId(seq)),
        }
    }

    pub(crate) fn rollback(&self, stream: u64, name: &str, seq: u64) -> Result<Cursor> {
        match self {
            Open::Ingest(ingest) => ingest.rollback_cursor(stream_id(stream), name, SeqId(seq)),
            _ => self.log().rollback_cursor(stream_id(stream), name, SeqId(seq)),
        }
    }

    pub(crate) fn drop_cursor(&self, stream: u64, name: &str) -> Result<bool> {
        match self {
            Open::Ingest(ingest) => ingest.drop_cursor(stream_id(stream), name),
            _ => self.log().drop_cursor(stream_id(stream), name),
        }
    }

    pub(crate) fn purge(&self, stream: u64, upto: u64) -> Result<PurgePoint> {
        match self {
            Open::Ingest(ingest) => ingest.purge_upto(stream_id(stream), SeqId(upto)),
            _ => self.log().purge(stream_id(stream), SeqId(upto)),
        }
    }

    pub(crate) fn purge_passed(&self, stream: u64) -> Result<Option<PurgePoint>> {
        match self {
            Open::Ingest(ingest) => ingest.purge_log(stream_id(stream)),
            _ => self.log().purge_passed(stream_id(stream)),
        }
    }

    pub(crate) fn delete(&self, stream: u64) -> Result<()> {
        match self {
            Open::Ingest(ingest) => ingest.delete_log(stream_id(stream)),
            _ => self.log().delete_stream(stream_id(stream)),
        }
    }

    pub(crate) fn close(&self) -> Result<()> {
        match self {
            Open::Log(log) => log.close(),
            Open::Hub(hub, _) => {
                hub.close();
                hub.log().close()
            }
            Open::Ingest(ingest) => ingest.close(),
        }
    }
}
