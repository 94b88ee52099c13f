//! What is appended is read: in order, by place, from the start, from the middle, at the tail.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Error, Log, LogOffset, Options, SeqId};
use support::{all, all_of, assert_well_formed, batch, buffered, open, payload, small, stream};

#[test]
fn numbers_are_dense_over_the_log_and_in_each_stream() {
    let log = open(&small(), &MemoryStorage::new());
    for n in 0..300u64 {
        let appended = log.append(stream(u128::from(n % 7)), &batch(n, 1 + n % 3, 50)).unwrap();
        assert_eq!(appended.count as u64, 1 + n % 3);
    }
    let records = all(&log);
    assert_well_formed(&records);
    assert_eq!(records.len() as u64, log.committed().0);
    for s in 0..7 {
        let of_stream: Vec<_> = records.iter().filter(|r| r.stream == stream(s)).cloned().collect();
        assert_eq!(all_of(&log, stream(s)), of_stream);
    }
}

#[test]
fn every_record_is_found_by_its_seqid_and_by_its_log_offset() {
    let log = open(&small(), &MemoryStorage::new());
    for n in 0..400 {
        log.append(stream(u128::from(n % 3)), &batch(n * 2, 2, 300)).unwrap();
    }
    for record in all(&log) {
        assert_eq!(log.record(record.seq_id).unwrap().unwrap(), record);
        assert_eq!(log.record_at(record.stream, record.log_offset).unwrap().unwrap(), record);
    }
    assert_eq!(log.record(SeqId(0)).unwrap(), None);
    assert_eq!(log.record(SeqId(801)).unwrap(), None);
    assert_eq!(log.record_at(stream(0), LogOffset(9_999)).unwrap(), None);
    assert_eq!(log.record_at(stream(77), LogOffset(1)).unwrap(), None);
}

#[test]
fn a_range_is_read_from_any_place_to_any_place() {
    let log = open(&small(), &MemoryStorage::new());
    for n in 0..200 {
        log.append(stream(u128::from(n % 4)), &batch(n * 5, 5, 200)).unwrap();
    }
    let records = all(&log);
    for (from, to) in [(1u64, 1001u64), (3, 4), (500, 777), (999, 1001), (1001, 1010), (7, 7)] {
        let read: Vec<_> = log.reader(SeqId(from)..SeqId(to)).unwrap().map(Result::unwrap).collect();
        let due: Vec<_> = records.iter().filter(|r| (from..to).contains(&r.seq_id.0)).cloned().collect();
        assert_eq!(read, due, "{from}..{to}");
        let read: Vec<_> = log
            .stream_reader(stream(2), LogOffset(from)..LogOffset(to))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let due: Vec<_> = records
            .iter()
            .filter(|r| r.stream == stream(2) && (from..to).contains(&r.log_offset.0))
            .cloned()
            .collect();
        assert_eq!(read, due, "stream {from}..{to}");
        let read: Vec<_> = log
            .stream_reader_by_seq_id(stream(2), SeqId(from)..SeqId(to))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let due: Vec<_> = records
            .iter()
            .filter(|r| r.stream == stream(2) && (from..to).contains(&r.seq_id.0))
            .cloned()
            .collect();
        assert_eq!(read, due, "stream by SeqId {from}..{to}");
    }
}

#[test]
fn an_empty_batch_and_an_empty_record_are_what_they_are() {
    let log = open(&small(), &MemoryStorage::new());
    let nothing = log.append(stream(1), &Batch::new()).unwrap();
    assert_eq!((nothing.count, log.committed()), (0, SeqId(0)));
    log.append(stream(1), &Batch::one(b"")).unwrap();
    assert_eq!(all(&log)[0].payload, &b""[..]);
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    log.append(stream(1), &batch(0, 3, 100)).unwrap();
    log.append(stream(1), &batch(3, 100, 5_000)).unwrap();
    log.append(stream(1), &batch(103, 3, 100)).unwrap();
    let before = all(&log);
    assert_eq!(before.len(), 106);
    log.close().unwrap();
    assert_eq!(all(&open(&small(), &storage)), before);
}

