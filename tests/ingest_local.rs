//! What `LocalIngest` promises beside the contract: foreign bytes in a collection, purging by itself,
//! its handles, and what is appended past it.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use stratalog::ingest::{
    Condition, ConsumeOptions, Consumer, Ingest, IngestOptions, LocalIngest, LogRecord, OperationRecord,
    Producer, SubmitTerms,
};
use stratalog::storage::MemoryStorage;
use stratalog::{
    Batch, Delivery, Error, LogOffset, Options, ProducerId, SeqId, StreamId, SubscriptionId,
    SubscriptionState, SubscriptionStatus,
};

const COLLECTION: StreamId = StreamId::from_u128(7);

fn small() -> IngestOptions {
    IngestOptions::new().log(Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10))
}

fn record(n: u64) -> OperationRecord {
    OperationRecord::upsert(format!("id {n}")).embedding(vec![n as f32; 32])
}

fn records(count: u64) -> Vec<OperationRecord> {
    (0..count).map(record).collect()
}

/// Subscribes a consumer that sends every SeqId it gets.
fn listen(
    ingest: &LocalIngest,
    options: ConsumeOptions,
) -> stratalog::Result<(SubscriptionId, mpsc::Receiver<u64>)> {
    let (tell, told) = mpsc::channel();
    let consume = move |records: &[LogRecord]| {
        records.iter().try_for_each(|one| tell.send(one.seq_id.0)).map_err(Into::into)
    };
    Ok((ingest.subscribe(COLLECTION, options, Box::new(consume))?, told))
}

fn take(told: &mpsc::Receiver<u64>, count: usize) -> Vec<u64> {
    (0..count).map(|_| told.recv_timeout(Duration::from_secs(20)).unwrap()).collect()
}

/// Waits until the status says so.
fn until(
    ingest: &LocalIngest,
    id: &SubscriptionId,
    says: impl Fn(&SubscriptionStatus) -> bool,
) -> SubscriptionStatus {
    let over = Instant::now() + Duration::from_secs(20);
    loop {
        let status = ingest.subscription(id).unwrap().unwrap();
        if says(&status) {
            return status;
        }
        assert!(Instant::now() < over, "{status:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn bytes_that_are_no_operation_record_stop_a_subscription_at_once_and_are_never_skipped() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let ingest = LocalIngest::ephemeral().unwrap();
        // Were it tried again, it would be for ever.
        let options = ConsumeOptions::new().start(SeqId(0)).delivery(delivery).max_tries(None);
        ingest.submit_embeddings(COLLECTION, &records(3)).unwrap();
        ingest.log().append(COLLECTION, &Batch::one(b"not a record")).unwrap();
        ingest.submit_embeddings(COLLECTION, &records(2)).unwrap();
        let (id, told) = listen(&ingest, options).unwrap();
        let status = until(&ingest, &id, |status| status.state == SubscriptionState::Stopped);
        let error = status.last_error.unwrap();
        assert!(error.contains("SeqId 4") && error.contains("operation record"), "{error}");
        assert_eq!(status.failures, 1);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 3], "those before it, once");
        // What the error says to do.
        let (_, told) = listen(&ingest, ConsumeOptions::new().start(SeqId(4))).unwrap();
        assert_eq!(take(&told, 2), [5, 6]);
    }
}

#[test]
fn what_is_appended_past_it_is_delivered_too() {
    let ingest = LocalIngest::ephemeral().unwrap();
    let (_, threaded) = listen(&ingest, ConsumeOptions::new()).unwrap();
    let (_, inline) = listen(&ingest, ConsumeOptions::new().delivery(Delivery::Inline)).unwrap();
    let mut batch = Batch::new();
    batch.try_push_with(|bytes| record(1).encode_into(bytes)).unwrap();
    ingest.log().append(COLLECTION, &batch).unwrap();
    assert_eq!((take(&threaded, 1), take(&inline, 1)), (vec![1], vec![1]));
}

#[test]
fn the_default_delivery_is_the_one_it_was_opened_with() {
    let ingest = small().delivery(Delivery::Inline).ephemeral().unwrap();
    let (_, inline) = listen(&ingest, ConsumeOptions::new()).unwrap();
    for n in 1..=50 {
        ingest.submit_embedding(COLLECTION, &record(n)).unwrap();
        assert_eq!(inline.try_iter().collect::<Vec<_>>(), [n]);
    }
}

#[test]
fn an_advancing_cursor_purges_by_itself_and_frees_segments_if_asked_to() {
    for (purge, by_subscription) in [(true, false), (true, true), (false, false), (false, true)] {
        let ingest = small().purge_on_advance(purge).ephemeral().unwrap();
        ingest.advance_cursor(COLLECTION, "c", SeqId(0)).unwrap();
        let options = ConsumeOptions::new().from_cursor("c").advance_cursor(true).delivery(Delivery::Inline);
        let subscribed = by_subscription.then(|| listen(&ingest, options).unwrap());
        let mut most = 0;
        for _ in 0..60 {
            let last = *ingest.submit_embeddings(COLLECTION, &records(50)).unwrap().last().unwrap();
            if !by_subscription {
                ingest.advance_cursor(COLLECTION, "c", last).unwrap();
            }
            most = most.max(ingest.log().stats().unwrap().segments.len());
        }
        if let Some((id, told)) = &subscribed {
            assert_eq!(take(told, 3_000).len(), 3_000);
            until(&ingest, id, |_| ingest.backlog(COLLECTION, "c").unwrap() == 0);
        }
        // Some 700 KiB in segments of 64 KiB.
        assert_eq!(most > 8, !purge, "{most} segments, purge {purge}, by subscription {by_subscription}");
        ingest.close().unwrap();
    }
}

