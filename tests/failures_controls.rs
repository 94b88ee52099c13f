//! A cursor, a purge or a deletion that fails at any storage call either had no effect or says that it
//! can't be told; what is found when the log is opened again is what was acknowledged, or one
//! operation more.
#![allow(clippy::unwrap_used)]

#[path = "support/faulty.rs"]
mod faulty;
mod support;

use std::sync::Arc;

use faulty::FaultyStorage;
use stratalog::{Batch, Log, LogOffset, ProducerId, SeqId, Terms};
use support::{all_of, buffered, open, payload, small, stream};

fn fill(log: &Log, n: u128, count: u64) -> stratalog::Result<SeqId> {
    let mut last = SeqId(0);
    for k in 0..count {
        last = log.append(stream(n), &Batch::one(&payload(k, 9_000)))?.first_seq_id;
    }
    Ok(last)
}

/// What the program has been told.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    cursor: u64,
    purged: u64,
    deleted: bool,
    kept: u64,
}

fn program(log: &Log, told: &mut Told, doing: &mut &'static str) -> stratalog::Result<()> {
    *doing = "fill";
    let last = fill(log, 1, 30)?;
    for offset in [3, 14, 22] {
        *doing = "advance";
        let seq = log.record_at(stream(1), LogOffset(offset))?.map_or(SeqId(0), |record| record.seq_id);
        log.advance_cursor(stream(1), "a", seq)?;
        told.cursor = offset;
        *doing = "purge";
        log.purge_passed(stream(1))?;
        told.purged = offset;
        *doing = "keep";
        log.append(stream(2), &Batch::one(b"kept"))?;
        told.kept += 1;
    }
    *doing = "delete";
    assert!(last > SeqId(0));
    log.delete_stream(stream(1))?;
    told.deleted = true;
    *doing = "fill again";
    fill(log, 1, 2)?;
    *doing = "close";
    log.close()
}

#[test]
fn every_storage_call_in_turn_may_fail_while_cursors_move_and_segments_are_freed() {
    let mut failures = 0;
    for options in [small(), buffered()] {
        let mut nth = 0;
        loop {
            nth += 1;
            let storage = FaultyStorage::default();
            storage.fail_nth(nth, false);
            let (mut told, mut doing) = (Told::default(), "open");
            let Ok(log) = options.open_storage(Arc::new(storage.clone())) else { continue };
            let outcome = program(&log, &mut told, &mut doing);
            storage.heal();
            let failed = outcome.is_err();
            drop(log);
            let what = format!("call {nth} failed in {doing}: {outcome:?}, {told:?}");
            let log = open(&options, &storage.inner);
            let cursor = log.cursor(stream(1), "a").map_or(0, |cursor| cursor.log_offset.0);
            let purged = log.purge_point(stream(1)).map_or(0, |point| point.log_offset.0);
            let next = [3, 14, 22, 22];
            let or_one_more = |told: u64| [told, *next.iter().find(|to| **to > told).unwrap_or(&told)];
            let deleted = purged >= 30;
            assert!(deleted || !told.deleted, "{what}");
            if deleted {
                assert_eq!(log.cursors(), [], "{what}");
                assert!(told.purged == 22, "{what}");
            } else {
                assert!(or_one_more(told.cursor).contains(&cursor), "{what}: cursor {cursor}");
                assert!(or_one_more(told.purged).contains(&purged), "{what}: purged {purged}");
                assert!(purged <= cursor, "{what}: purged {purged}, cursor {cursor}");
            }
            let kept = all_of(&log, stream(2)).len() as u64;
            assert!(kept == told.kept || kept == told.kept + 1, "{what}: {kept}");
            let live: Vec<u64> = all_of(&log, stream(1)).iter().map(|record| record.log_offset.0).collect();
            assert!(live.iter().all(|offset| *offset > purged), "{what}");
            assert!(live.is_sorted_by(|a, b| a + 1 == *b), "{what}: {live:?}");
            // The log works again.
            log.append(stream(1), &Batch::one(b"again")).unwrap();
            log.advance_cursor(stream(2), "b", SeqId(1)).unwrap();
            log.delete_stream(stream(1)).unwrap();
            assert_eq!(all_of(&log, stream(1)), [], "{what}");
            failures += u32::from(failed);
            if !failed && nth > 400 {
                break;
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

#[test]
fn a_batch_that_could_not_be_written_is_no_first_attempt() {
    let storage = FaultyStorage::default();
    let log = small().open_storage(Arc::new(storage.clone())).unwrap();
    fill(&log, 1, 3).unwrap();
    let terms = |sequence| Terms::new().producer(ProducerId::from_u128(1), sequence);
    log.append_on(&terms(1), stream(1), &Batch::one(b"one")).unwrap();
    for sequence in [1, 2] {
        storage.fail(faulty::Call::Write, std::io::ErrorKind::StorageFull);
        let failed = log.append_on(&terms(2), stream(1), &Batch::one(b"two"));
        assert!(failed.is_err(), "{failed:?}");
        storage.heal();
        // What was taken back is as if it had never been tried, what came before it still counts.
        let again = log.append_on(&terms(sequence), stream(1), &Batch::one(b"again")).unwrap();
        assert_eq!(again.first_log_offset, LogOffset(3 + sequence));
        assert_eq!(log.record(again.first_seq_id).unwrap().unwrap().log_offset, again.first_log_offset);
    }
    assert_eq!(all_of(&log, stream(1)).len(), 5);
}

#[test]
fn a_cursor_that_could_not_be_written_stands_where_it_was() {
    let storage = FaultyStorage::default();
    let log = small().open_storage(Arc::new(storage.clone())).unwrap();
    fill(&log, 1, 3).unwrap();
    log.advance_cursor(stream(1), "a", SeqId(1)).unwrap();
    storage.fail(faulty::Call::Write, std::io::ErrorKind::StorageFull);
    assert!(log.advance_cursor(stream(1), "a", SeqId(3)).is_err());
    assert!(log.purge(stream(1), SeqId(1)).is_err());
    assert!(log.delete_stream(stream(1)).is_err());
    assert_eq!(log.cursor(stream(1), "a").unwrap().seq_id, SeqId(1));
    assert_eq!(log.purge_point(stream(1)), None);
    storage.heal();
    log.advance_cursor(stream(1), "a", SeqId(2)).unwrap();
    log.close().unwrap();
    let log = open(&small(), &storage.inner);
    assert_eq!(log.cursor(stream(1), "a").unwrap().seq_id, SeqId(2));
    assert_eq!(all_of(&log, stream(1)).len(), 3);
}