#[test]
fn what_is_over_a_limit_is_refused_before_anything_is_written() {
    let options = small().max_record_bytes(1000).max_batch_bytes(8000).max_batch_records(10);
    let log = open(&options, &MemoryStorage::new());
    for (too_much, named) in [
        (batch(0, 1, 1001), "record bytes"),
        (batch(0, 11, 10), "records in a batch"),
        (batch(0, 9, 1000), "batch bytes"),
    ] {
        match log.append(stream(1), &too_much) {
            Err(Error::Limit { what, .. }) => assert_eq!(what, named),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log.append(stream(1), &batch(0, 1, 1000)).unwrap().first_seq_id, SeqId(1));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for (options, name) in [
        (Options::new().segment_bytes(1), "segment_bytes"),
        (Options::new().max_batch_bytes(1 << 40), "max_batch_bytes"),
        (Options::new().queue_bytes(0), "queue_bytes"),
    ] {
        let error = options.open_storage(std::sync::Arc::new(MemoryStorage::new())).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("found"), "{error}");
    }
}

#[test]
fn a_reader_at_the_tail_gets_what_is_committed_while_it_waits() {
    let log = open(&buffered(), &MemoryStorage::new());
    let reading = log.clone();
    let reader = std::thread::spawn(move || {
        let mut reader = reading.stream_reader(stream(5), ..).unwrap();
        (0..2_000)
            .map(|_| reader.wait_record(Some(Duration::from_secs(20))).unwrap().unwrap())
            .collect::<Vec<_>>()
    });
    for n in 0..2_000 {
        log.append(stream(5), &batch(n, 1, 200)).unwrap();
        log.append(stream(6), &batch(n, 1, 20)).unwrap();
    }
    let read = reader.join().unwrap();
    assert_eq!(read, all_of(&log, stream(5)));
    assert!(read.iter().enumerate().all(|(k, r)| r.payload == payload(k as u64, 200)));
}

#[test]
fn a_wait_ends_with_its_time_and_with_the_log() {
    let log = open(&small(), &MemoryStorage::new());
    let mut reader = log.reader(..).unwrap();
    assert_eq!(reader.wait_record(Some(Duration::from_millis(5))).unwrap(), None);
    let waiting = std::thread::spawn(move || reader.wait_record(None));
    std::thread::sleep(Duration::from_millis(30));
    log.close().unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
}

#[test]
fn a_closed_log_says_so_on_every_call() {
    let log: Log = open(&small(), &MemoryStorage::new());
    log.append(stream(1), &batch(0, 1, 10)).unwrap();
    log.close().unwrap();
    log.close().unwrap();
    assert!(matches!(log.append(stream(1), &batch(0, 1, 10)), Err(Error::Closed)));
    assert!(matches!(log.submit(stream(1), &batch(0, 1, 10)), Err(Error::Closed)));
    assert!(matches!(log.reader(..), Err(Error::Closed)));
    assert!(matches!(log.record(SeqId(1)), Err(Error::Closed)));
    assert!(matches!(log.sync(), Err(Error::Closed)));
    assert!(matches!(log.checkpoint(), Err(Error::Closed)));
    assert!(matches!(log.stats(), Err(Error::Closed)));
}

#[test]
fn a_record_stays_good_after_the_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append(stream(1), &batch(7, 1, 3_000)).unwrap();
    let record = log.record(SeqId(1)).unwrap().unwrap();
    log.close().unwrap();
    drop(log);
    drop(dir);
    assert_eq!(record.payload, payload(7, 3_000));
}

#[test]
fn positioned_reads_give_what_mapped_reads_give() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for n in 0..500 {
        log.append(stream(u128::from(n % 5)), &batch(n * 3, 3, 400)).unwrap();
    }
    let mapped = all(&log);
    log.close().unwrap();
    let log = small().read_mode(stratalog::ReadMode::Positioned).open(dir.path()).unwrap();
    assert_eq!(all(&log), mapped);
    assert_eq!(all_of(&log, stream(3)).len(), 300);
}

#[test]
fn a_reader_at_the_tail_beside_checkpoints_never_takes_it_for_damage() {
    let log = open(&buffered(), &MemoryStorage::new());
    let reading = log.clone();
    let reader = std::thread::spawn(move || {
        let mut reader = reading.stream_reader(stream(5), ..).unwrap();
        let mut read = 0;
        while read < 3_000 {
            read += u64::from(reader.next_record().unwrap().is_some());
        }
    });
    for n in 0..3_000 {
        log.append(stream(5), &batch(n, 1, 100)).unwrap();
        if n % 3 == 0 {
            log.checkpoint().unwrap();
        }
    }
    reader.join().unwrap();
}
