//! A sync fails: everybody is told, and nothing is acknowledged any more.

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use stratalog::{Durability, Error};

use super::disk::Disk;
use super::explore::{all, assert_acknowledged, explore, fresh, one, open, options, stream, token};

#[test]
fn after_a_sync_that_fails_every_waiter_is_told_and_nothing_is_acknowledged() {
    explore(|| {
        let (disk, log) = fresh();
        disk.fail_after(thread_rng().gen_range(0..6));
        let producers = (0..3).map(|p| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                let mut refused = false;
                for n in 0..2 {
                    let late = disk.has_failed();
                    // Some wait at once, some later, and some leave it to the committer.
                    let outcome = match p {
                        0 => log.submit(stream(1), &one(p, n)).and_then(|pending| pending.wait()),
                        _ => log.append(stream(1), &one(p, n)),
                    };
                    match outcome {
                        Ok(appended) => {
                            assert!(!late, "acknowledged after a sync had failed");
                            assert!(!refused, "acknowledged after a refusal");
                            assert_acknowledged(&disk, &log, appended.first_seq_id, &token(p, n));
                            acknowledged.push(appended.first_seq_id);
                        }
                        Err(error) => {
                            assert!(disk.has_failed(), "{error}");
                            refused = true;
                        }
                    }
                }
                acknowledged
            })
        });
        let acknowledged: Vec<_> =
            producers.collect::<Vec<_>>().into_iter().flat_map(|p| p.join().unwrap()).collect();
        for seq_id in acknowledged {
            assert!(log.record(seq_id).unwrap().is_some(), "what was acknowledged can still be read");
        }
        for record in all(&log) {
            assert!(disk.has_durable(&record.payload));
        }
        if disk.has_failed() {
            assert!(log.append(stream(1), &one(9, 9)).is_err());
            let _fails = log.close();
        } else {
            // The keeper's next segment, the witness or the checkpoint may be what fails.
            let _either_way = log.close();
        }
    });
}

#[test]
fn a_sync_that_fails_in_the_background_stops_those_who_append_meanwhile() {
    explore(|| {
        let disk = Disk::default();
        let log = open(&options().durability(Durability::Buffered), &disk);
        log.append(stream(1), &one(9, 0)).unwrap();
        disk.fail_after(thread_rng().gen_range(0..2));
        let syncing = {
            let log = log.clone();
            thread::spawn(move || log.sync().err())
        };
        let producers = (0..2).map(|p| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                for n in 0..2 {
                    let stopped = matches!(log.sync(), Err(Error::Poisoned(_)));
                    let outcome = log.append(stream(1), &one(p, n));
                    assert!(!(stopped && outcome.is_ok()), "acknowledged by a poisoned log");
                    assert!(outcome.is_ok() || disk.has_failed(), "{outcome:?}");
                    if outcome.is_ok() && log.sync().is_ok() {
                        assert!(disk.has_durable(&token(p, n)), "a sync succeeded behind one that failed");
                    }
                }
            })
        });
        producers.collect::<Vec<_>>().into_iter().for_each(|producer| producer.join().unwrap());
        if syncing.join().unwrap().is_some() {
            assert!(matches!(log.append(stream(1), &one(9, 9)), Err(Error::Poisoned(_))));
        }
        let _either_way = log.close();
    });
}

#[test]
fn close_beside_a_sync_that_fails_ends_for_everybody() {
    explore(|| {
        let (disk, log) = fresh();
        disk.fail_after(thread_rng().gen_range(0..4));
        let producers = (0..2).map(|p| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                if let Ok(appended) = log.append(stream(1), &one(p, 0)) {
                    assert!(disk.has_durable(&token(p, 0)), "{}", appended.first_seq_id);
                }
            })
        });
        let producers: Vec<_> = producers.collect();
        let _either_way = log.close();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        assert!(log.append(stream(1), &one(9, 9)).is_err());
    });
}
