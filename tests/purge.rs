//! What is purged can't be read and gives its space back; what is not, stays, with its numbers.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Batch, Error, Log, LogOffset, SeqId, StreamId};
use support::{all, all_of, batch, buffered, open, payload, small, stream};

/// Records of 4 KiB, so that a segment of 64 KiB holds some fifteen.
fn fill(log: &Log, stream: StreamId, count: u64) -> SeqId {
    let mut last = SeqId(0);
    for n in 0..count {
        last = log.append(stream, &Batch::one(&payload(n, 4_000))).unwrap().first_seq_id;
    }
    last
}

fn segments(storage: &MemoryStorage) -> Vec<String> {
    let mut names: Vec<String> = storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".segment"));
    names.sort_unstable();
    names
}

fn indexes(storage: &MemoryStorage) -> usize {
    storage.list().unwrap().iter().filter(|entry| entry.name.ends_with(".index")).count()
}

#[test]
fn reads_below_the_point_say_so_and_go_on_behind_it() {
    let log = open(&small(), &MemoryStorage::new());
    fill(&log, stream(1), 10);
    let point = log.purge(stream(1), SeqId(4)).unwrap();
    assert_eq!((point.seq_id, point.log_offset), (SeqId(4), LogOffset(4)));
    assert_eq!(log.purge_point(stream(1)), Some(point));

    let purged =
        |error: Error| matches!(error, Error::Purged { seq_id: SeqId(4), log_offset: LogOffset(4), .. });
    for begin in [1, 4] {
        let mut reader = log.stream_reader(stream(1), LogOffset(begin)..).unwrap();
        assert!(purged(reader.next_record().unwrap_err()));
        assert_eq!(reader.next_record().unwrap().unwrap().log_offset, LogOffset(5));
        let mut reader = log.stream_reader_by_seq_id(stream(1), SeqId(begin)..).unwrap();
        assert!(purged(reader.next_record().unwrap_err()));
        assert_eq!(reader.next_record().unwrap().unwrap().seq_id, SeqId(5));
    }
    assert!(purged(log.record(SeqId(4)).unwrap_err()));
    assert!(purged(log.record_at(stream(1), LogOffset(2)).unwrap_err()));
    assert_eq!(log.record(SeqId(5)).unwrap().unwrap().log_offset, LogOffset(5));
    // Who asks for everything gets what there is.
    assert_eq!(all_of(&log, stream(1)).len(), 6);
    assert_eq!(all(&log).len(), 6);
}

#[test]
fn a_purge_passes_no_cursor() {
    let log = open(&small(), &MemoryStorage::new());
    fill(&log, stream(1), 10);
    assert_eq!(log.purge_passed(stream(1)).unwrap(), None);
    log.advance_cursor(stream(1), "slow", SeqId(3)).unwrap();
    log.advance_cursor(stream(1), "fast", SeqId(9)).unwrap();
    let error = log.purge(stream(1), SeqId(4)).unwrap_err();
    assert!(matches!(&error, Error::Held { cursor, at: SeqId(3), .. } if cursor == "slow"), "{error}");
    assert_eq!(all(&log).len(), 10);
    assert_eq!(log.purge_passed(stream(1)).unwrap().unwrap().seq_id, SeqId(3));
    assert_eq!(all(&log).len(), 7);
    // Back behind the point there is nothing to go to.
    assert!(matches!(log.rollback_cursor(stream(1), "fast", SeqId(2)), Err(Error::Purged { .. })));
    assert!(matches!(log.advance_cursor(stream(1), "new", SeqId(2)), Err(Error::Purged { .. })));
    log.rollback_cursor(stream(1), "fast", SeqId(3)).unwrap();
}

#[test]
fn a_purge_beyond_the_newest_record_is_refused() {
    let log = open(&small(), &MemoryStorage::new());
    fill(&log, stream(1), 3);
    let error = log.purge(stream(1), SeqId(4)).unwrap_err().to_string();
    assert!(error.contains("up to 3") && error.contains("found 4"), "{error}");
}

