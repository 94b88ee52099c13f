//! Freed segments make the next ones. Nobody who holds a record sees its bytes change, and no frame of
//! an earlier use of a file is ever a record again.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratalog::check::{self, Inspected, inspect};
use stratalog::storage::{DiskStorage, MemoryStorage, SimulatedStorage, Storage, Survives};
use stratalog::{Durability, Error, Log, LogOffset, Options, Record, SeqId, Upkeep};
use support::{all, all_of, batch, payload, small, stream};

const LEN: usize = 2_000;

fn options() -> Options {
    small().recycle(true).upkeep(Upkeep::Caller)
}

fn open(storage: &(impl Storage + Clone + 'static)) -> stratalog::Result<Log> {
    options().open_storage(Arc::new(storage.clone()))
}

/// Payload n gets log_offset n.
fn fill(log: &Log, range: Range<u64>) -> stratalog::Result<SeqId> {
    let mut last = SeqId(0);
    for n in range {
        last = log.append(stream(1), &batch(n, 1, LEN))?.last_seq_id().unwrap();
        log.tend()?;
    }
    Ok(last)
}

fn assert_records(records: &[Record], least: u64) {
    assert!(records.first().is_none_or(|first| first.log_offset <= LogOffset(least)));
    for (k, record) in records.iter().enumerate() {
        let n = records[0].log_offset.0 + k as u64;
        assert_eq!(record.log_offset, LogOffset(n));
        assert!(record.payload[..] == payload(n, LEN)[..], "record {n} has other bytes");
    }
}

fn free(log: &Log) -> usize {
    log.directory().unwrap().free.len()
}

fn verify(storage: &dyn Storage) -> check::VerifyReport {
    check::verify(storage, &mut |_| {}).unwrap()
}

/// Segments that say that their file was one before.
fn recycled(storage: &dyn Storage) -> usize {
    let names = storage.list().unwrap().into_iter().map(|entry| entry.name);
    let mut count = 0;
    for name in names.filter(|name| name.ends_with(".segment")) {
        inspect(storage, &name, &mut |seen| {
            count += usize::from(matches!(seen, Inspected::Segment(facts) if facts.recycled));
            Ok(())
        })
        .unwrap();
    }
    count
}

fn space_is_used_again(storage: impl Storage + Clone + 'static) {
    let log = open(&storage).unwrap();
    let mut next = 1;
    for round in 0..5 {
        let upto = fill(&log, next..next + 150).unwrap();
        let files = log.stats().unwrap().segments.len();
        log.purge(stream(1), SeqId(upto.0 - 75)).unwrap();
        let stats = log.stats().unwrap();
        assert!(stats.segments.len() < files);
        assert!(free(&log) > 0 && free(&log) < stats.segments.len(), "round {round}");
        next += 150;
    }
    fill(&log, next..next + 150).unwrap();
    assert_eq!(free(&log), 0);
    assert!(recycled(&storage) >= 2);
    assert_records(&all(&log), next);
    assert!(verify(&storage).is_clean());
    log.purge(stream(1), SeqId(log.committed().0 - 60)).unwrap();
    assert!(free(&log) > 0);
    let left = all(&log);
    log.close().unwrap();
    let log = open(&storage).unwrap();
    assert_eq!(free(&log), 0, "a closed log keeps none");
    assert_eq!(all(&log), left);
}

#[test]
fn freed_segments_make_the_next_ones() {
    space_is_used_again(MemoryStorage::new());
    space_is_used_again(SimulatedStorage::new(1));
}

/// A clone is the same directory.
#[test]
fn freed_segments_make_the_next_ones_on_a_disk() {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let upto = fill(&log, 1..200).unwrap();
    log.purge(stream(1), SeqId(upto.0 - 100)).unwrap();
    assert!(free(&log) > 0);
    fill(&log, 200..400).unwrap();
    assert!(recycled(&DiskStorage::existing(directory.path()).unwrap()) > 0);
    assert_records(&all(&log), 200);
}

#[test]
fn what_somebody_holds_of_a_freed_segment_never_changes() {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let upto = fill(&log, 1..400).unwrap();
    let follower = options().open_read_only(directory.path()).unwrap();
    let held = all_of(&log, stream(1));
    let followed = all(&follower);
    assert_eq!(followed.len(), 399);
    log.purge(stream(1), SeqId(upto.0 - 40)).unwrap();
    assert_eq!(free(&log), 0, "each of them is mapped, and twice");
    fill(&log, 400..800).unwrap();
    assert_records(&held, 1);
    assert_records(&followed, 1);

    // One record is as good as all of them.
    drop((held, follower));
    let one = followed.into_iter().nth(10).unwrap();
    fill(&log, 800..1200).unwrap();
    assert!(one.payload[..] == payload(11, LEN)[..]);
    let last = all_of(&log, stream(1)).pop().unwrap();
    log.purge(stream(1), SeqId(log.committed().0 - 1)).unwrap();
    fill(&log, 1200..1600).unwrap();
    log.purge(stream(1), SeqId(log.committed().0 - 1)).unwrap();
    fill(&log, 1600..2000).unwrap();
    assert!(last.payload[..] == payload(1199, LEN)[..]);
}

/// It holds nothing itself: the reader holds its segment until it moves on.
#[test]
fn what_a_reader_lends_of_a_freed_segment_never_changes() {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let storage = DiskStorage::existing(directory.path()).unwrap();
    let turn_over = |range: Range<u64>| {
        let upto = fill(&log, range).unwrap();
        let again = recycled(&storage);
        log.purge(stream(1), SeqId(upto.0 - 40)).unwrap();
        again
    };
    fill(&log, 1..200).unwrap();
    let mut reader = log.stream_reader(stream(1), ..).unwrap();
    let lent = reader.next_ref().unwrap().unwrap();
    assert!(turn_over(200..400) + turn_over(400..600) > 0);
    assert!(*lent.payload == payload(1, LEN)[..]);
    let kept = lent.to_record();

    assert!(matches!(reader.next_ref(), Err(Error::Purged { .. })));
    let point = log.purge_point(stream(1)).unwrap();
    assert_eq!(reader.next_ref().unwrap().unwrap().log_offset.0, point.log_offset.0 + 1);
    drop(reader);
    assert!(turn_over(600..800) + turn_over(800..1000) > 0);
    assert!(kept.payload[..] == payload(1, LEN)[..]);
}

/// Nobody else has it, so that nothing but the follower's own locks keeps the bytes.
#[test]
fn what_only_a_follower_holds_of_a_freed_segment_never_changes() {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let upto = fill(&log, 1..200).unwrap();
    let follower = options().open_read_only(directory.path()).unwrap();
    let followed = all(&follower);
    assert!(followed.len() > 190);
    // Records hold the map; nobody holds the file.
    drop(follower);
    log.purge(stream(1), SeqId(upto.0 - 40)).unwrap();
    assert_eq!(free(&log), 0);
    let mut again = 0;
    for round in 1..4 {
        fill(&log, round * 200..(round + 1) * 200).unwrap();
        again += recycled(&DiskStorage::existing(directory.path()).unwrap());
        log.purge(stream(1), SeqId(log.committed().0 - 40)).unwrap();
    }
    assert!(again > 0);
    assert_records(&followed, 1);
}

/// As a backup makes one, of a file that never changes again.
#[test]
fn a_file_with_a_second_name_is_not_written_over() {
    let both = tempfile::tempdir().unwrap();
    let (directory, copies) = (both.path().join("log"), both.path().join("copies"));
    std::fs::create_dir(&copies).unwrap();
    let log = options().open(&directory).unwrap();
    let upto = fill(&log, 1..200).unwrap();
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|ending| ending == "segment") {
            let copy = copies.join(entry.file_name());
            std::fs::hard_link(entry.path(), &copy).unwrap();
            contents.push((copy.clone(), std::fs::read(&copy).unwrap()));
        }
    }
    // The last one is still appended to.
    contents.sort();
    contents.pop();
    log.purge(stream(1), SeqId(upto.0 - 40)).unwrap();
    assert_eq!(free(&log), 0);
    fill(&log, 200..400).unwrap();
    assert!(contents.len() > 3);
    assert!(contents.iter().all(|(copy, content)| std::fs::read(copy).unwrap() == *content));
}

