//! A log that is closed while others are at it: everybody ends, and what was acknowledged stays.

use std::sync::Arc;

use shuttle::thread;
use stratalog::{Error, Hub, HubOptions, SeqId, Start, SubscribeOptions};

use super::explore::{Seen, all, assert_durable_prefix, explore, fresh, one, open, options, stream, token};

#[test]
fn everybody_ends_when_the_log_is_closed_and_what_was_acknowledged_is_there() {
    explore(|| {
        let (disk, log) = fresh();
        let producers = (0..2).map(|p| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for n in 0..2 {
                    let outcome = match p {
                        0 => log.append(stream(1), &one(p, n)),
                        _ => log.submit(stream(1), &one(p, n)).and_then(|pending| pending.wait()),
                    };
                    match outcome {
                        Ok(appended) => {
                            assert!(disk.has_durable(&token(p, n)));
                            acknowledged.push((appended.first_seq_id, token(p, n)));
                        }
                        Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
                    }
                }
                acknowledged
            })
        });
        let producers: Vec<_> = producers.collect();
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                let Ok(mut reader) = log.reader(..) else { return };
                loop {
                    match reader.wait_record(None) {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("a wait without an end ended without a record"),
                        Err(error) => return assert!(matches!(error, Error::Closed), "{error}"),
                    }
                }
            })
        };
        let also = {
            let log = log.clone();
            thread::spawn(move || log.close().unwrap())
        };
        log.close().unwrap();
        assert!(matches!(log.append(stream(1), &one(9, 9)), Err(Error::Closed)));
        also.join().unwrap();
        reader.join().unwrap();
        let acknowledged: Vec<_> = producers.into_iter().flat_map(|p| p.join().unwrap()).collect();
        let reopened = open(&options(), &disk);
        assert!(reopened.recovery().clean, "{:?}", reopened.recovery());
        let records = all(&reopened);
        assert_durable_prefix(&disk, &records);
        assert_eq!(records.len(), acknowledged.len(), "refused, and there");
        for (seq_id, payload) in acknowledged {
            assert_eq!(records[seq_id.0 as usize - 1].payload, payload);
        }
    });
}

#[test]
fn the_last_handle_that_goes_closes_the_log_whoever_holds_it() {
    explore(|| {
        let (disk, log) = fresh();
        let producers = (0..2).map(|p| {
            let log = log.clone();
            thread::spawn(move || _ = log.append(stream(1), &one(p, 0)).unwrap())
        });
        let producers: Vec<_> = producers.collect();
        drop(log.submit(stream(1), &one(2, 0)).unwrap());
        drop(log);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        let reopened = open(&options(), &disk);
        assert!(reopened.recovery().clean);
        assert_eq!(all(&reopened).len(), 3);
    });
}

#[test]
fn a_log_closed_beside_subscribers_lets_hub_and_threads_go() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let consume = move |records: &[stratalog::Record]| {
            told.take(records);
            Ok(())
        };
        let options = SubscribeOptions::new().start(Start::After(SeqId(0)));
        let id = hub.subscribe(stream(1), options, consume).unwrap();
        let producer = {
            let log = log.clone();
            thread::spawn(move || {
                for n in 0..2 {
                    match log.append(stream(1), &one(0, n)) {
                        Ok(_) => {}
                        Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
                    }
                }
            })
        };
        log.close().unwrap();
        producer.join().unwrap();
        hub.unsubscribe(&id);
        hub.close();
        let got = seen.now();
        assert_eq!(got, (1..=got.len() as u64).collect::<Vec<_>>());
    });
}

#[test]
fn a_hub_dropped_beside_an_append_lets_everybody_go() {
    explore(|| {
        let (_disk, log) = fresh();
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        hub.subscribe(stream(1), SubscribeOptions::new(), |_: &[stratalog::Record]| Ok(())).unwrap();
        let producer = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|n| _ = log.append(stream(1), &one(0, n)).unwrap()))
        };
        drop(hub);
        drop(log);
        producer.join().unwrap();
    });
}