#[test]
fn a_segment_in_which_nothing_lives_is_removed_at_once() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    let last = fill(&log, stream(1), 100);
    let before = segments(&storage).len();
    assert!(before >= 6);
    log.purge(stream(1), last).unwrap();
    assert_eq!(segments(&storage).len(), 1, "{:?}", segments(&storage));
    assert!(indexes(&storage) <= 1);
    assert_eq!(all(&log), []);
    let next = log.append(stream(1), &batch(0, 1, 9)).unwrap();
    assert_eq!(next.first_log_offset, LogOffset(101));
    assert!(next.first_seq_id > last);
    for again in [open(&small(), &storage.snapshot().unwrap()), {
        log.close().unwrap();
        open(&small(), &storage)
    }] {
        assert_eq!(all(&again).len(), 1);
        assert_eq!(again.stream(stream(1)).unwrap().next_log_offset, LogOffset(102));
        assert!(matches!(again.record(SeqId(1)), Err(Error::Gone { .. })));
    }
}

#[test]
fn one_live_record_holds_its_segment_and_no_other() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    fill(&log, stream(1), 40);
    let survivor = fill(&log, stream(2), 1);
    let last = fill(&log, stream(1), 60);
    log.purge(stream(1), last).unwrap();
    let left = log.segment_life().unwrap();
    let holding: Vec<_> = left.iter().filter_map(|life| life.holder.as_ref()).collect();
    assert_eq!(holding.len(), 1);
    assert_eq!((holding[0].stream, holding[0].cursor.as_deref()), (stream(2), None));
    assert!(left.iter().any(|life| life.live_bytes > 4_000 && life.dead_bytes > 4_000));
    assert!(segments(&storage).len() <= 2, "{:?}", segments(&storage));
    let due = vec![log.record(survivor).unwrap().unwrap()];
    assert_eq!(all(&log), due);
    assert_eq!(all_of(&log, stream(2)), due);
    assert!(matches!(log.record(SeqId(1)), Err(Error::Gone { .. })));
    let crashed = open(&small(), &storage.snapshot().unwrap());
    assert_eq!(all(&crashed), due);
    assert_eq!(crashed.record(survivor).unwrap().as_ref(), due.first());
    log.close().unwrap();
    let log = open(&small(), &storage);
    assert_eq!(all(&log), due);
    // Once it goes too, so does its segment.
    log.delete_stream(stream(2)).unwrap();
    fill(&log, stream(3), 20);
    log.purge(stream(3), SeqId(survivor.0 + 61)).ok();
    assert_eq!(all_of(&log, stream(2)), []);
}

#[test]
fn fill_and_purge_take_no_more_space_the_twentieth_time_than_the_first() {
    let storage = MemoryStorage::new();
    let mut log = open(&small(), &storage);
    let mut most = Vec::new();
    for round in 0..20 {
        let last = fill(&log, stream(1), 150);
        most.push(segments(&storage).len());
        log.purge(stream(1), last).unwrap();
        assert!(segments(&storage).len() <= 2, "round {round}: {:?}", segments(&storage));
        assert!(storage.list().unwrap().len() <= 10, "round {round}: {:?}", storage.list().unwrap());
        if round % 4 == 3 {
            log.close().unwrap();
            log = open(&small(), &storage);
        }
    }
    assert!(most[19] <= most[0] + 3, "{most:?}");
    assert_eq!(log.stream(stream(1)).unwrap().next_log_offset, LogOffset(20 * 150 + 1));
}

#[test]
fn what_was_purged_in_the_last_segment_goes_once_another_one_follows() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    let last = fill(&log, stream(1), 5);
    log.purge(stream(1), last).unwrap();
    let first = segments(&storage)[0].clone();
    // What does not fit behind it begins the next segment.
    log.append(stream(2), &Batch::one(&payload(0, 61_000))).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while segments(&storage).contains(&first) {
        assert!(std::time::Instant::now() < deadline, "{:?}", segments(&storage));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(all_of(&log, stream(2)).first().unwrap().log_offset, LogOffset(1));
}

