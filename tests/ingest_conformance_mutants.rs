//! The conformance suite finds a backend that breaks a promise: each of these breaks one on purpose,
//! most of them as a real queue did.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;

use stratalog::ingest::conformance::{self, Backend};
use stratalog::ingest::{
    Consume, ConsumeOptions, Consumer, Embedding, Ingest, IngestOptions, IngestStatus, LocalIngest,
    OperationRecord, PendingSubmit, Producer, SubmitTerms,
};
use stratalog::{
    Backlog, Cursor, Delivery, Error, Options, PurgePoint, Result, SeqId, Start, StreamId, SubscriptionId,
    SubscriptionStatus,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    SeqIdsById,
    Int32AsFloats,
    EmptyMetadataLost,
    BatchInTwoHalves,
    LimitNotKept,
    ZeroIsNoStart,
    StartInclusive,
    EndExclusive,
    StartBeyondIsSilent,
    IdsAreShared,
    DeliveredTwice,
    FailureSwallowed,
    GivesUpSilently,
    InlineFromAThread,
    UnsubscribeDoesNothing,
    UnsubscribeDoesNotWait,
    CursorMovesBack,
    PurgeIgnoresCursors,
    PurgeLogWithoutCursors,
    RetryWritesAgain,
    ConditionIgnored,
    DeleteKeepsCursors,
    ResetKeepsRecords,
    CloseKeepsCalling,
}

/// Each fault, and a promise that it breaks.
const BROKEN: [(Fault, &str); 24] = [
    (Fault::SeqIdsById, "seq_ids_are_returned_position_by_position_also_with_duplicate_ids"),
    (Fault::Int32AsFloats, "int32_embeddings_stay_int32"),
    (Fault::EmptyMetadataLost, "absent_and_empty_metadata_stay_different"),
    (Fault::BatchInTwoHalves, "a_record_that_cannot_be_encoded_refuses_its_whole_batch"),
    (Fault::LimitNotKept, "a_batch_over_the_limit_is_refused_by_name_and_nothing_is_written"),
    (Fault::ZeroIsNoStart, "start_0_is_an_ordinary_start"),
    (Fault::StartInclusive, "start_is_exclusive_and_end_inclusive"),
    (Fault::EndExclusive, "start_is_exclusive_and_end_inclusive"),
    (Fault::StartBeyondIsSilent, "a_start_beyond_the_newest_seq_id_is_an_error"),
    (Fault::IdsAreShared, "an_id_in_use_is_an_error_and_free_again_after_unsubscribe"),
    (Fault::DeliveredTwice, "what_is_submitted_during_the_backfill_comes_once_and_in_order"),
    (Fault::FailureSwallowed, "a_callback_that_fails_gets_the_same_records_again"),
    (Fault::GivesUpSilently, "a_subscription_that_gives_up_keeps_its_error_and_skips_nothing"),
    (Fault::InlineFromAThread, "an_inline_submit_returns_after_its_subscribers_were_called"),
    (Fault::UnsubscribeDoesNothing, "no_call_follows_an_unsubscribe"),
    (Fault::UnsubscribeDoesNotWait, "unsubscribe_waits_for_the_call_that_runs"),
    (Fault::CursorMovesBack, "a_cursor_moves_forward_only"),
    (Fault::PurgeIgnoresCursors, "a_purge_never_passes_a_cursor"),
    (Fault::PurgeLogWithoutCursors, "without_a_cursor_purge_log_drops_nothing"),
    (Fault::RetryWritesAgain, "a_retry_returns_the_first_result_and_writes_nothing"),
    (Fault::ConditionIgnored, "an_id_written_meanwhile_is_a_conflict_that_names_it"),
    (Fault::DeleteKeepsCursors, "a_deleted_collection_is_empty_and_has_no_cursors"),
    (Fault::ResetKeepsRecords, "a_reset_drops_collections_cursors_and_subscriptions"),
    (Fault::CloseKeepsCalling, "after_a_close_every_call_says_not_running"),
];

#[test]
fn each_fault_breaks_its_promise() {
    // At once: some are found only because nothing comes for a long time.
    let checks = BROKEN.map(|(fault, promise)| {
        (fault, promise, thread::spawn(move || conformance::check(promise, Faulty::new(Some(fault)))))
    });
    for (fault, promise, check) in checks {
        assert!(check.join().unwrap().is_err(), "{fault:?} was not found by {promise}");
    }
}

