//! The end of a hub, of its log, and what both leave behind.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hub_support::{LONG, from_start, hub, in_time, listen, seq_ids, take, until, until_state};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, Durability, Error, Hub, HubOptions, Log, SubscribeOptions, SubscriptionState};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

#[test]
fn after_close_no_callback_runs_and_none_will() {
    for dropped in [false, true] {
        let log = log();
        let hub = hub(&log);
        let calls = Arc::new(AtomicU64::new(0));
        for k in 0..10 {
            let calls = Arc::clone(&calls);
            let delivery = if k == 0 { Delivery::Inline } else { Delivery::Threaded };
            hub.subscribe(stream(1), SubscribeOptions::new().delivery(delivery), move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                calls.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap();
        }
        for n in 0..20 {
            log.append(stream(1), &batch(n, 1, 20)).unwrap();
        }
        until("some were called", || calls.load(Ordering::SeqCst) > 10);
        let kept = (!dropped).then(|| hub.clone());
        let ending = hub;
        in_time("the end of the hub", move || if dropped { drop(ending) } else { ending.close() });
        let seen = calls.load(Ordering::SeqCst);
        assert_eq!(seen % 2, 0, "one is inside");
        assert_eq!(Arc::strong_count(&calls), 1, "a callback is still there");
        log.append(stream(1), &batch(0, 1, 20)).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), seen);
        if let Some(hub) = kept {
            assert!(hub.statuses().iter().all(|status| status.state == SubscriptionState::Closed));
            assert_eq!(hub.statuses().len(), 10);
            let refused = hub.subscribe(stream(1), SubscribeOptions::new(), |_| Ok(()));
            assert!(matches!(refused, Err(Error::Closed)));
            assert!(matches!(hub.append(stream(1), &batch(0, 1, 20)), Err(Error::Closed)));
            assert!(matches!(hub.pull(stream(1), stratalog::Start::Now, None), Err(Error::Closed)));
            hub.close();
        }
    }
}

#[test]
fn a_hub_that_is_gone_leaves_the_log_to_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..30 {
        let log = buffered().open(dir.path()).unwrap();
        let hub = Hub::new(log, HubOptions::new()).unwrap();
        let (_, told) = listen(&hub, stream(1), SubscribeOptions::new());
        hub.append(stream(1), &batch(n, 1, 20)).unwrap();
        assert_eq!(take(&told, 1), [n + 1]);
        drop(hub);
    }
}

#[test]
fn closed_from_inside_a_callback_it_does_not_wait_for_itself() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let log = log();
        let hub = hub(&log);
        let (tell, told) = mpsc::channel();
        for _ in 0..3 {
            let (inner, tell) = (hub.clone(), tell.clone());
            let options = SubscribeOptions::new().delivery(delivery);
            hub.subscribe(stream(1), options, move |_| {
                inner.close();
                tell.send(())?;
                Ok(())
            })
            .unwrap();
        }
        drop(tell);
        let appending = hub.clone();
        in_time("append", move || appending.append(stream(1), &batch(0, 1, 20)).unwrap());
        told.recv_timeout(LONG).unwrap();
        // From outside it waits until they are gone, and their callbacks with them.
        let closing = hub.clone();
        in_time("close", move || closing.close());
        while told.try_recv().is_ok() {}
        assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}

#[test]
fn the_last_handle_may_go_inside_a_callback() {
    let log = log();
    let hub = hub(&log);
    let (give, given) = mpsc::channel::<Hub>();
    let (tell, told) = mpsc::channel();
    hub.subscribe(stream(1), SubscribeOptions::new(), move |_| {
        drop(given.recv()?);
        tell.send(())?;
        Ok(())
    })
    .unwrap();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    give.send(hub).unwrap();
    told.recv_timeout(LONG).unwrap();
    assert!(told.recv_timeout(LONG).is_err(), "the callback stays");
    in_time("close", move || log.close().unwrap());
}

#[test]
fn a_callback_that_keeps_the_hub_goes_with_its_subscription() {
    let log = log();
    let hub = hub(&log);
    let kept = hub.clone();
    let (tell, told) = mpsc::channel();
    let options = SubscribeOptions::new().end(stratalog::SeqId(1));
    hub.subscribe(stream(1), options, move |_| {
        let _ = &kept;
        tell.send(())?;
        Ok(())
    })
    .unwrap();
    drop(hub);
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    told.recv_timeout(LONG).unwrap();
    assert!(told.recv_timeout(LONG).is_err());
}

