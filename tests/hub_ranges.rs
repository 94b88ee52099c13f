//! Where a subscription begins and ends, and what is refused.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::time::{Duration, Instant};

use hub_support::{from_start, hub, listen, seq_ids, take, until, until_state};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, Error, Log, SeqId, Start, SubscribeOptions, SubscriptionState};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

fn ignore(_: &[stratalog::Record]) -> Result<(), stratalog::ConsumeError> {
    Ok(())
}

#[test]
fn zero_is_an_ordinary_start_and_delivers_everything() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), from_start());
    assert_eq!(take(&told, 3), [1, 2, 3]);
}

#[test]
fn a_start_is_exclusive_and_an_end_is_inclusive() {
    let log = log();
    log.append(stream(1), &batch(0, 9, 20)).unwrap();
    let hub = hub(&log);
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let options = SubscribeOptions::new().start(Start::After(SeqId(3))).end(SeqId(6)).delivery(delivery);
        let (id, told) = listen(&hub, stream(1), options);
        assert_eq!(take(&told, 3), [4, 5, 6]);
        until_state(&hub, &id, SubscriptionState::Ended);
        assert!(told.recv().is_err(), "more, or a callback that stays");
    }
}

#[test]
fn without_a_start_only_what_commits_after_the_call_is_delivered() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), SubscribeOptions::new());
    assert_eq!(hub.status(&id).unwrap().state, SubscriptionState::Tailing);
    log.append(stream(1), &batch(3, 2, 20)).unwrap();
    assert_eq!(take(&told, 2), [4, 5]);
}

#[test]
fn a_start_at_the_newest_record_waits_for_the_next() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), SubscribeOptions::new().start(Start::After(SeqId(3))));
    log.append(stream(1), &batch(3, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [4]);
}

#[test]
fn a_start_beyond_the_newest_record_is_refused() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    let options = SubscribeOptions::new().start(Start::After(SeqId(4)));
    let error = hub.subscribe(stream(1), options, ignore).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert!(error.to_string().contains("at most 3"), "{error}");
    assert!(hub.pull(stream(1), Start::After(SeqId(4)), None).is_err());
    assert!(hub.statuses().is_empty());
}

#[test]
fn a_start_that_is_not_before_the_end_is_refused() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    for (start, end) in [(Start::After(SeqId(2)), 2), (Start::After(SeqId(3)), 1), (Start::Now, 3)] {
        let options = SubscribeOptions::new().start(start.clone()).end(SeqId(end));
        let error = hub.subscribe(stream(1), options, ignore).unwrap_err();
        assert!(error.to_string().contains("after the start"), "{error}");
        assert!(hub.pull(stream(1), start, Some(SeqId(end))).is_err());
    }
}

#[test]
fn an_id_in_use_is_refused_and_free_again_afterwards() {
    let log = log();
    let hub = hub(&log);
    let options = || SubscribeOptions::new().id("one");
    let (id, told) = listen(&hub, stream(1), options());
    let error = hub.subscribe(stream(2), options(), ignore).unwrap_err();
    assert!(error.to_string().contains("\"one\""), "{error}");
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [1]);
    hub.unsubscribe(&id);
    let (id, _told) = listen(&hub, stream(1), options().start(Start::After(SeqId(0))).end(SeqId(1)));
    until_state(&hub, &id, SubscriptionState::Ended);
    // Over, not in use.
    let (_, told) = listen(&hub, stream(1), options());
    log.append(stream(1), &batch(1, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [2]);
    assert_eq!(hub.statuses().len(), 1);
}

#[test]
fn a_made_up_id_is_nobody_elses() {
    let log = log();
    let hub = hub(&log);
    for k in 0..8 {
        let (_id, _) = listen(&hub, stream(1), SubscribeOptions::new().id(format!("subscription-{k}")));
    }
    let (a, _) = listen(&hub, stream(1), SubscribeOptions::new());
    let (b, _) = listen(&hub, stream(1), SubscribeOptions::new());
    assert_ne!(a, b);
    assert_eq!(hub.statuses().len(), 10);
}

#[test]
fn options_out_of_range_are_refused() {
    let log = log();
    let hub = hub(&log);
    for options in [
        SubscribeOptions::new().max_batch_records(0),
        SubscribeOptions::new().max_batch_bytes(0),
        SubscribeOptions::new().max_tries(Some(0)),
        SubscribeOptions::new().first_pause(Duration::from_secs(2)).longest_pause(Duration::from_secs(1)),
    ] {
        assert!(matches!(hub.subscribe(stream(1), options, ignore), Err(Error::Invalid(_))));
    }
    assert!(stratalog::Hub::new(log.clone(), stratalog::HubOptions::new().max_threads(0)).is_err());
}

#[test]
fn an_end_is_reached_with_its_record_not_with_the_one_behind_it() {
    let log = log();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), SubscribeOptions::new().end(SeqId(2)));
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [1]);
    log.append(stream(1), &batch(1, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [2]);
    until_state(&hub, &id, SubscriptionState::Ended);
}

#[test]
fn an_end_within_a_batch_cuts_it() {
    let log = log();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), SubscribeOptions::new().end(SeqId(2)));
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    assert_eq!(take(&told, 2), [1, 2]);
    until_state(&hub, &id, SubscriptionState::Ended);
    assert!(told.recv().is_err());
    assert_eq!(hub.status(&id).unwrap().lag_records, 0);
}