#[test]
fn without_a_fault_those_promises_are_kept() {
    for (_, promise) in BROKEN {
        conformance::check(promise, Faulty::new(None)).unwrap();
    }
}

#[test]
fn a_check_that_panics_fails_and_a_name_that_is_no_promise_too() {
    struct Panics;
    impl Backend for Panics {
        fn ingest(&self) -> Arc<dyn Ingest> {
            std::panic::resume_unwind(Box::new("no backend"))
        }
    }
    let found = conformance::check("closing_twice_is_no_error", Panics).unwrap_err();
    assert!(found.contains("panicked"), "{found}");
    let found = conformance::check("all_is_well", Faulty::new(None)).unwrap_err();
    assert!(found.contains("expected a promise"), "{found}");
}

#[derive(Clone)]
struct Faulty {
    inner: LocalIngest,
    fault: Option<Fault>,
}

impl Faulty {
    fn new(fault: Option<Fault>) -> Self {
        let inner = IngestOptions::new().log(Options::new().max_batch_records(100_000)).ephemeral().unwrap();
        Faulty { inner, fault }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn spoiled(&self, record: &OperationRecord) -> OperationRecord {
        let mut record = record.clone();
        if let (true, Some(Embedding::I32(numbers))) = (self.is(Fault::Int32AsFloats), &record.embedding) {
            let floats: Vec<f32> = numbers.iter().map(|n| *n as f32).collect();
            record = record.embedding(floats);
        }
        if self.is(Fault::EmptyMetadataLost) {
            record.metadata = record.metadata.filter(|metadata| !metadata.is_empty());
        }
        record
    }
}

impl Backend for Faulty {
    fn ingest(&self) -> Arc<dyn Ingest> {
        Arc::new(self.clone())
    }
}

impl Producer for Faulty {
    fn submit_with(
        &self,
        c: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<Vec<SeqId>> {
        let mut terms = terms.clone();
        if self.is(Fault::RetryWritesAgain) {
            terms.producer = None;
        }
        if self.is(Fault::ConditionIgnored) {
            terms.condition = None;
        }
        let mut spoiled: Vec<_> = records.iter().map(|record| self.spoiled(record)).collect();
        if self.is(Fault::LimitNotKept) {
            spoiled.truncate(self.max_batch_size());
        }
        if self.is(Fault::BatchInTwoHalves) && spoiled.len() > 1 {
            let (first, second) = spoiled.split_at(1);
            let mut seq_ids = self.inner.submit_with(c, first, &terms)?;
            seq_ids.extend(self.inner.submit_with(c, second, &terms)?);
            return Ok(seq_ids);
        }
        let mut seq_ids = self.inner.submit_with(c, &spoiled, &terms)?;
        if self.is(Fault::SeqIdsById) {
            // As from a map by id: the last of equal ids is told for all of them.
            for k in 0..seq_ids.len() {
                let last = records.iter().rposition(|record| record.id == records[k].id).unwrap();
                seq_ids[k] = seq_ids[last];
            }
        }
        Ok(seq_ids)
    }

    fn submit_async(
        &self,
        c: StreamId,
        records: &[OperationRecord],
        terms: &SubmitTerms,
    ) -> Result<PendingSubmit> {
        self.inner.submit_async(c, records, terms)
    }

    fn max_batch_size(&self) -> usize {
        self.inner.max_batch_size()
    }

    fn max_batch_bytes(&self) -> u64 {
        self.inner.max_batch_bytes()
    }

    fn purge_log(&self, c: StreamId) -> Result<Option<PurgePoint>> {
        if self.is(Fault::PurgeLogWithoutCursors) && self.inner.cursors(c)?.is_empty() {
            return self.inner.purge_upto(c, self.inner.log().committed()).map(Some);
        }
        self.inner.purge_log(c)
    }

    fn purge_upto(&self, c: StreamId, seq_id: SeqId) -> Result<PurgePoint> {
        if self.is(Fault::PurgeIgnoresCursors) {
            for cursor in self.inner.cursors(c)?.into_iter().filter(|cursor| cursor.seq_id < seq_id) {
                self.inner.drop_cursor(c, &cursor.name)?;
            }
        }
        self.inner.purge_upto(c, seq_id)
    }

    fn delete_log(&self, c: StreamId) -> Result<()> {
        let cursors = self.inner.cursors(c)?;
        self.inner.delete_log(c)?;
        for cursor in cursors.iter().filter(|_| self.is(Fault::DeleteKeepsCursors)) {
            self.inner.advance_cursor(c, &cursor.name, self.inner.log().committed())?;
        }
        Ok(())
    }
}

impl Consumer for Faulty {
    fn subscribe(
        &self,
        c: StreamId,
        options: ConsumeOptions,
        mut consume: Consume,
    ) -> Result<SubscriptionId> {
        let mut options = options;
        let newest = self.inner.log().committed();
        options.start = match options.start {
            Start::After(SeqId(0)) if self.is(Fault::ZeroIsNoStart) => Start::Now,
            Start::After(seq_id) if self.is(Fault::StartInclusive) => Start::After(seq_id.previous()),
            Start::After(seq_id) if self.is(Fault::StartBeyondIsSilent) => Start::After(seq_id.min(newest)),
            start => start,
        };
        if self.is(Fault::EndExclusive) && options.end > Some(SeqId(1)) {
            options.end = options.end.map(SeqId::previous);
        }
        if let (true, Some(id)) = (self.is(Fault::IdsAreShared), &options.id) {
            self.inner.unsubscribe(id)?;
        }
        if self.is(Fault::InlineFromAThread) {
            options.delivery = Some(Delivery::Threaded);
        }
        match self.fault {
            Some(Fault::FailureSwallowed) => {
                consume = Box::new(move |records| {
                    let _ = consume(records);
                    Ok(())
                });
            }
            Some(Fault::GivesUpSilently) => {
                let mut failed = 0;
                consume = Box::new(move |records| {
                    let outcome = consume(records);
                    failed += 1;
                    if failed < 4 { outcome } else { Ok(()) }
                });
            }
            Some(Fault::DeliveredTwice) => {
                consume = Box::new(move |records| {
                    consume(records)?;
                    consume(records)
                });
            }
            _ => {}
        }
        self.inner.subscribe(c, options, consume)
    }

