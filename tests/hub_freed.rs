//! Subscriptions beside purges, and wakers that make hubs.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::future::Future;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use hub_support::{LONG, from_start, listen, take};
use stratalog::storage::MemoryStorage;
use stratalog::{Hub, HubOptions, Log, Start, SubscribeOptions, SubscriptionState};
use support::{batch, open, small, stream};

#[test]
fn a_purge_said_twice_stops_no_subscriber_that_has_everything() {
    let log = open(&small(), &MemoryStorage::new());
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let (id, told) = listen(&hub, stream(1), from_start());
    log.append(stream(1), &batch(0, 3, 20)).unwrap();
    take(&told, 3);
    log.append(stream(2), &batch(3, 6, 20)).unwrap();
    // An idle subscriber's reader is taken away after a second, and made anew for the next record.
    for wait in [Duration::ZERO, Duration::from_millis(1500)] {
        std::thread::sleep(wait);
        for _ in 0..2 {
            log.purge(stream(1), log.committed()).unwrap();
        }
        let next = log.append(stream(1), &batch(9, 1, 20)).unwrap();
        assert_eq!(take(&told, 1), [next.first_seq_id.0]);
        assert_ne!(hub.status(&id).unwrap().state, SubscriptionState::Stopped);
    }
}

/// Makes a hub over the log it has, and hands it out.
struct MakesHub {
    log: Log,
    made: Mutex<mpsc::Sender<Hub>>,
}

impl Wake for MakesHub {
    fn wake(self: Arc<Self>) {
        let hub = Hub::new(self.log.clone(), HubOptions::new()).unwrap();
        self.made.lock().unwrap().send(hub).unwrap();
    }
}

#[test]
fn a_waker_may_make_a_hub() {
    let log = open(&small(), &MemoryStorage::new());
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let (made, hubs) = mpsc::channel();
    let waker = Waker::from(Arc::new(MakesHub { log: log.clone(), made: Mutex::new(made) }));
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    let mut next = Box::pin(pull.next_batch_async());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let appends = std::thread::spawn(move || log.append(stream(1), &batch(1, 1, 10)).unwrap());
    hubs.recv_timeout(LONG).unwrap();
    appends.join().unwrap();
    assert_eq!(pollster::block_on(next).unwrap().len(), 1);
}

/// The segment that a follower stood in was freed before the hub over it began.
#[test]
fn a_subscriber_of_a_read_only_log_goes_on_after_a_free() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append(stream(2), &batch(0, 5, 4000)).unwrap();
    let follower = small().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    for n in 0..60 {
        log.append(stream(2), &batch(n, 1, 4000)).unwrap();
    }
    let segments = || log.stats().unwrap().segments.len();
    let before = segments();
    log.purge(stream(2), log.committed()).unwrap();
    assert!(segments() < before, "some were freed");
    let hub = Hub::new(follower, HubOptions::new()).unwrap();
    let (_, told) = listen(&hub, stream(1), SubscribeOptions::new());
    let appended = log.append(stream(1), &batch(0, 1, 10)).unwrap();
    assert_eq!(take(&told, 1), [appended.first_seq_id.0]);
}
