//! A callback that fails: contained, offered the same again, counted, given up in the end.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hub_support::{LONG, from_start, hub, listen, seq_ids, take, until, until_state};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, GiveUp, Log, SubscribeOptions, SubscriptionState};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

fn impatient() -> SubscribeOptions {
    from_start().first_pause(Duration::from_millis(1)).longest_pause(Duration::from_millis(4))
}

/// A panic that no hook prints.
fn panics(why: &str) -> ! {
    std::panic::resume_unwind(Box::new(why.to_owned()))
}

#[test]
fn the_same_records_are_offered_again_although_others_came_meanwhile() {
    let log = log();
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    let hub = hub(&log);
    let (tell, told) = mpsc::channel();
    let appending = log.clone();
    let mut calls = 0;
    let id = hub
        .subscribe(stream(1), impatient(), move |records| {
            calls += 1;
            tell.send(seq_ids(records)).unwrap();
            if calls < 4 {
                appending.append(stream(1), &batch(3, 1, 20))?;
                return Err("not now".into());
            }
            Ok(())
        })
        .unwrap();
    for _ in 0..4 {
        assert_eq!(told.recv_timeout(LONG).unwrap(), [1, 2, 3]);
    }
    assert_eq!(told.recv_timeout(LONG).unwrap(), [4, 5, 6]);
    until_state(&hub, &id, SubscriptionState::Tailing);
    let status = hub.status(&id).unwrap();
    assert_eq!((status.failures, status.delivered), (3, 6));
    assert_eq!(status.last_error.as_deref(), Some("not now"));
}

#[test]
fn after_so_many_tries_it_stops_with_its_error_and_its_position() {
    let log = log();
    log.append(stream(1), &batch(0, 4, 20)).unwrap();
    let hub = hub(&log);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let id = hub
        .subscribe(stream(1), impatient().max_tries(Some(3)).max_batch_records(2), move |records| {
            counted.fetch_add(1, Ordering::SeqCst);
            if records[0].seq_id.0 > 2 { Err("poison".into()) } else { Ok(()) }
        })
        .unwrap();
    until_state(&hub, &id, SubscriptionState::Stopped);
    let status = hub.status(&id).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!((status.seq_id.0, status.lag_records, status.failures), (2, 2, 3));
    assert_eq!(status.last_error.as_deref(), Some("poison"));
    log.append(stream(1), &batch(4, 1, 20)).unwrap();
    // Whoever is served behind it would be called after it.
    let (_, told) = listen(&hub, stream(1), from_start());
    take(&told, 5);
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[test]
fn a_callback_that_gives_up_is_not_called_again() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let log = log();
        let hub = hub(&log);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let id = hub
            .subscribe(stream(1), impatient().max_tries(None).delivery(delivery), move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(GiveUp::new("no use").into())
            })
            .unwrap();
        hub.append(stream(1), &batch(0, 2, 20)).unwrap();
        until_state(&hub, &id, SubscriptionState::Stopped);
        let status = hub.status(&id).unwrap();
        assert_eq!((status.seq_id.0, status.failures), (0, 1));
        assert_eq!(status.last_error.as_deref(), Some("no use"));
        hub.append(stream(1), &batch(2, 1, 20)).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_success_forgives_earlier_failures() {
    let log = log();
    log.append(stream(1), &batch(0, 20, 20)).unwrap();
    let hub = hub(&log);
    let mut calls = 0;
    let options = impatient().max_tries(Some(2)).max_batch_records(1);
    let id = hub
        .subscribe(stream(1), options, move |_| {
            calls += 1;
            if calls % 2 == 1 { Err("every other time".into()) } else { Ok(()) }
        })
        .unwrap();
    until_state(&hub, &id, SubscriptionState::Tailing);
    assert_eq!(hub.status(&id).unwrap().failures, 20);
}

#[test]
fn a_panic_is_a_failure_like_any_other() {
    let log = log();
    let hub = hub(&log);
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let mut calls = 0;
        let id = hub
            .subscribe(stream(1), impatient().delivery(delivery), move |_| {
                calls += 1;
                if calls <= 2 { panics(&format!("call {calls}")) } else { Ok(()) }
            })
            .unwrap();
        hub.append(stream(1), &batch(0, 1, 20)).unwrap();
        let newest = log.committed();
        until("taken", || hub.status(&id).unwrap().seq_id == newest);
        let status = hub.status(&id).unwrap();
        assert_eq!(status.failures, 2);
        assert_eq!(status.last_error.as_deref(), Some("the callback panicked: call 2"));
        hub.unsubscribe(&id);
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panics("a destructor of somebody's");
    }
}

