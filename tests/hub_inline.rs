//! Who appends through the hub finds its records applied by the inline subscriptions.
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, ThreadId};

use hooked::{Gate, Hook, Hooked, nothing};
use hub_support::{LONG, hub, in_time, listen, seq_ids, until, until_state};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, Hub, Log, SeqId, SubscribeOptions, SubscriptionState};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

fn inline() -> SubscribeOptions {
    SubscribeOptions::new().delivery(Delivery::Inline)
}

type Calls = Arc<Mutex<Vec<(ThreadId, Vec<u64>)>>>;

/// Notes who called with what.
fn noting(hub: &Hub, options: SubscribeOptions) -> Calls {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let note = move |records: &[stratalog::Record]| {
        noted.lock().unwrap().push((thread::current().id(), seq_ids(records)));
        Ok(())
    };
    hub.subscribe(stream(1), options, note).unwrap();
    calls
}

#[test]
fn an_append_returns_after_it_was_delivered_on_its_own_thread() {
    let log = log();
    let hub = hub(&log);
    let calls = noting(&hub, inline());
    for n in 0..50 {
        hub.append(stream(1), &batch(n, 1, 20)).unwrap();
        assert_eq!(calls.lock().unwrap().last().unwrap().1, [n + 1]);
    }
    // Where the log's own thread commits, one of the hub's may come first.
    let own =
        |calls: &[(ThreadId, Vec<u64>)]| calls.iter().filter(|(id, _)| *id == thread::current().id()).count();
    assert!(own(&calls.lock().unwrap()) >= 40);
}

#[test]
fn a_backfill_is_delivered_inside_subscribe() {
    let log = log();
    log.append(stream(1), &batch(0, 5_000, 20)).unwrap();
    let hub = hub(&log);
    let calls = noting(&hub, inline().start(stratalog::Start::After(SeqId(0))));
    let calls = calls.lock().unwrap();
    assert_eq!(
        calls.iter().flat_map(|(_, seen)| seen.clone()).collect::<Vec<_>>(),
        (1..=5_000).collect::<Vec<_>>()
    );
    assert!(calls.iter().all(|(thread, _)| *thread == thread::current().id()));
}

#[test]
fn every_producer_finds_its_own_records_applied() {
    let log = log();
    let hub = hub(&log);
    let applied = Arc::new(AtomicU64::new(0));
    let running = Arc::new(AtomicBool::new(false));
    for _ in 0..3 {
        hub.subscribe(stream(1), inline(), |_| Ok(())).unwrap();
    }
    let (set, busy) = (Arc::clone(&applied), Arc::clone(&running));
    hub.subscribe(stream(1), inline(), move |records| {
        // A failure shows in the status.
        let alone = !busy.swap(true, Ordering::SeqCst);
        let in_order =
            records.iter().all(|record| set.swap(record.seq_id.0, Ordering::SeqCst) < record.seq_id.0);
        busy.store(false, Ordering::SeqCst);
        if alone && in_order { Ok(()) } else { Err(format!("alone {alone}, in order {in_order}").into()) }
    })
    .unwrap();
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let (hub, applied) = (hub.clone(), Arc::clone(&applied));
            thread::spawn(move || {
                for n in 0..200 {
                    let last = hub.append(stream(1), &batch(n, 2, 20)).unwrap().last_seq_id().unwrap();
                    assert!(applied.load(Ordering::SeqCst) >= last.0);
                }
            })
        })
        .collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(applied.load(Ordering::SeqCst), 8 * 200 * 2);
    assert!(hub.statuses().iter().all(|status| status.failures == 0 && status.delivered == 3_200));
}

#[test]
fn what_was_appended_past_the_hub_is_delivered_all_the_same() {
    let log = log();
    let hub = hub(&log);
    let calls = noting(&hub, inline());
    log.append(stream(1), &batch(0, 2, 20)).unwrap();
    until("delivered", || calls.lock().unwrap().iter().map(|(_, seen)| seen.len()).sum::<usize>() == 2);
    // Or when it is asked for, on the thread of who asks.
    let last = log.submit(stream(1), &batch(2, 1, 20)).unwrap().wait().unwrap().last_seq_id().unwrap();
    hub.deliver(stream(1), last);
    assert_eq!(calls.lock().unwrap().last().unwrap().1, [3]);
    hub.deliver(stream(1), SeqId::MAX);
    hub.deliver(stream(7), SeqId::MAX);
}

