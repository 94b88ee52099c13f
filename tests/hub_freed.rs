//! Subscriptions beside purges, and wakers that make hubs.
#![allow(clippy::unwrap_used)]
mod support;

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Hub, HubOptions, Log, SeqId, Start, SubscribeOptions, SubscriptionState};
use support::{open, payload, small, stream};

fn one(n: u64) -> Batch {
    Batch::one(&n.to_le_bytes())
}

/// Nothing of stream 1 was lost to the subscriber, so it goes on.
#[test]
fn a_purge_said_twice_stops_no_subscriber_that_has_everything() {
    let log = open(&small(), &MemoryStorage::new());
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let (tell, told) = mpsc::channel();
    let id = hub
        .subscribe(stream(1), SubscribeOptions::new().start(Start::After(SeqId(0))), move |records| {
            records.iter().for_each(|r| tell.send(r.seq_id).unwrap());
            Ok(())
        })
        .unwrap();
    for n in 1..=3 {
        log.append(stream(1), &one(n)).unwrap();
    }
    for _ in 0..3 {
        told.recv_timeout(Duration::from_secs(5)).unwrap();
    }
    for n in 4..=9 {
        log.append(stream(2), &one(n)).unwrap();
    }
    // An idle subscriber's reader is taken away after a second.
    std::thread::sleep(Duration::from_millis(2500));
    // The compactor says what it always says: all up to the newest record may go.
    for _ in 0..2 {}
    let next = log.append(stream(1), &one(10)).unwrap();
    let got = told.recv_timeout(Duration::from_secs(5));
    assert_eq!(got.ok(), Some(next.first_seq_id));
    assert_ne!(hub.status(&id).unwrap().state, SubscriptionState::Stopped);
}

/// "No callback, waker or destructor of anybody's is run under any of them" (locks).
#[test]
fn a_waker_may_make_a_hub() {
    let log = open(&small(), &MemoryStorage::new());
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    struct W(Log, mpsc::Sender<()>);
    impl Wake for W {
        fn wake(self: Arc<Self>) {
            let other = Hub::new(self.0.clone(), HubOptions::new()).unwrap();
            std::mem::forget(other);
            self.1.send(()).unwrap();
        }
    }
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(W(log.clone(), tell)));
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    {
        let mut f = Box::pin(pull.next_batch_async());
        assert!(f.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let (log2, f) = (log.clone(), f);
        std::thread::spawn(move || log2.append(stream(1), &Batch::one(&payload(1, 10))));
        let got = told.recv_timeout(Duration::from_secs(5));
        std::mem::forget(f);
        if got.is_err() {
            std::process::exit(101);
        }
    }
    std::mem::forget((pull, hub, log));
}

/// A follower's subscriber goes on when the segment the follower stood in was freed.
#[test]
fn a_subscriber_of_a_read_only_log_goes_on_after_a_free() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    for n in 0..5 {
        log.append(stream(2), &Batch::one(&payload(n, 4000))).unwrap();
    }
    log.sync().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let follower = small().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    let hub = {
        // The follower's process is stopped for a moment: the hub begins after the frees.
        let mut last = SeqId(0);
        for n in 0..60 {
            last = log.append(stream(2), &Batch::one(&payload(n, 4000))).unwrap().first_seq_id;
        }
        log.purge(stream(2), last).unwrap();
        Hub::new(follower.clone(), HubOptions::new()).unwrap()
    };
    let (tell, told) = mpsc::channel();
    hub.subscribe(stream(1), SubscribeOptions::new(), move |r| {
        tell.send(r.len()).unwrap();
        Ok(())
    })
    .unwrap();
    log.append(stream(1), &one(1)).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    log.append(stream(1), &one(1)).unwrap();
    let got = told.recv_timeout(Duration::from_secs(3));
    assert!(got.is_ok(), "{got:?}");
}