#[test]
fn a_callback_whose_destructor_panics_takes_nobody_along() {
    let log = log();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    let hub = hub(&log);
    for k in 0..4 {
        let bomb = Bomb;
        let options = impatient().max_tries(Some(1)).id(format!("{k}"));
        let id = hub
            .subscribe(stream(1), options, move |_| {
                let _held = &bomb;
                if k % 2 == 0 { std::panic::resume_unwind(Box::new(Bomb)) } else { Ok(()) }
            })
            .unwrap();
        until("called", || hub.status(&id).unwrap().lag_records == 0 || k % 2 == 0);
        if k == 1 {
            hub.unsubscribe(&id);
        }
    }
    let (_, told) = listen(&hub, stream(1), from_start());
    assert_eq!(take(&told, 1), [1]);
    hub.close();
}

#[test]
fn one_that_fails_holds_up_no_other() {
    let log = log();
    let hub = hub(&log);
    let options = || SubscribeOptions::new().max_tries(None).first_pause(Duration::from_secs(3600));
    let options = || options().longest_pause(Duration::from_secs(3600));
    for _ in 0..20 {
        hub.subscribe(stream(1), options(), |_| Err("always".into())).unwrap();
        hub.subscribe(stream(1), options().delivery(Delivery::Inline), |_| Err("always".into())).unwrap();
    }
    let (id, told) = listen(&hub, stream(1), SubscribeOptions::new());
    let begun = Instant::now();
    for n in 0..50 {
        hub.append(stream(1), &batch(n, 1, 20)).unwrap();
        assert_eq!(take(&told, 1), [n + 1]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let retrying = || hub.statuses().iter().filter(|s| s.state == SubscriptionState::Retrying).count();
    until("forty wait", || retrying() == 40);
    assert!(hub.statuses().iter().all(|status| status.id == id || status.failures == 1));
}

#[test]
fn an_inline_callback_that_fails_costs_the_append_nothing_and_is_tried_again() {
    let log = log();
    let hub = hub(&log);
    let good = Arc::new(AtomicBool::new(false));
    let is_good = Arc::clone(&good);
    let (tell, told) = mpsc::channel();
    let options = impatient().max_tries(None).delivery(Delivery::Inline);
    let id = hub
        .subscribe(stream(1), options, move |records| {
            if !is_good.load(Ordering::SeqCst) {
                return Err("not yet".into());
            }
            tell.send(seq_ids(records)).unwrap();
            Ok(())
        })
        .unwrap();
    hub.append(stream(1), &batch(0, 1, 20)).unwrap();
    assert!(hub.status(&id).unwrap().failures >= 1, "called before the append returned");
    hub.append(stream(1), &batch(1, 1, 20)).unwrap();
    good.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(told.recv_timeout(LONG).unwrap());
    }
    assert_eq!(seen, [1, 2]);
    // And inline again.
    until_state(&hub, &id, SubscriptionState::Tailing);
    hub.append(stream(1), &batch(2, 1, 20)).unwrap();
    assert_eq!(told.try_recv().unwrap(), [3]);
}

#[test]
fn damage_in_the_log_stops_a_subscription_and_skips_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = buffered();
    let log = options.open(dir.path()).unwrap();
    for n in 0..6 {
        log.append(stream(1), &batch(n, 1, 400)).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        std::fs::read(path).unwrap().windows(9).any(|window| window == b"record 3 ")
    };
    let segment = names.filter(|path| path.is_file()).find(holds).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let hit = bytes.windows(9).position(|window| window == b"record 3 ").unwrap();
    bytes[hit + 50] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let log = options.open(dir.path()).unwrap();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), from_start());
    until_state(&hub, &id, SubscriptionState::Stopped);
    assert_eq!(told.iter().flat_map(|batch| seq_ids(&batch)).collect::<Vec<_>>(), [1, 2, 3]);
    let status = hub.status(&id).unwrap();
    assert!(status.last_error.unwrap().contains("is damaged at position"));
    assert_eq!(status.seq_id.0, 3);
    let mut pull = hub.pull(stream(1), stratalog::Start::After(stratalog::SeqId(0)), None).unwrap();
    assert_eq!(seq_ids(&pull.next_batch(None).unwrap()), [1, 2, 3]);
    assert!(pull.next_batch(None).unwrap_err().is_corruption());
    assert_eq!(seq_ids(&pull.next_batch(None).unwrap()), [5, 6]);
}
