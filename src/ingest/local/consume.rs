//! Records on their way to consumers, and how far those are.

use std::fmt;

use super::LocalIngest;
use crate::error::Result;
use crate::hub::{ConsumeError, GiveUp, SubscribeOptions, SubscriptionId, SubscriptionStatus};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::ingest::codec::DecodeError;
use crate::ingest::contract::{Consume, Consumer};
use crate::ingest::log_record::LogRecord;
use crate::ingest::options::ConsumeOptions;
use crate::log::{Backlog, Cursor, Record};

impl Consumer for LocalIngest {
    fn subscribe(
        &self,
        collection: StreamId,
        options: ConsumeOptions,
        consume: Consume,
    ) -> Result<SubscriptionId> {
        self.check_open()?;
        self.hub.subscribe(collection, self.for_hub(options), decoding(consume))
    }

    fn unsubscribe(&self, id: &SubscriptionId) -> Result<()> {
        self.check_open()?;
        self.hub.unsubscribe(id);
        Ok(())
    }

    fn subscription(&self, id: &SubscriptionId) -> Result<Option<SubscriptionStatus>> {
        self.check_open()?;
        Ok(self.hub.status(id))
    }

    fn advance_cursor(&self, collection: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        let cursor = self.log().advance_cursor(collection, name, seq_id)?;
        let least = || self.log().cursors_of(collection).into_iter().map(|cursor| cursor.seq_id).min();
        if self.options.purge_on_advance
            && least().is_some_and(|least| self.log().purge_pays(collection, least))
        {
            // The cursor has moved, which is what was asked for; what could not be purged now will be
            // by the next one that moves.
            let _ = self.log().purge_passed(collection);
        }
        Ok(cursor)
    }

    fn rollback_cursor(&self, collection: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        self.log().rollback_cursor(collection, name, seq_id)
    }

    fn drop_cursor(&self, collection: StreamId, name: &str) -> Result<bool> {
        self.log().drop_cursor(collection, name)
    }

    fn cursors(&self, collection: StreamId) -> Result<Vec<Cursor>> {
        self.check_open()?;
        Ok(self.log().cursors_of(collection))
    }

    fn backlog(&self, collection: StreamId, name: &str) -> Result<u64> {
        self.check_open()?;
        Ok(self.log().backlog(collection, name))
    }

    fn backlogs(&self, name: &str, at_least: u64) -> Result<Vec<Backlog>> {
        self.log().backlogs(name, at_least)
    }
}

impl LocalIngest {
    fn for_hub(&self, options: ConsumeOptions) -> SubscribeOptions {
        let mut of_hub = SubscribeOptions::new()
            .start(options.start)
            .delivery(options.delivery.unwrap_or(self.options.delivery))
            .max_batch_records(options.max_batch_records)
            .max_batch_bytes(options.max_batch_bytes)
            .max_tries(options.max_tries)
            .first_pause(options.first_pause)
            .longest_pause(options.longest_pause)
            .advance_cursor(options.advance_cursor)
            .purge(options.advance_cursor && self.options.purge_on_advance);
        if let Some(end) = options.end {
            of_hub = of_hub.end(end);
        }
        if let Some(id) = options.id {
            of_hub = of_hub.id(id);
        }
        of_hub
    }
}

/// A callback of the hub that hands on what the records say.
///
/// Those before one that is no operation record are handed on and taken; that one stops it.
fn decoding(mut consume: Consume) -> impl FnMut(&[Record]) -> Result<(), ConsumeError> + Send + 'static {
    let mut decoded = Vec::new();
    let mut taken = SeqId(0);
    move |records| {
        decoded.clear();
        let mut trouble = None;
        for record in records.iter().filter(|record| record.seq_id > taken) {
            match LogRecord::decode(record.clone()) {
                Ok(record) => decoded.push(record),
                Err(why) => {
                    let (seq_id, log_offset) = (record.seq_id, record.log_offset);
                    trouble = Some(NotARecord { stream: record.stream, seq_id, log_offset, why });
                    break;
                }
            }
        }
        if let Some(last) = decoded.last().map(|record| record.seq_id) {
            let outcome = consume(&decoded);
            // An idle subscription holds on to nothing.
            decoded.clear();
            outcome?;
            taken = last;
        }
        match trouble {
            Some(trouble) => Err(GiveUp::new(trouble).into()),
            None => Ok(()),
        }
    }
}

/// What stopped a subscription: something in its collection is not an operation record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotARecord {
    /// The collection.
    pub stream: StreamId,
    /// Its place in the log.
    pub seq_id: SeqId,
    /// Its place in the collection.
    pub log_offset: LogOffset,
    /// What was expected and what was found.
    pub why: DecodeError,
}

impl fmt::Display for NotARecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SeqId {} (log_offset {} of stream {}): {}; to go on without it, subscribe behind it",
            self.seq_id, self.log_offset, self.stream, self.why
        )
    }
}

impl std::error::Error for NotARecord {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.why)
    }
}
