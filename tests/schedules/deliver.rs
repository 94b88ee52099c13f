//! Inline delivery, and records that are pulled.

use std::sync::Arc;

use shuttle::thread;
use stratalog::{Delivery, Error, Hub, HubOptions, SeqId, Start, SubscribeOptions};

use super::explore::{Seen, explore, fresh, one, stream};

#[test]
fn an_append_returns_after_the_inline_subscribers_were_called_with_it() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            thread::yield_now();
            told.take(records);
            Ok(())
        };
        hub.subscribe(stream(1), SubscribeOptions::new().delivery(Delivery::Inline), consume).unwrap();
        let producers = (0..3).map(|p| {
            let (hub, seen) = (hub.clone(), Arc::clone(&seen));
            thread::spawn(move || {
                for n in 0..2 {
                    let appended = hub.append(stream(1), &one(p, n)).unwrap();
                    assert!(seen.now().contains(&appended.first_seq_id.0), "returned before the call");
                }
            })
        });
        producers.collect::<Vec<_>>().into_iter().for_each(|producer| producer.join().unwrap());
        assert_eq!(seen.now(), [1, 2, 3, 4, 5, 6]);
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn an_inline_subscriber_is_also_called_for_what_was_appended_past_the_hub() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            told.take(records);
            Ok(())
        };
        hub.subscribe(stream(1), SubscribeOptions::new().delivery(Delivery::Inline), consume).unwrap();
        let past = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        for n in 0..2 {
            hub.append(stream(1), &one(1, n)).unwrap();
        }
        assert_eq!(seen.wait(4), [1, 2, 3, 4]);
        past.join().unwrap();
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_pull_gets_every_record_once_and_in_order() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let mut pull = hub.pull(stream(1), Start::After(SeqId(0)), None).unwrap();
        let producers: Vec<_> = (0..2)
            .map(|p| {
                let log = log.clone();
                thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(1), &one(p, n)).unwrap()))
            })
            .collect();
        let mut got = Vec::new();
        while got.len() < 4 {
            // Waiting in a thread and waiting as a future by turns.
            let batch = match got.len() % 2 {
                0 => pull.next_batch(None).unwrap(),
                _ => shuttle::future::block_on(pull.next_batch_async()).unwrap(),
            };
            assert!(!batch.is_empty());
            got.extend(batch.iter().map(|record| record.seq_id.0));
        }
        assert_eq!(got, [1, 2, 3, 4]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        drop(pull);
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_pull_that_waits_is_told_that_its_end_was_passed_by_another_stream() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let mut pull = hub.pull(stream(1), Start::After(SeqId(0)), Some(SeqId(2))).unwrap();
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(2), &one(0, n)).unwrap()))
        };
        assert!(pull.next_batch(None).unwrap().is_empty());
        assert!(pull.is_finished());
        producer.join().unwrap();
        drop(pull);
        hub.close();
        log.close().unwrap();
    });
}

#[test]
fn a_pull_that_waits_is_told_that_the_hub_or_the_log_was_closed() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let waiting = (0..2).map(|k| {
            let mut pull = hub.pull(stream(1), Start::After(SeqId(0)), None).unwrap();
            thread::spawn(move || {
                let outcome = match k {
                    0 => pull.next_batch(None),
                    _ => shuttle::future::block_on(pull.next_batch_async()),
                };
                assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
            })
        });
        let waiting: Vec<_> = waiting.collect();
        let closer = {
            let log = log.clone();
            thread::spawn(move || log.close().unwrap())
        };
        hub.close();
        closer.join().unwrap();
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