#[test]
fn what_others_append_past_the_hub_is_not_forgotten_beside_appends_through_it() {
    for _ in 0..20 {
        let log = log();
        let hub = hub(&log);
        let calls = noting(&hub, inline());
        let both = Arc::new(Barrier::new(2));
        let (beside, meet) = (log.clone(), Arc::clone(&both));
        let other = thread::spawn(move || {
            meet.wait();
            for n in 0..20 {
                beside.append(stream(1), &batch(n, 1, 20)).unwrap();
            }
        });
        both.wait();
        for n in 0..20 {
            hub.append(stream(1), &batch(n, 1, 20)).unwrap();
        }
        other.join().unwrap();
        until("all", || calls.lock().unwrap().iter().map(|(_, seen)| seen.len()).sum::<usize>() == 40);
        let seen: Vec<_> = calls.lock().unwrap().iter().flat_map(|(_, seen)| seen.clone()).collect();
        assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_left_to_an_append_that_then_fails_is_delivered_all_the_same() {
    let gate = Gate::default();
    let (at_write, writes) = (gate.clone(), Arc::new(AtomicU64::new(u64::MAX / 2)));
    let counted = Arc::clone(&writes);
    let before: Hook = Arc::new(move |operation, name| {
        if operation != "write" || !name.starts_with("spare") {
            return Ok(());
        }
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => at_write.pass(),
            1 => return Err(std::io::Error::other("injected")),
            _ => {}
        }
        Ok(())
    });
    let storage = Hooked::new(Arc::new(MemoryStorage::new()), before, nothing());
    let options = support::small().idle_witness(std::time::Duration::from_secs(3_600));
    let log = options.open_storage(Arc::new(storage)).unwrap();
    log.append(stream(2), &batch(0, 1, 20)).unwrap();
    let hub = hub(&log);
    let calls = noting(&hub, inline());
    gate.shut();
    writes.store(0, Ordering::SeqCst);
    let first = log.submit(stream(1), &batch(0, 1, 20)).unwrap();
    gate.wait_for_one();
    let appending = hub.clone();
    let second = thread::spawn(move || appending.append(stream(1), &batch(1, 1, 20)));
    until("it is on its way", || log.stats().unwrap().appended == SeqId(3));
    gate.open();
    first.wait().unwrap();
    assert!(second.join().unwrap().is_err());
    // The commit of the first saw somebody on the way to deliver, and called nobody.
    until("the first is delivered", || calls.lock().unwrap().iter().any(|(_, seen)| seen == &[2]));
}

#[test]
fn an_append_waits_for_the_thread_that_delivers_its_records() {
    let log = log();
    let hub = hub(&log);
    let (entered, inside) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let options = inline().max_batch_records(1);
    let id = hub
        .subscribe(stream(1), options, move |records| {
            entered.send(records[0].seq_id.0)?;
            wait.recv()?;
            Ok(())
        })
        .unwrap();
    let spawn = |n| {
        let hub = hub.clone();
        thread::spawn(move || hub.append(stream(1), &batch(n, 1, 20)).unwrap())
    };
    let first = spawn(0);
    assert_eq!(inside.recv_timeout(LONG).unwrap(), 1);
    let second = spawn(1);
    until("both are committed", || log.committed() == SeqId(2));
    go.send(()).unwrap();
    assert_eq!(inside.recv_timeout(LONG).unwrap(), 2);
    assert_eq!(hub.status(&id).unwrap().seq_id.0, 1);
    assert!(!second.is_finished(), "returned before its record was taken");
    go.send(()).unwrap();
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(hub.status(&id).unwrap().seq_id.0, 2);
}

#[test]
fn a_callback_that_appends_to_its_own_stream_gets_that_next() {
    let log = log();
    let hub = hub(&log);
    let (tell, told) = mpsc::channel();
    let inner = hub.clone();
    hub.subscribe(stream(1), inline(), move |records| {
        if records[0].seq_id.0 < 5 {
            inner.append(stream(1), &batch(0, 1, 20))?;
        }
        tell.send(seq_ids(records))?;
        Ok(())
    })
    .unwrap();
    let appending = hub.clone();
    in_time("append", move || appending.append(stream(1), &batch(0, 1, 20)).unwrap());
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(told.recv_timeout(LONG).unwrap());
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    hub.close();
}

#[test]
fn callbacks_that_append_to_each_others_streams_from_two_threads_do_not_wait_for_each_other() {
    let log = log();
    let hub = hub(&log);
    let meet = Arc::new(Barrier::new(2));
    let taken = Arc::new(AtomicU64::new(0));
    for (own, other) in [(1, 2), (2, 1)] {
        let (inner, meet, taken) = (hub.clone(), Arc::clone(&meet), Arc::clone(&taken));
        let mut first = true;
        hub.subscribe(stream(own), inline(), move |records| {
            if std::mem::take(&mut first) {
                // Both are inside of their callbacks.
                meet.wait();
                inner.append(stream(other), &batch(0, 1, 20))?;
            }
            taken.fetch_add(records.len() as u64, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
    }
    let appends: Vec<_> = [1, 2]
        .map(|n| {
            let hub = hub.clone();
            thread::spawn(move || in_time("append", move || hub.append(stream(n), &batch(0, 1, 20)).unwrap()))
        })
        .into();
    for append in appends {
        append.join().unwrap();
    }
    until("each got both", || taken.load(Ordering::SeqCst) == 4);
    hub.close();
}

#[test]
fn an_end_is_reached_inline() {
    let log = log();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), inline().end(SeqId(2)));
    hub.append(stream(1), &batch(0, 3, 20)).unwrap();
    assert_eq!(seq_ids(&told.recv().unwrap()), [1, 2]);
    until_state(&hub, &id, SubscriptionState::Ended);
    hub.append(stream(1), &batch(3, 1, 20)).unwrap();
    assert!(told.recv().is_err());
}
