//! When `unsubscribe` or `close` has returned, the callback does not run and will not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shuttle::thread;
use stratalog::{
    ConsumeError, Delivery, Hub, HubOptions, Record, SeqId, Start, SubscribeOptions, SubscriptionId,
};

use super::explore::{explore, fresh, one, stream};

/// What a callback does, seen from outside. No scheduling of its own.
#[derive(Default)]
struct Calls {
    inside: AtomicBool,
    begun: AtomicUsize,
    overlapped: AtomicBool,
    dropped: AtomicBool,
}

impl Calls {
    fn consume(self: &Arc<Self>) -> impl FnMut(&[Record]) -> Result<(), ConsumeError> + Send + use<> {
        let owned = Dropped(Arc::clone(self));
        move |_: &[Record]| {
            let calls = &owned.0;
            if calls.inside.swap(true, Ordering::SeqCst) {
                calls.overlapped.store(true, Ordering::SeqCst);
            }
            calls.begun.fetch_add(1, Ordering::SeqCst);
            (0..3).for_each(|_| thread::yield_now());
            calls.inside.store(false, Ordering::SeqCst);
            Ok(())
        }
    }

    fn assert_over(&self) -> usize {
        assert!(!self.inside.load(Ordering::SeqCst), "it returned, and the callback runs");
        assert!(!self.overlapped.load(Ordering::SeqCst), "two calls at once");
        self.begun.load(Ordering::SeqCst)
    }
}

struct Dropped(Arc<Calls>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

fn appending(hub: &Hub) -> thread::JoinHandle<()> {
    let hub = hub.clone();
    thread::spawn(move || (0..3).for_each(|n| _ = hub.append(stream(1), &one(0, n)).unwrap()))
}

fn unsubscribed(delivery: Delivery) {
    let (_disk, log) = fresh();
    let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
    let calls = Arc::new(Calls::default());
    let producer = appending(&hub);
    let options =
        SubscribeOptions::new().start(Start::After(SeqId(0))).max_batch_records(1).delivery(delivery);
    let id = hub.subscribe(stream(1), options, calls.consume()).unwrap();
    hub.unsubscribe(&id);
    let begun = calls.assert_over();
    assert!(calls.dropped.load(Ordering::SeqCst), "it returned, and the callback was not dropped");
    assert!(hub.status(&id).is_none());
    producer.join().unwrap();
    hub.append(stream(1), &one(1, 0)).unwrap();
    assert_eq!(calls.assert_over(), begun, "called after it was unsubscribed");
    hub.close();
    assert_eq!(calls.assert_over(), begun, "called after it was unsubscribed");
    log.close().unwrap();
}

#[test]
fn no_callback_runs_after_unsubscribe_returned() {
    explore(|| unsubscribed(Delivery::Threaded));
}

#[test]
fn no_inline_callback_runs_after_unsubscribe_returned() {
    explore(|| unsubscribed(Delivery::Inline));
}

#[test]
fn of_two_who_unsubscribe_each_finds_the_callback_dropped() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        explore(move || {
            let (_disk, log) = fresh();
            let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
            let calls = Arc::new(Calls::default());
            let producer = appending(&hub);
            let options = SubscribeOptions::new().start(Start::After(SeqId(0))).delivery(delivery);
            let id = hub.subscribe(stream(1), options, calls.consume()).unwrap();
            let unsubscribing = (0..2).map(|_| {
                let (hub, id, calls) = (hub.clone(), id.clone(), Arc::clone(&calls));
                thread::spawn(move || {
                    hub.unsubscribe(&id);
                    calls.assert_over();
                    assert!(
                        calls.dropped.load(Ordering::SeqCst),
                        "it returned before the callback was dropped"
                    );
                    assert!(hub.status(&id).is_none());
                })
            });
            unsubscribing.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
            producer.join().unwrap();
            hub.close();
            log.close().unwrap();
        });
    }
}

#[test]
fn no_callback_runs_after_the_hub_was_closed() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let calls: Vec<_> = (0..2).map(|_| Arc::new(Calls::default())).collect();
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..3).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        for (calls, delivery) in calls.iter().zip([Delivery::Threaded, Delivery::Inline]) {
            let options =
                SubscribeOptions::new().start(Start::After(SeqId(0))).max_batch_records(1).delivery(delivery);
            hub.subscribe(stream(1), options, calls.consume()).unwrap();
        }
        let also = {
            let hub = hub.clone();
            thread::spawn(move || hub.close())
        };
        hub.close();
        let begun: Vec<_> = calls.iter().map(|calls| calls.assert_over()).collect();
        producer.join().unwrap();
        also.join().unwrap();
        assert_eq!(calls.iter().map(|calls| calls.assert_over()).collect::<Vec<_>>(), begun);
        log.close().unwrap();
    });
}

#[test]
fn a_callback_may_unsubscribe_itself_and_another_that_does_the_same() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let counts: Vec<_> = (0..2).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let names = ["one", "other"];
        for (count, (own, other)) in counts.iter().zip([(names[0], names[1]), (names[1], names[0])]) {
            let (count, inside) = (Arc::clone(count), hub.clone());
            let consume = move |_: &[Record]| {
                count.fetch_add(1, Ordering::SeqCst);
                // Each waits for the other: that circle must not close.
                inside.unsubscribe(&SubscriptionId::from(other));
                inside.unsubscribe(&SubscriptionId::from(own));
                Ok(())
            };
            let options = SubscribeOptions::new().id(own).start(Start::After(SeqId(0))).max_batch_records(1);
            hub.subscribe(stream(1), options, consume).unwrap();
        }
        let producer = appending(&hub);
        producer.join().unwrap();
        names.iter().for_each(|name| hub.unsubscribe(&SubscriptionId::from(*name)));
        for count in counts {
            assert!(count.load(Ordering::SeqCst) <= 1, "called again after it unsubscribed itself");
        }
        hub.close();
        log.close().unwrap();
    });
}
