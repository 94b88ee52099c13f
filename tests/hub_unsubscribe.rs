//! After `unsubscribe` no call runs and none follows; and it never waits for itself.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use hub_support::{LONG, from_start, hub, in_time, listen, take, until};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, Log, SubscribeOptions};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

#[test]
fn when_it_returns_the_callback_neither_runs_nor_will() {
    let log = log();
    let hub = hub(&log);
    let stop = Arc::new(AtomicBool::new(false));
    let (appending, stopped) = (log.clone(), Arc::clone(&stop));
    let producer = std::thread::spawn(move || {
        for n in 0.. {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            appending.append(stream(1), &batch(n, 1, 20)).unwrap();
        }
    });
    for round in 0..300 {
        let inside = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&inside);
        let delivery = if round % 3 == 0 { Delivery::Inline } else { Delivery::Threaded };
        let (tell, told) = mpsc::channel();
        let options = SubscribeOptions::new().delivery(delivery);
        let id = hub
            .subscribe(stream(1), options, move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = tell.send(());
                std::thread::yield_now();
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap();
        told.recv_timeout(LONG).unwrap();
        hub.unsubscribe(&id);
        let seen = inside.load(Ordering::SeqCst);
        assert_eq!(seen % 2, 0, "round {round}: still inside");
        assert_eq!(Arc::strong_count(&inside), 1, "the callback is still there");
        std::thread::yield_now();
        assert_eq!(inside.load(Ordering::SeqCst), seen, "round {round}: called again");
        assert!(hub.status(&id).is_none());
    }
    stop.store(true, Ordering::SeqCst);
    producer.join().unwrap();
}

#[test]
fn an_unknown_id_is_no_error() {
    let hub = hub(&log());
    hub.unsubscribe(&"nobody".into());
}

#[test]
fn from_inside_the_callback_it_returns_at_once_and_no_call_follows() {
    let log = log();
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    let hub = hub(&log);
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let (tell, told) = mpsc::channel();
        let inner = hub.clone();
        let options = from_start().id("self").max_batch_records(1).delivery(delivery);
        let id = in_time("unsubscribing oneself", {
            let hub = hub.clone();
            move || {
                hub.subscribe(stream(1), options, move |records| {
                    inner.unsubscribe(&"self".into());
                    tell.send(records.len())?;
                    Ok(())
                })
                .unwrap()
            }
        });
        assert_eq!(told.recv_timeout(LONG).unwrap(), 1);
        // The callback goes when its last call is over.
        assert!(told.recv_timeout(LONG).is_err(), "called again");
        until("its name is free", || hub.status(&id).is_none());
    }
}

#[test]
fn two_callbacks_that_unsubscribe_each_other_do_not_wait_for_each_other() {
    for _ in 0..20 {
        let log = log();
        let hub = hub(&log);
        let meet = Arc::new(Barrier::new(2));
        let calls = Arc::new(AtomicU64::new(0));
        let (tell, told) = mpsc::channel();
        for (me, other) in [("a", "b"), ("b", "a")] {
            let (hub_inside, meet, tell) = (hub.clone(), Arc::clone(&meet), tell.clone());
            let calls = Arc::clone(&calls);
            let options = SubscribeOptions::new().id(me).max_batch_records(1);
            hub.subscribe(stream(1), options, move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
                meet.wait();
                hub_inside.unsubscribe(&other.into());
                tell.send(()).unwrap();
                Ok(())
            })
            .unwrap();
        }
        log.append(stream(1), &batch(0, 3, 20)).unwrap();
        told.recv_timeout(LONG).expect("one hangs");
        told.recv_timeout(LONG).expect("the other hangs");
        until("both are gone", || hub.statuses().is_empty());
        assert_eq!(calls.load(Ordering::SeqCst), 2, "called again");
    }
}

#[test]
fn a_circle_of_callbacks_that_unsubscribe_the_next_one_is_found() {
    const N: usize = 5;
    let log = log();
    let hub = hub(&log);
    let meet = Arc::new(Barrier::new(N));
    let (tell, told) = mpsc::channel();
    for k in 0..N {
        let (inner, meet, tell) = (hub.clone(), Arc::clone(&meet), tell.clone());
        hub.subscribe(stream(1), SubscribeOptions::new().id(format!("{k}")), move |_| {
            meet.wait();
            inner.unsubscribe(&format!("{}", (k + 1) % N).into());
            tell.send(()).unwrap();
            Ok(())
        })
        .unwrap();
    }
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    (0..N).for_each(|_| told.recv_timeout(LONG).expect("a circle"));
    until("all are gone", || hub.statuses().is_empty());
}

#[test]
fn two_who_unsubscribe_the_same_both_wait_for_its_call_to_end() {
    let log = log();
    let hub = hub(&log);
    let (entered, inside) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&over);
    let id = hub
        .subscribe(stream(1), SubscribeOptions::new(), move |_| {
            entered.send(())?;
            wait.recv()?;
            done.store(true, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    inside.recv().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (hub, id, over) = (hub.clone(), id.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                hub.unsubscribe(&id);
                over.load(Ordering::SeqCst)
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(30));
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    go.send(()).unwrap();
    for thread in waiting {
        assert!(thread.join().unwrap(), "returned while it ran");
    }
}

#[test]
fn a_subscription_that_pauses_after_a_failure_is_gone_at_once() {
    let log = log();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let hub = hub(&log);
    let pause = Duration::from_secs(3600);
    let options = from_start().first_pause(pause).longest_pause(pause);
    let id = hub.subscribe(stream(1), options, |_| Err("no".into())).unwrap();
    until("it failed", || hub.status(&id).unwrap().failures == 1);
    let leaving = hub.clone();
    in_time("unsubscribe", move || leaving.unsubscribe(&id));
    assert!(hub.statuses().is_empty());
}

#[test]
fn a_callback_may_call_everything() {
    let log = log();
    let hub = hub(&log);
    let (tell, told) = mpsc::channel();
    let (inner, inner_log) = (hub.clone(), log.clone());
    let (other, _kept) = listen(&hub, stream(3), SubscribeOptions::new());
    let mut calls = 0;
    hub.subscribe(stream(1), SubscribeOptions::new().id("all"), move |records| {
        calls += 1;
        if calls == 1 {
            // The second one to its own stream.
            inner.append(stream(2), &batch(0, 1, 20))?;
            inner_log.append(stream(1), &batch(0, 1, 20))?;
            inner.unsubscribe(&other);
            assert!(inner.status(&"all".into()).is_some());
            let passed = tell.clone();
            inner.subscribe(stream(2), from_start(), move |records| {
                passed.send(("inner", records.len()))?;
                Ok(())
            })?;
        }
        tell.send(("outer", records.len()))?;
        Ok(())
    })
    .unwrap();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let mut seen = (0..3).map(|_| told.recv_timeout(LONG).unwrap()).collect::<Vec<_>>();
    seen.sort_unstable();
    assert_eq!(seen, [("inner", 1), ("outer", 1), ("outer", 1)]);
    assert_eq!(hub.statuses().len(), 2);
    let (_, told) = listen(&hub, stream(1), from_start());
    assert_eq!(take(&told, 2).len(), 2);
    hub.close();
}
