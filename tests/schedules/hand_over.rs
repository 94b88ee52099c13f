//! From the backfill to the live tail: no gap, nothing twice, in order.

use std::sync::Arc;

use shuttle::thread;
use stratalog::{Hub, HubOptions, SeqId, Start, SubscribeOptions, SubscriptionState};

use super::explore::{Seen, explore, fresh, one, stream};

fn appending(hub: &Hub, producer: u64, count: u64) -> thread::JoinHandle<()> {
    let hub = hub.clone();
    thread::spawn(move || (0..count).for_each(|n| _ = hub.append(stream(1), &one(producer, n)).unwrap()))
}

#[test]
fn a_subscription_made_beside_appends_gets_all_of_them_once_and_in_order() {
    explore(|| {
        let (disk, log) = fresh();
        log.append(stream(1), &one(9, 0)).unwrap();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let producers: Vec<_> = (0..2).map(|p| appending(&hub, p, 2)).collect();
        let seen = Arc::new(Seen::default());
        let (told, lost) = (Arc::clone(&seen), Arc::new(Seen::default()));
        let not_durable = Arc::clone(&lost);
        let consume = move |records: &[stratalog::Record]| {
            for record in records.iter().filter(|record| !disk.has_durable(&record.payload)) {
                not_durable.take(std::slice::from_ref(record));
            }
            told.take(records);
            Ok(())
        };
        let id =
            hub.subscribe(stream(1), SubscribeOptions::new().start(Start::After(SeqId(0))), consume).unwrap();
        assert_eq!(seen.wait(5), [1, 2, 3, 4, 5]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        hub.unsubscribe(&id);
        assert_eq!(seen.now(), [1, 2, 3, 4, 5]);
        assert_eq!(lost.now(), [0; 0], "seen and not durable");
        hub.close();
        log.close().unwrap();
    });
}

/// Who subscribes is still at it when the first commit has already made the subscription run.
#[test]
fn a_subscription_called_before_subscribe_returned_is_called_again() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..3).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            told.take(records);
            Ok(())
        };
        hub.subscribe(stream(1), SubscribeOptions::new().start(Start::After(SeqId(0))), consume).unwrap();
        assert_eq!(seen.wait(3), [1, 2, 3]);
        producer.join().unwrap();
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_subscription_from_now_on_has_no_gap_behind_its_first_record() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let producer = appending(&hub, 0, 3);
        let before = log.committed().0;
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            told.take(records);
            Ok(())
        };
        hub.subscribe(stream(1), SubscribeOptions::new(), consume).unwrap();
        let after = log.committed().0;
        producer.join().unwrap();
        log.append(stream(1), &one(9, 0)).unwrap();
        let got = seen.wait((4 - after) as usize);
        let first = got[0];
        assert!(first > before, "{first} was there before the call");
        assert!(first <= after + 1, "{first} is the first, and {after} was committed when it was made");
        // A start before what was committed meanwhile shows some of that as well.
        let got = seen.wait((5 - first) as usize);
        assert_eq!(got, (first..=4).collect::<Vec<_>>());
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_subscription_with_an_end_ends_when_the_log_comes_there_by_whatever_stream() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            told.take(records);
            Ok(())
        };
        let options = SubscribeOptions::new().start(Start::After(SeqId(0))).end(SeqId(3));
        let producer = {
            let log = log.clone();
            thread::spawn(move || {
                log.append(stream(1), &one(0, 0)).unwrap();
                log.append(stream(2), &one(0, 1)).unwrap();
                log.append(stream(2), &one(0, 2)).unwrap();
            })
        };
        let id = hub.subscribe(stream(1), options, consume).unwrap();
        producer.join().unwrap();
        assert_eq!(seen.wait(1), [1]);
        while hub.status(&id).unwrap().state != SubscriptionState::Ended {
            thread::yield_now();
        }
        assert_eq!(seen.now(), [1]);
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_callback_that_fails_is_offered_the_same_again_and_the_rest_behind_it() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let producer = appending(&hub, 0, 3);
        let seen = Arc::new(Seen::default());
        let (told, mut failures) = (Arc::clone(&seen), 2);
        let consume = move |records: &[stratalog::Record]| {
            if failures > 0 {
                failures -= 1;
                return Err("not yet".into());
            }
            told.take(records);
            Ok(())
        };
        hub.subscribe(stream(1), SubscribeOptions::new().start(Start::After(SeqId(0))), consume).unwrap();
        assert_eq!(seen.wait(3), [1, 2, 3]);
        producer.join().unwrap();
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn two_subscriptions_of_one_thread_both_get_everything() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new().max_threads(1)).unwrap();
        let seen: Vec<_> = (0..2).map(|_| Arc::new(Seen::default())).collect();
        let producer = appending(&hub, 0, 3);
        for seen in &seen {
            let told = Arc::clone(seen);
            let consume = move |records: &[stratalog::Record]| {
                told.take(records);
                Ok(())
            };
            let options = SubscribeOptions::new().start(Start::After(SeqId(0))).max_batch_records(1);
            hub.subscribe(stream(1), options, consume).unwrap();
        }
        for seen in &seen {
            assert_eq!(seen.wait(3), [1, 2, 3]);
        }
        producer.join().unwrap();
        hub.close();
        log.close().unwrap();
    });
}
