//! Subscriptions that begin at a durable cursor, move it, and purge behind it.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hub_support::{from_start, hub, listen, seq_ids, take, until, until_state};
use stratalog::storage::MemoryStorage;
use stratalog::{
    Delivery, Error, Log, LogOffset, ProducerId, SeqId, Start, SubscribeOptions, SubscriptionState, Terms,
};
use support::{batch, buffered, open, small, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

fn at_cursor() -> SubscribeOptions {
    SubscribeOptions::new().start(Start::Cursor("indexer".into())).first_pause(Duration::from_millis(1))
}

fn cursor(log: &Log) -> u64 {
    log.cursor(stream(1), "indexer").unwrap().seq_id.0
}

#[test]
fn a_start_at_a_cursor_delivers_what_comes_behind_it() {
    let log = log();
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    log.advance_cursor(stream(1), "indexer", SeqId(2)).unwrap();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), at_cursor());
    assert_eq!(take(&told, 3), [3, 4, 5]);
    assert_eq!(cursor(&log), 2, "moved without being asked to");
    let mut pull = hub.pull(stream(1), Start::Cursor("indexer".into()), None).unwrap();
    assert_eq!(seq_ids(&pull.next_batch(None).unwrap()), [3, 4, 5]);
}

#[test]
fn a_cursor_that_is_not_there_is_made_before_what_is_left() {
    let log = log();
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    log.purge(stream(1), SeqId(2)).unwrap();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), at_cursor());
    assert_eq!(take(&told, 3), [3, 4, 5]);
    assert_eq!(cursor(&log), 2);
    assert!(matches!(log.purge(stream(1), SeqId(4)), Err(Error::Held { .. })));
}

#[test]
fn it_is_moved_behind_each_success_and_a_restart_goes_on_there() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let storage = MemoryStorage::new();
        let mut due = 1;
        for life in 0..5 {
            let log = open(&buffered(), &storage);
            let hub = hub(&log);
            let options = at_cursor().advance_cursor(true).delivery(delivery).max_batch_records(2);
            let (id, told) = listen(&hub, stream(1), options);
            let last = hub.append(stream(1), &batch(0, 5, 20)).unwrap().last_seq_id().unwrap();
            let seen = take(&told, 5);
            assert!(seen[0] >= due, "life {life}: a duplicate");
            due = last.0 + 1;
            assert_eq!(seen.last(), Some(&last.0));
            until("the cursor", || cursor(&log) == last.0);
            assert_eq!(hub.status(&id).unwrap().failures, 0);
            hub.close();
            log.close().unwrap();
        }
        assert_eq!(open(&buffered(), &storage).stream(stream(1)).unwrap().next_log_offset, LogOffset(26));
    }
}

#[test]
fn it_is_not_moved_over_what_was_refused() {
    let log = log();
    log.append(stream(1), &batch(0, 4, 20)).unwrap();
    let hub = hub(&log);
    let options = at_cursor().advance_cursor(true).max_batch_records(2).max_tries(Some(3));
    let refuse = |records: &[stratalog::Record]| match records[0].seq_id.0 {
        1 => Ok(()),
        _ => Err("refused".into()),
    };
    let id = hub.subscribe(stream(1), options, refuse).unwrap();
    until_state(&hub, &id, SubscriptionState::Stopped);
    assert_eq!((cursor(&log), hub.status(&id).unwrap().seq_id), (2, SeqId(2)));
}

#[test]
fn one_that_somebody_moved_ahead_is_left_there() {
    let log = log();
    log.append(stream(1), &batch(0, 4, 20)).unwrap();
    let hub = hub(&log);
    let ahead = log.clone();
    let options = at_cursor().advance_cursor(true).max_batch_records(2);
    let id = hub
        .subscribe(stream(1), options, move |_| {
            ahead.advance_cursor(stream(1), "indexer", SeqId(4))?;
            Ok(())
        })
        .unwrap();
    until_state(&hub, &id, SubscriptionState::Tailing);
    assert_eq!((cursor(&log), hub.status(&id).unwrap().failures), (4, 0));
}

