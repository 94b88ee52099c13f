//! A retry writes nothing, and a condition holds at the moment the numbers are given.
#![allow(clippy::unwrap_used)]

mod support;

use stratalog::storage::MemoryStorage;
use stratalog::{Error, LogOffset, ProducerId, SeqId, Terms};
use support::{all, batch, open, small, stream};

const PRODUCER: ProducerId = ProducerId::from_u128(77);

#[test]
fn a_retry_gets_the_first_result_and_writes_nothing() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append(stream(1), &batch(0, 3, 50)).unwrap();
    let terms = Terms::new().producer(PRODUCER, 1);
    let first = log.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap();
    assert_eq!((first.first_seq_id, first.first_log_offset, first.count), (SeqId(4), LogOffset(4), 2));
    assert_eq!(log.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap(), first);
    log.append(stream(1), &batch(5, 1, 50)).unwrap();
    // After a crash, after a checkpoint, after a close.
    let crashed = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(crashed.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap(), first);
    log.checkpoint().unwrap();
    let crashed = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(crashed.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap(), first);
    log.close().unwrap();
    let log = open(&small(), &storage);
    assert_eq!(log.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap(), first);
    assert_eq!(all(&log).len(), 6);
    let second = log.append_on(&Terms::new().producer(PRODUCER, 2), stream(1), &batch(6, 1, 50)).unwrap();
    assert_eq!(second.first_log_offset, LogOffset(7));
    let error = log.append_on(&terms, stream(1), &batch(3, 2, 50)).unwrap_err();
    assert!(matches!(error, Error::OldSequence { last: 2, found: 1, .. }), "{error}");
    let elsewhere = log.append_on(&Terms::new().producer(PRODUCER, 2), stream(2), &batch(6, 1, 50));
    assert!(elsewhere.unwrap_err().to_string().contains("must go there"));
    assert_eq!(all(&log).len(), 7);
}

#[test]
fn retries_beside_the_first_attempt_are_one_append() {
    let log = open(&small(), &MemoryStorage::new());
    for sequence in 1..=50 {
        let results: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let terms = Terms::new().producer(PRODUCER, sequence);
                        log.append_on(&terms, stream(1), &batch(sequence, 1, 20)).unwrap()
                    })
                })
                .collect();
            tries.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        assert!(results.iter().all(|result| *result == results[0]));
    }
    assert_eq!(all(&log).len(), 50);
}

#[test]
fn the_note_of_a_batch_is_not_a_record() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append_on(&Terms::new().producer(PRODUCER, 1), stream(1), &batch(0, 3, 33)).unwrap();
    let records = all(&log);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.payload.len() == 33));
    assert_eq!(log.record(SeqId(3)).unwrap().unwrap().payload, records[2].payload);
    assert_eq!(log.committed(), SeqId(3));
}

#[test]
fn an_append_on_an_offset_conflicts_with_any_other_append() {
    let log = open(&small(), &MemoryStorage::new());
    let at = |offset| Terms::new().next_offset(LogOffset(offset));
    log.append_on(&at(1), stream(1), &batch(0, 2, 10)).unwrap();
    log.append(stream(2), &batch(0, 2, 10)).unwrap();
    let error = log.append_on(&at(1), stream(1), &batch(0, 2, 10)).unwrap_err();
    let due = matches!(error, Error::Conflict { expected: LogOffset(1), next: LogOffset(3), .. });
    assert!(due, "{error}");
    log.append_on(&at(3), stream(1), &batch(0, 1, 10)).unwrap();
    let winners = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| log.append_on(&at(4), stream(1), &batch(0, 1, 10)).is_ok()))
            .collect();
        tries.into_iter().map(|handle| handle.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(winners, 1);
    assert_eq!(all(&log).len(), 6);
}

#[test]
fn terms_that_fail_write_nothing_and_take_no_number() {
    let log = open(&small(), &MemoryStorage::new());
    let terms = Terms::new().producer(PRODUCER, 1).next_offset(LogOffset(2)).first_seq_id(SeqId(1));
    assert!(log.append_on(&terms, stream(1), &batch(0, 1, 10)).is_err());
    let terms = Terms::new().producer(PRODUCER, 1).first_seq_id(SeqId(2));
    assert!(matches!(log.append_on(&terms, stream(1), &batch(0, 1, 10)), Err(Error::OutOfTurn { .. })));
    assert_eq!(log.committed(), SeqId(0));
    // The sequence was not used up.
    log.append_on(&Terms::new().producer(PRODUCER, 1), stream(1), &batch(0, 1, 10)).unwrap();
}