    fn unsubscribe(&self, id: &SubscriptionId) -> Result<()> {
        if self.is(Fault::UnsubscribeDoesNothing) {
            return Ok(());
        }
        if self.is(Fault::UnsubscribeDoesNotWait) {
            let (inner, id) = (self.inner.clone(), id.clone());
            thread::spawn(move || inner.unsubscribe(&id));
            return Ok(());
        }
        self.inner.unsubscribe(id)
    }

    fn subscription(&self, id: &SubscriptionId) -> Result<Option<SubscriptionStatus>> {
        self.inner.subscription(id)
    }

    fn advance_cursor(&self, c: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        match self.inner.advance_cursor(c, name, seq_id) {
            Err(Error::Invalid(_)) if self.is(Fault::CursorMovesBack) => {
                self.inner.rollback_cursor(c, name, seq_id)
            }
            outcome => outcome,
        }
    }

    fn rollback_cursor(&self, c: StreamId, name: &str, seq_id: SeqId) -> Result<Cursor> {
        self.inner.rollback_cursor(c, name, seq_id)
    }

    fn drop_cursor(&self, c: StreamId, name: &str) -> Result<bool> {
        self.inner.drop_cursor(c, name)
    }

    fn cursors(&self, c: StreamId) -> Result<Vec<Cursor>> {
        self.inner.cursors(c)
    }

    fn backlog(&self, c: StreamId, name: &str) -> Result<u64> {
        self.inner.backlog(c, name)
    }

    fn backlogs(&self, name: &str, at_least: u64) -> Result<Vec<Backlog>> {
        self.inner.backlogs(name, at_least)
    }
}

impl Ingest for Faulty {
    fn status(&self) -> Result<IngestStatus> {
        self.inner.status()
    }

    fn reset(&self) -> Result<()> {
        if self.is(Fault::ResetKeepsRecords) {
            return Ok(());
        }
        self.inner.reset()
    }

    fn close(&self) -> Result<()> {
        if self.is(Fault::CloseKeepsCalling) {
            return Ok(());
        }
        self.inner.close()
    }
}