#[test]
fn a_retry_of_another_length_is_refused_and_writes_nothing() {
    let ingest = LocalIngest::ephemeral().unwrap();
    let terms = SubmitTerms::new().producer(ProducerId::from_u128(1), 1);
    ingest.submit_with(COLLECTION, &records(3), &terms).unwrap();
    for retry in [
        ingest.submit_with(COLLECTION, &records(2), &terms),
        ingest.submit_async(COLLECTION, &records(2), &terms).and_then(|pending| pending.wait()),
    ] {
        assert!(matches!(&retry, Err(Error::Invalid(why)) if why.contains("3 records")), "{retry:?}");
    }
    assert_eq!(ingest.log().committed(), SeqId(3));
}

#[test]
fn a_condition_on_ids_is_refused_where_it_cannot_read_what_was_written() {
    let ingest = LocalIngest::ephemeral().unwrap();
    ingest.log().append(COLLECTION, &Batch::one(b"not a record")).unwrap();
    let none = |since| Condition::NoneWritten { ids: vec!["a".into()], since: LogOffset(since) };
    let submit =
        |since| ingest.submit_with(COLLECTION, &records(1), &SubmitTerms::new().condition(none(since)));
    let refused = submit(0).unwrap_err().to_string();
    assert!(refused.contains("log_offset 1") && refused.contains("operation record"), "{refused}");
    assert_eq!(submit(1).unwrap(), [SeqId(2)]);
}

#[test]
fn a_condition_on_ids_waits_for_what_others_have_on_their_way_and_no_longer() {
    let ingest = LocalIngest::ephemeral().unwrap();
    let none = SubmitTerms::new()
        .condition(Condition::NoneWritten { ids: vec!["mine".into()], since: LogOffset(0) });
    for round in 0..50u64 {
        // Nobody waits for these: they are committed in the background.
        let on_the_way: Vec<_> = (0..10)
            .map(|n| ingest.submit_async(COLLECTION, &[record(n)], &SubmitTerms::new()).unwrap())
            .collect();
        let collection = StreamId::from_u128(100 + u128::from(round));
        drop(ingest.submit_async(collection, &[record(1)], &SubmitTerms::new()).unwrap());
        ingest.submit_with(collection, &[OperationRecord::add("mine")], &none).unwrap();
        let again = ingest.submit_with(collection, &[OperationRecord::add("mine")], &none);
        assert!(matches!(again, Err(Error::IdConflict { log_offset: LogOffset(2), .. })), "{again:?}");
        on_the_way.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    }
}

#[test]
fn a_submit_is_awaited_in_any_executor() {
    let ingest = LocalIngest::ephemeral().unwrap();
    let seq_ids = pollster::block_on(async {
        let first = ingest.submit_async(COLLECTION, &records(2), &SubmitTerms::new())?;
        let second = ingest.submit_async(COLLECTION, &records(1), &SubmitTerms::new())?;
        Ok::<_, Error>((second.await?, first.await?))
    });
    assert_eq!(seq_ids.unwrap(), (vec![SeqId(3)], vec![SeqId(1), SeqId(2)]));
}

#[test]
fn the_last_handle_closes_it() {
    let storage = MemoryStorage::new();
    let open = || small().open_storage(Arc::new(storage.clone()));
    let ingest = open().unwrap();
    let clone = ingest.clone();
    ingest.submit_embeddings(COLLECTION, &records(3)).unwrap();
    listen(&ingest, ConsumeOptions::new()).unwrap();
    drop(ingest);
    assert!(matches!(open(), Err(Error::Locked { .. })));
    clone.submit_embedding(COLLECTION, &record(3)).unwrap();
    drop(clone);
    let ingest = open().unwrap();
    assert_eq!(ingest.log().committed(), SeqId(4));
    assert!(ingest.log().recovery().clean, "{:?}", ingest.log().recovery());
}

#[test]
fn a_callback_may_close_it() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let ingest = LocalIngest::ephemeral().unwrap();
        let (inside, (tell, told)) = (ingest.clone(), mpsc::channel());
        let consume = move |_: &[LogRecord]| {
            tell.send(inside.close())?;
            Ok(())
        };
        ingest.subscribe(COLLECTION, ConsumeOptions::new().delivery(delivery), Box::new(consume)).unwrap();
        ingest.submit_embedding(COLLECTION, &record(1)).unwrap();
        told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        assert!(matches!(ingest.submit_embedding(COLLECTION, &record(2)), Err(Error::Closed)));
    }
}