#[test]
fn an_end_that_another_streams_record_passes_ends_it() {
    let log = log();
    let hub = hub(&log);
    let ended: Vec<_> = [Delivery::Threaded, Delivery::Inline]
        .into_iter()
        .map(|delivery| listen(&hub, stream(1), SubscribeOptions::new().end(SeqId(3)).delivery(delivery)).0)
        .collect();
    let (idle, _told) = listen(&hub, stream(3), SubscribeOptions::new().end(SeqId(5)));
    let mut pull = hub.pull(stream(1), Start::Now, Some(SeqId(3))).unwrap();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    log.append(stream(2), &batch(1, 2, 20)).unwrap();
    for id in &ended {
        until_state(&hub, id, SubscriptionState::Ended);
        assert_eq!(hub.status(id).unwrap().delivered, 1);
    }
    assert_eq!(seq_ids(&pull.next_batch(None).unwrap()), [1]);
    assert!(pull.next_batch(None).unwrap().is_empty());
    assert!(pull.is_finished());
    assert_ne!(hub.status(&idle).unwrap().state, SubscriptionState::Ended);
    log.append(stream(2), &batch(3, 2, 20)).unwrap();
    until_state(&hub, &idle, SubscriptionState::Ended);
}

#[test]
fn an_end_that_has_been_passed_before_ends_it_at_once() {
    let log = log();
    log.append(stream(2), &batch(0, 5, 20)).unwrap();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), from_start().end(SeqId(4)));
    until_state(&hub, &id, SubscriptionState::Ended);
    assert!(told.recv().is_err());
}

#[test]
fn many_ends_are_each_reached_in_their_own_time() {
    let log = log();
    let hub = hub(&log);
    let ids: Vec<_> =
        (1..=50).map(|end| listen(&hub, stream(7), SubscribeOptions::new().end(SeqId(end))).0).collect();
    for n in 0..25 {
        log.append(stream(8), &batch(n, 1, 20)).unwrap();
    }
    for id in ids.iter().take(25) {
        until_state(&hub, id, SubscriptionState::Ended);
    }
    for id in ids.iter().skip(25) {
        assert_ne!(hub.status(id).unwrap().state, SubscriptionState::Ended);
    }
    log.append(stream(8), &batch(25, 25, 20)).unwrap();
    until("all ended", || hub.statuses().iter().all(|status| status.state == SubscriptionState::Ended));
}

#[test]
fn after_one_end_was_passed_the_next_one_is_still_waited_for() {
    let log = log();
    let hub = hub(&log);
    let ids = [1, 2, 3].map(|end| listen(&hub, stream(7), SubscribeOptions::new().end(SeqId(end))).0);
    for id in &ids {
        until_state(&hub, id, SubscriptionState::Tailing);
    }
    for (n, id) in ids.iter().enumerate() {
        log.append(stream(8), &batch(n as u64, 1, 20)).unwrap();
        until_state(&hub, id, SubscriptionState::Ended);
    }
}

#[test]
fn batches_are_bounded_by_records_and_by_bytes() {
    let log = log();
    log.append(stream(1), &batch(0, 10, 100)).unwrap();
    let hub = hub(&log);
    let (_, told) = listen(&hub, stream(1), from_start().max_batch_records(4));
    let sizes: Vec<_> = (0..3).map(|_| told.recv().unwrap().len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    let (_, told) = listen(&hub, stream(1), from_start().max_batch_bytes(250));
    let sizes: Vec<_> = (0..4).map(|_| told.recv().unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
}

#[test]
fn an_empty_stream_beside_many_records_is_subscribed_to_without_reading_them() {
    let log = log();
    for n in 0..200 {
        log.append(stream(1), &batch(n * 1000, 1000, 8)).unwrap();
    }
    let hub = hub(&log);
    // The first one starts the clock.
    let _first = listen(&hub, stream(9), SubscribeOptions::new());
    let begun = Instant::now();
    for n in 0..100 {
        let (id, _told) = listen(&hub, stream(100 + n), from_start());
        assert_eq!(hub.status(&id).unwrap().state, SubscriptionState::Tailing);
    }
    let each = begun.elapsed() / 100;
    assert!(each < Duration::from_millis(1), "{each:?}");
}

#[test]
fn the_status_says_how_far_it_is_and_what_is_left() {
    let log = log();
    log.append(stream(2), &batch(0, 5, 100)).unwrap();
    log.append(stream(1), &batch(5, 10, 100)).unwrap();
    let hub = hub(&log);
    let (reached, at) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let options = SubscribeOptions::new().start(Start::After(SeqId(7))).max_batch_records(3).id("status");
    let id = hub
        .subscribe(stream(1), options, move |records| {
            reached.send(records.len())?;
            wait.recv()?;
            Ok(())
        })
        .unwrap();
    at.recv().unwrap();
    let status = hub.status(&id).unwrap();
    assert_eq!(status.state, SubscriptionState::Backfilling);
    assert_eq!((status.seq_id.0, status.log_offset.0), (7, 2));
    assert_eq!((status.lag_records, status.lag_bytes, status.delivered), (8, 800, 0));
    go.send(()).unwrap();
    at.recv().unwrap();
    let status = hub.status(&id).unwrap();
    assert_eq!((status.seq_id.0, status.log_offset.0), (10, 5));
    assert_eq!((status.lag_records, status.lag_bytes, status.delivered), (5, 500, 3));
    go.send(()).unwrap();
    go.send(()).unwrap();
    until_state(&hub, &id, SubscriptionState::Tailing);
    let status = hub.status(&id).unwrap();
    assert_eq!((status.seq_id.0, status.log_offset.0, status.lag_records), (15, 10, 0));
    assert_eq!((status.failures, status.last_error), (0, None));
    assert!(hub.status(&"nobody".into()).is_none());
}