#[test]
fn a_closed_log_closes_its_subscriptions() {
    let log = log();
    let hub = hub(&log);
    let ids: Vec<_> = [Delivery::Threaded, Delivery::Inline]
        .map(|delivery| listen(&hub, stream(1), SubscribeOptions::new().delivery(delivery)).0)
        .into();
    let (entered, inside) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let running = hub
        .subscribe(stream(2), SubscribeOptions::new().max_batch_records(1), move |_| {
            let _ = entered.send(());
            let _ = gate.recv();
            ended.store(true, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
    log.append(stream(2), &batch(0, 5, 20)).unwrap();
    inside.recv_timeout(LONG).unwrap();
    let closing = log.clone();
    in_time("the log's close", move || closing.close().unwrap());
    for id in &ids {
        assert_eq!(hub.status(id).unwrap().state, SubscriptionState::Closed);
    }
    go.send(()).unwrap();
    until_state(&hub, &running, SubscriptionState::Closed);
    assert!(over.load(Ordering::SeqCst));
    assert_eq!(hub.status(&running).unwrap().delivered, 1);
    assert!(matches!(hub.append(stream(1), &batch(0, 1, 20)), Err(Error::Closed)));
    let refused = hub.subscribe(stream(1), SubscribeOptions::new(), |_| Ok(()));
    assert!(matches!(refused, Err(Error::Closed)));
    in_time("close", move || hub.close());
}

#[test]
fn two_hubs_serve_one_log() {
    let log = log();
    let (one, two) = (hub(&log), hub(&log));
    let (_, first) = listen(&one, stream(1), SubscribeOptions::new());
    let (_, second) = listen(&two, stream(1), SubscribeOptions::new());
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    assert_eq!((take(&first, 1), take(&second, 1)), (vec![1], vec![1]));
    drop(one);
    two.append(stream(1), &batch(1, 1, 20)).unwrap();
    assert_eq!(take(&second, 1), [2]);
}

#[test]
fn a_log_opened_for_reading_only_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let options = buffered().durability(Durability::Sync).idle_witness(Duration::from_millis(5));
    let writer = options.open(dir.path()).unwrap();
    writer.append(stream(1), &batch(0, 2, 20)).unwrap();
    let reading = Log::open_read_only(dir.path()).unwrap();
    let hub = Hub::new(reading.clone(), HubOptions::new()).unwrap();
    let (_, told) = listen(&hub, stream(1), from_start());
    let (_, inline) = listen(&hub, stream(1), from_start().delivery(Delivery::Inline));
    let (ends, _told) = listen(&hub, stream(3), from_start().end(stratalog::SeqId(5)));
    let mut pull = hub.pull(stream(1), stratalog::Start::After(stratalog::SeqId(0)), None).unwrap();
    let mut pulled = Vec::new();
    while pulled.len() < 2 {
        pulled.extend(seq_ids(&pull.next_batch(Some(LONG)).unwrap()));
    }
    assert_eq!((take(&told, 2), take(&inline, 2), pulled), (vec![1, 2], vec![1, 2], vec![1, 2]));
    let waiting = std::thread::spawn(move || seq_ids(&pull.next_batch(Some(LONG)).unwrap()));
    writer.append(stream(1), &batch(2, 1, 20)).unwrap();
    assert_eq!((take(&told, 1), take(&inline, 1)), (vec![3], vec![3]));
    assert_eq!(in_time("a pull", move || waiting.join().unwrap()), [3]);
    writer.append(stream(2), &batch(0, 2, 20)).unwrap();
    until_state(&hub, &ends, SubscriptionState::Ended);
    in_time("close", move || hub.close());
}

#[test]
fn a_refresh_by_somebody_else_takes_no_news_from_subscribers() {
    let dir = tempfile::tempdir().unwrap();
    let options = buffered().durability(Durability::Sync).idle_witness(Duration::from_millis(1));
    let writer = options.open(dir.path()).unwrap();
    writer.append(stream(1), &batch(0, 1, 20)).unwrap();
    let reading = Log::open_read_only(dir.path()).unwrap();
    let hub = Hub::new(reading.clone(), HubOptions::new()).unwrap();
    let (_, told) = listen(&hub, stream(1), from_start());
    let mut pull = hub.pull(stream(1), stratalog::Start::After(stratalog::SeqId(0)), None).unwrap();
    for n in 1..20 {
        assert_eq!(take(&told, 1), [n]);
        assert_eq!(seq_ids(&pull.next_batch(Some(LONG)).unwrap()), [n]);
        writer.append(stream(1), &batch(n, 1, 20)).unwrap();
        until("it is visible", || {
            reading.refresh().unwrap();
            reading.committed().0 > n
        });
    }
}