#[test]
fn a_deleted_stream_is_empty_and_its_numbers_go_on() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    fill(&log, stream(1), 30);
    fill(&log, stream(2), 5);
    log.advance_cursor(stream(1), "a", SeqId(3)).unwrap();
    log.delete_stream(stream(1)).unwrap();
    assert_eq!(log.cursors(), []);
    assert_eq!(all_of(&log, stream(1)), []);
    assert_eq!(all(&log).len(), 5);
    let committed = log.committed();
    log.delete_stream(stream(1)).unwrap();
    log.delete_stream(stream(9)).unwrap();
    assert_eq!(log.committed(), committed, "nothing to delete writes nothing");
    log.close().unwrap();
    let log = open(&small(), &storage);
    let appended = log.append(stream(1), &batch(0, 2, 10)).unwrap();
    assert_eq!(appended.first_log_offset, LogOffset(31));
    assert!(appended.first_seq_id > committed);
    assert_eq!(all_of(&log, stream(1)).len(), 2);
    assert_eq!(log.backlog(stream(1), "a"), 2);
}

#[test]
fn a_reader_that_a_purge_overtakes_is_told_once_and_goes_on() {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    fill(&log, stream(1), 60);
    fill(&log, stream(2), 2);
    let mut one = log.stream_reader(stream(1), ..).unwrap();
    let mut whole = log.reader(..).unwrap();
    let held = one.next_record().unwrap().unwrap();
    assert_eq!(whole.next_record().unwrap().unwrap(), held);
    log.purge(stream(1), SeqId(50)).unwrap();
    // What is held stays good, whatever became of its segment.
    assert_eq!(held.payload, payload(0, 4_000));
    let mut seen = Vec::new();
    let mut errors = 0;
    loop {
        match one.next_record() {
            Ok(Some(record)) => seen.push(record.log_offset.0),
            Ok(None) => break,
            Err(error) => {
                assert!(matches!(error, Error::Purged { seq_id: SeqId(50), .. }), "{error}");
                errors += 1;
            }
        }
    }
    assert_eq!((seen, errors), ((51..=60).collect(), 1));
    let rest: Vec<u64> = whole.map(|record| record.unwrap().seq_id.0).collect();
    assert_eq!(rest, (51..=62).collect::<Vec<u64>>());
}

#[test]
fn who_only_reads_follows_purges_and_freed_segments() {
    let storage = MemoryStorage::new();
    let log = open(&buffered(), &storage);
    fill(&log, stream(1), 60);
    fill(&log, stream(2), 3);
    let reader = buffered().open_storage_read_only(Arc::new(storage) as Arc<dyn Storage>).unwrap();
    let mut slow = reader.reader(..).unwrap();
    assert_eq!(slow.next_record().unwrap().unwrap().seq_id, SeqId(1));
    log.purge(stream(1), SeqId(60)).unwrap();
    // Its segments vanish under it; what it still gets is right, and the rest it passes over.
    let rest: Vec<u64> = slow.map(|record| record.unwrap().seq_id.0).collect();
    assert!(rest.ends_with(&[61, 62, 63]), "{rest:?}");
    reader.refresh().unwrap();
    assert_eq!(all(&reader).len(), 3);
    assert_eq!(reader.committed_streams().unwrap().len(), 2);
    assert_eq!(reader.committed_stream(stream(1)).unwrap().unwrap().next_log_offset, LogOffset(61));
}

#[test]
fn readers_beside_purges_see_every_live_record_in_order() {
    let storage = MemoryStorage::new();
    let log = open(&buffered(), &storage);
    let live = stream(7);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                let mut reader = log.stream_reader(live, ..).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    while let Some(record) = reader.next_record().unwrap() {
                        last += 1;
                        assert_eq!(record.log_offset, LogOffset(last));
                    }
                    let mut before = SeqId(0);
                    for record in log.reader(..).unwrap() {
                        let record = record.unwrap();
                        assert!(record.seq_id > before);
                        before = record.seq_id;
                    }
                }
            });
        }
        for round in 0..30 {
            log.append(live, &batch(round, 1, 50)).unwrap();
            let last = fill(&log, stream(1), 25);
            log.purge(stream(1), last).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(all_of(&log, live).len(), 30);
}
