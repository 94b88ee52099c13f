//! Records on their way into the log.

use super::LocalIngest;
use super::written::Written;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::ingest::contract::Producer;
use crate::ingest::pending::PendingSubmit;
use crate::ingest::record::OperationRecord;
use crate::ingest::terms::{Condition, SubmitTerms};
use crate::log::{Appended, PurgePoint, Terms};

impl Producer for LocalIngest {
    fn submit_with(
        &self,
        collection: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<Vec<SeqId>> {
        let Some(batch) = self.encode(records)? else { return Ok(Vec::new()) };
        let append = |terms: &Terms| self.hub.append_on(terms, collection, &batch);
        let appended = self.on_terms(collection, terms, append)?;
        seq_ids(appended, records.len())
    }

    fn submit_async(
        &self,
        collection: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<PendingSubmit> {
        let Some(batch) = self.encode(records)? else {
            return Ok(PendingSubmit::new(std::future::ready(Ok(Vec::new()))));
        };
        let submit = |terms: &Terms| self.log().submit_on(terms, collection, &batch);
        let pending = self.on_terms(collection, terms, submit)?;
        let (hub, count) = (Hub::clone(&self.hub), records.len());
        Ok(PendingSubmit::new(async move {
            let appended = pending.await?;
            if let Some(last) = appended.last_seq_id() {
                hub.deliver(collection, last);
            }
            seq_ids(appended, count)
        }))
    }

    fn max_batch_size(&self) -> usize {
        self.log().options().max_batch_records as usize
    }

    fn max_batch_bytes(&self) -> u64 {
        self.log().options().max_batch_bytes
    }

    fn purge_log(&self, collection: StreamId) -> Result<Option<PurgePoint>> {
        self.log().purge_passed(collection)
    }

    fn purge_upto(&self, collection: StreamId, seq_id: SeqId) -> Result<PurgePoint> {
        self.log().purge(collection, seq_id)
    }

    fn delete_log(&self, collection: StreamId) -> Result<()> {
        self.log().delete_stream(collection)
    }
}

impl LocalIngest {
    /// The records as a batch of the log; `None` if there are none.
    fn encode(&self, records: &[OperationRecord]) -> Result<Option<Batch>> {
        self.check_open()?;
        let limit = self.max_batch_size();
        if records.len() > limit {
            return Err(Error::BatchSize { size: records.len() as u64, limit: limit as u64 });
        }
        let mut batch = Batch::new();
        for (k, record) in records.iter().enumerate() {
            batch.try_push_with(|bytes| record.encode_into(bytes)).map_err(|error| {
                let id: String = record.id.chars().take(64).collect();
                Error::Invalid(format!("record {k} of the batch, id {id:?}: {error}; nothing was written"))
            })?;
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    /// Has `append` append, on the terms of the log that these terms come to.
    fn on_terms<T>(
        &self,
        collection: StreamId,
        terms: &SubmitTerms,
        append: impl Fn(&Terms) -> Result<T>,
    ) -> Result<T> {
        let of_log = match terms.producer {
            Some((producer, sequence)) => Terms::new().producer(producer, sequence),
            None => Terms::new(),
        };
        match &terms.condition {
            None => append(&of_log),
            Some(Condition::NextOffset(next)) => append(&of_log.next_offset(*next)),
            Some(Condition::NoneWritten { ids, since }) => {
                let refused = match self.if_none_written(collection, ids, *since, &of_log, &append) {
                    Err(refused) if terms.producer.is_some() => refused,
                    outcome => return outcome,
                };
                // The record in the way may be its own first try. No record gets log_offset 0, so
                // this finds that one and writes nothing.
                match append(&of_log.next_offset(LogOffset(0))) {
                    Err(Error::Conflict { .. }) => Err(refused),
                    retried => retried,
                }
            }
        }
    }

    /// Looks at everything after `since`, and appends if nothing came behind what it has looked at.
    fn if_none_written<T>(
        &self,
        collection: StreamId,
        ids: &[String],
        since: LogOffset,
        terms: &Terms,
        append: impl Fn(&Terms) -> Result<T>,
    ) -> Result<T> {
        let mut written = Written::since(self.log(), collection, ids, since)?;
        loop {
            let seen = written.look()?;
            match append(&terms.next_offset(LogOffset(seen.0 + 1))) {
                Err(Error::Conflict { .. }) => written.wait()?,
                outcome => return outcome,
            }
        }
    }
}

/// The numbers of a batch; of a retry, those of the first try, which must have been as long.
fn seq_ids(appended: Appended, submitted: usize) -> Result<Vec<SeqId>> {
    if appended.count as usize != submitted {
        return Err(Error::Invalid(format!(
            "a retry: expected the {} records of the first try, found {submitted}; nothing was written",
            appended.count
        )));
    }
    Ok(appended.seq_ids().collect())
}