#[test]
fn options_that_make_no_sense_without_a_cursor_are_refused() {
    let log = log();
    let hub = hub(&log);
    for options in [
        SubscribeOptions::new().advance_cursor(true),
        from_start().advance_cursor(true),
        at_cursor().purge(true),
        SubscribeOptions::new().start(Start::Cursor(String::new())),
    ] {
        let refused = hub.subscribe(stream(1), options, |_| Ok(()));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

#[test]
fn a_purge_follows_the_least_cursor_and_frees_segments() {
    let storage = MemoryStorage::new();
    let log = open(&small().durability(stratalog::Durability::Buffered), &storage);
    log.advance_cursor(stream(1), "other", SeqId(0)).unwrap();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), at_cursor().advance_cursor(true).purge(true));
    let append = |n: u64| log.append(stream(1), &batch(n, 1, 4_000)).unwrap().last_seq_id().unwrap();
    for n in 0..100 {
        append(n);
    }
    take(&told, 100);
    assert!(log.purge_point(stream(1)).is_none_or(|point| point.seq_id == SeqId(0)), "past a cursor");
    let newest = log.stream(stream(1)).unwrap().last_seq_id;
    log.advance_cursor(stream(1), "other", newest).unwrap();
    let first = |log: &Log| log.stats().unwrap().segments.first().unwrap().first_seq_id;
    let before = first(&log);
    append(100);
    take(&told, 1);
    until("segments are freed", || first(&log) > before);
    assert_eq!(hub.status(&id).unwrap().failures, 0);
}

#[test]
fn a_start_before_the_purge_point_is_refused() {
    let log = log();
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    log.purge(stream(1), SeqId(3)).unwrap();
    let hub = hub(&log);
    for start in [0, 2] {
        let options = SubscribeOptions::new().start(Start::After(SeqId(start)));
        let refused = hub.subscribe(stream(1), options, |_| Ok(()));
        assert!(matches!(refused, Err(Error::Purged { seq_id: SeqId(3), .. })), "{refused:?}");
        assert!(matches!(hub.pull(stream(1), Start::After(SeqId(start)), None), Err(Error::Purged { .. })));
    }
    let (_, told) = listen(&hub, stream(1), SubscribeOptions::new().start(Start::After(SeqId(3))));
    assert_eq!(take(&told, 2), [4, 5]);
}

#[test]
fn a_subscription_that_a_purge_overtakes_stops_and_says_so() {
    let log = log();
    log.append(stream(1), &batch(0, 6, 20)).unwrap();
    let hub = hub(&log);
    let overtaken = Arc::new(AtomicBool::new(false));
    let (purging, once) = (log.clone(), Arc::clone(&overtaken));
    let id = hub
        .subscribe(stream(1), from_start().max_batch_records(2), move |_| {
            if !once.swap(true, Ordering::SeqCst) {
                purging.purge(stream(1), SeqId(5))?;
            }
            Ok(())
        })
        .unwrap();
    until_state(&hub, &id, SubscriptionState::Stopped);
    let status = hub.status(&id).unwrap();
    assert_eq!(status.seq_id, SeqId(2));
    assert!(status.last_error.unwrap().contains("purged up to SeqId 5"));
}

#[test]
fn one_that_has_taken_everything_does_not_mind_a_purge() {
    let log = log();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), SubscribeOptions::new());
    for round in 0..3 {
        let last = log.append(stream(1), &batch(0, 3, 20)).unwrap().last_seq_id().unwrap();
        assert_eq!(take(&told, 3).last(), Some(&last.0));
        if round == 1 {
            log.delete_stream(stream(1)).unwrap();
        } else {
            log.purge(stream(1), last).unwrap();
        }
    }
    assert_eq!(hub.status(&id).unwrap().failures, 0);
}

#[test]
fn an_end_that_a_control_record_passes_ends_it() {
    let log = log();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let hub = hub(&log);
    let (id, _told) = listen(&hub, stream(1), SubscribeOptions::new().end(SeqId(2)));
    log.advance_cursor(stream(1), "somebody", SeqId(1)).unwrap();
    assert_eq!(log.committed(), SeqId(2));
    until_state(&hub, &id, SubscriptionState::Ended);
}

#[test]
fn a_retry_of_an_append_that_was_done_delivers_nothing_twice() {
    let log = log();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), SubscribeOptions::new().delivery(Delivery::Inline));
    let terms = Terms::new().producer(ProducerId::from_u128(1), 7);
    let first = hub.append_on(&terms, stream(1), &batch(0, 2, 20)).unwrap();
    assert_eq!(take(&told, 2), [1, 2]);
    assert_eq!(hub.append_on(&terms, stream(1), &batch(0, 2, 20)).unwrap(), first);
    let conflict = hub.append_on(&Terms::new().next_offset(LogOffset(9)), stream(1), &batch(0, 1, 20));
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    hub.append(stream(1), &batch(2, 1, 20)).unwrap();
    assert_eq!(take(&told, 1).len(), 1);
}