/// What was purged or deleted leaves the directory with its segment, unless somebody asked for the other.
#[test]
fn without_the_option_freed_segments_are_removed() {
    let asked = SimulatedStorage::new(1);
    let log = open(&asked).unwrap();
    let upto = fill(&log, 1..200).unwrap();
    log.purge(stream(1), SeqId(upto.0 - 80)).unwrap();
    log.tend().unwrap();
    fill(&log, 200..240).unwrap();
    let left = asked.after_kill();
    for options in [small(), options().durability(Durability::Buffered)] {
        let storage = left.after_kill();
        let log = options.upkeep(Upkeep::Caller).open_storage(Arc::new(storage.clone())).unwrap();
        let before = recycled(&storage);
        let upto = fill(&log, 240..500).unwrap();
        assert!(recycled(&storage) <= before, "neither a file kept nor the spare of the life before");
        log.purge(stream(1), SeqId(upto.0 - 1)).unwrap();
        assert_eq!(free(&log), 0);
        fill(&log, 500..600).unwrap();
        assert_eq!(recycled(&storage), 0);
    }
}

#[test]
fn who_purges_everything_gets_everything_back() {
    let storage = SimulatedStorage::new(1);
    let log = open(&storage).unwrap();
    let upto = fill(&log, 1..400).unwrap();
    log.purge(stream(1), SeqId(upto.0 - 200)).unwrap();
    assert!((1..=4).contains(&free(&log)));
    log.purge(stream(1), upto).unwrap();
    assert_eq!(log.stats().unwrap().segments.len(), 1);
    assert_eq!(free(&log), 0);
}

#[test]
fn what_somebody_holds_of_memory_never_changes() {
    let log = open(&MemoryStorage::new()).unwrap();
    fill(&log, 1..400).unwrap();
    let held = all(&log);
    for round in 1..5 {
        log.purge(stream(1), SeqId(log.committed().0 - 1)).unwrap();
        fill(&log, round * 400..(round + 1) * 400).unwrap();
    }
    assert_records(&held, 1);
}

/// A power cut at any storage call of a log whose files are all of a second life, and one in the recovery.
#[test]
fn no_frame_of_an_earlier_life_comes_back() {
    let mut again = 0;
    for call in (1..).step_by(5) {
        let storage = SimulatedStorage::new(call);
        let log = open(&storage).unwrap();
        let upto = fill(&log, 1..200).unwrap();
        log.purge(stream(1), SeqId(upto.0 - 80)).unwrap();
        let (acked, purged) = (AtomicU64::new(199), AtomicU64::new(120));
        storage.crash_at_call(storage.calls() + call);
        let _ = crashing(&log, &acked, &purged);
        let Some(crashed) = storage.crashed() else { break };
        for seed in 0..6 {
            let survives = [Survives::Nothing, Survives::Chance(128), Survives::Everything];
            let cut = crashed.after_power_cut(survives[seed as usize % 3], seed);
            assert!(verify(&cut).is_clean(), "call {call}, seed {seed}: {:?}", verify(&cut));
            again += recycled(&cut);
            // A recovery that is cut off as well, somewhere.
            cut.crash_at_call(cut.calls() + 1 + (call * 7 + seed) % 40);
            drop(open(&cut));
            cut.crash_at_call(u64::MAX);
            let cut =
                cut.crashed().map_or(cut.clone(), |cut| cut.after_power_cut(Survives::Chance(128), seed));
            let log = open(&cut).unwrap();
            let records = all(&log);
            assert_records(&records, purged.load(Ordering::Relaxed) + 1);
            let newest = records.last().map_or(0, |last| last.log_offset.0);
            assert!(newest >= acked.load(Ordering::Relaxed), "call {call}: {newest}");
            fill(&log, newest + 1..newest + 50).unwrap();
            assert_records(&all(&log), purged.load(Ordering::Relaxed) + 1);
            assert!(verify(&cut).is_clean(), "call {call}, seed {seed}: {:?}", verify(&cut));
        }
        std::mem::forget(log);
    }
    assert!(again > 200, "{again}");
}

fn crashing(log: &Log, acked: &AtomicU64, purged: &AtomicU64) -> stratalog::Result<()> {
    let mut places = Vec::new();
    for n in 200..330 {
        places.push(log.append(stream(1), &batch(n, 1, LEN))?.last_seq_id().unwrap());
        acked.store(n, Ordering::Relaxed);
        if n % 10 == 0 {
            log.tend()?;
        }
        if n % 60 == 0 {
            purged.store(n - 30, Ordering::Relaxed);
            log.purge(stream(1), places[places.len() - 31])?;
        }
    }
    Ok(())
}
