//! A short program, cut off at every storage call; and at each of them every set of unsynced sectors,
//! lengths and names that a power cut can leave. What was acknowledged is there, the rest whole or not
//! at all, and recovery may be cut off at any of its calls.
//!
//! Of up to 6 unsynced things all sets are tried, of more a fixed choice; how often is printed. Recovery
//! is cut off at every seventh of its calls, another seventh for each call of the program. With `EVERY=1` it
//! is cut off at all of them, and all sets of up to 12 things are tried.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stratalog::storage::{Access, SimulatedStorage, Storage, Survives};
use stratalog::{Appended, Batch, Log, LogOffset, Options, SeqId, Upkeep, check};
use support::{payload, stream};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Stream, records, bytes of each.
    Append(u64, u64, usize),
    /// Stream, log_offset: a cursor moves there.
    Advance(u64, u64),
    Purge(u64, u64),
    Delete(u64),
    Checkpoint,
    /// One record to each stream, of so many bytes, in one group.
    Two(usize, usize),
    /// What is otherwise done in the background, the witness of an idle moment included.
    Tend,
    /// Closed and opened again.
    Close,
    /// Not closed: the process is killed, and the next one opens what it left in the cache.
    Kill,
}

/// Each life begins a segment, so small lives fill several without much in them.
const PROGRAM: [Step; 25] = [
    Step::Append(0, 2, 60),
    Step::Append(1, 1, 700),
    Step::Advance(0, 1),
    Step::Kill,
    Step::Append(0, 3, 500),
    Step::Checkpoint,
    Step::Append(1, 1, 30),
    Step::Tend,
    Step::Close,
    Step::Append(0, 1, 40),
    Step::Advance(1, 2),
    Step::Advance(0, 5),
    Step::Purge(1, 2),
    // Nothing is left in the first two segments: they are freed.
    Step::Purge(0, 5),
    Step::Two(700, 300),
    Step::Checkpoint,
    Step::Two(20, 1_100),
    Step::Kill,
    Step::Append(0, 1, 20),
    Step::Tend,
    Step::Kill,
    Step::Append(1, 2, 900),
    Step::Checkpoint,
    Step::Delete(1),
    Step::Append(1, 1, 10),
];

const FIRST_SEGMENT: &str = "00000000000000000001.segment";

/// The log as it should be; what is purged is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// SeqId and payload by stream and log_offset.
    records: BTreeMap<(u64, u64), (u64, Vec<u8>)>,
    /// The last log_offset of each stream.
    newest: BTreeMap<u64, u64>,
    cursors: BTreeMap<u64, u64>,
    purged: BTreeMap<u64, u64>,
}

impl State {
    fn purge(&mut self, of: u64, upto: u64) {
        let held = self.purged.entry(of).or_default();
        *held = upto.max(*held);
        self.records.retain(|(n, offset), _| *n != of || *offset > upto);
    }

    fn append(&mut self, n: u64, appended: &Appended, number: u64, len: usize) {
        let newest = self.newest.entry(n).or_default();
        assert_eq!(appended.first_log_offset.0, *newest + 1);
        for k in 0..u64::from(appended.count) {
            *newest += 1;
            self.records.insert((n, *newest), (appended.first_seq_id.0 + k, payload(number + k, len)));
        }
    }

    fn seen(log: &Log) -> State {
        let mut state = State::default();
        for n in 0..2u64 {
            let Some(stats) = log.stream(stream(n.into())) else { continue };
            state.newest.insert(n, stats.next_log_offset.0 - 1);
            if let Some(point) = log.purge_point(stream(n.into())) {
                state.purged.insert(n, point.log_offset.0);
            }
            for record in log.stream_reader(stream(n.into()), ..).unwrap() {
                let record = record.unwrap();
                state.records.insert((n, record.log_offset.0), (record.seq_id.0, record.payload.to_vec()));
            }
        }
        for cursor in log.cursors() {
            let n = (0..2u64).find(|n| stream((*n).into()) == cursor.stream).unwrap();
            state.cursors.insert(n, cursor.log_offset.0);
        }
        let whole: Vec<u64> = log.reader(..).unwrap().map(|record| record.unwrap().seq_id.0).collect();
        let mut parts: Vec<u64> = state.records.values().map(|(seq, _)| *seq).collect();
        parts.sort_unstable();
        assert_eq!(whole, parts);
        state
    }
}

fn open(storage: &SimulatedStorage) -> stratalog::Result<Log> {
    Options::new()
        .segment_bytes(64 << 10)
        .checkpoint_bytes(64 << 10)
        // The program decides what is written and when, so the same calls are made in every run.
        .upkeep(Upkeep::Caller)
        .open_storage(Arc::new(storage.clone()))
}

/// What a run of the program left.
struct Run {
    /// After each step, and the empty one first; the last may be of a step that failed.
    states: Vec<State>,
    /// The disk and the steps acknowledged at the moment of the cut.
    cut: Option<(SimulatedStorage, u64)>,
}

/// Runs the program on a disk that is cut off before its `call`-th storage call.
fn run(call: u64) -> Run {
    let mut storage = SimulatedStorage::new(7);
    let acknowledged = Arc::new(AtomicU64::new(0));
    storage.cut_at_call(call, Arc::clone(&acknowledged));
    let mut log = open(&storage).unwrap();
    let mut states = vec![State::default()];
    let mut calls_before = 0;
    let mut number = 0;
    for step in PROGRAM {
        let mut state = states.last().unwrap().clone();
        match step {
            Step::Append(n, count, len) => {
                let mut batch = Batch::new();
                (number..number + count).for_each(|k| batch.push(&payload(k, len)));
                let appended = log.append(stream(n.into()), &batch).unwrap();
                state.append(n, &appended, number, len);
                number += count;
            }
            Step::Two(first, second) => {
                let submit = |n: u64, len| {
                    log.submit(stream(n.into()), &Batch::one(&payload(number + n, len))).unwrap()
                };
                let pending = [submit(0, first), submit(1, second)];
                state.append(0, &pending[0].tentative(), number, first);
                states.push(state.clone());
                state.append(1, &pending[1].tentative(), number + 1, second);
                number += 2;
                pending.into_iter().for_each(|pending| assert!(pending.wait().is_ok()));
            }
            Step::Tend => log.tend().unwrap(),
            Step::Advance(n, offset) => {
                log.advance_cursor(stream(n.into()), "reader", seq_of(&state, n, offset)).unwrap();
                state.cursors.insert(n, offset);
            }
            Step::Purge(n, offset) => {
                let seq = match state.records.get(&(n, offset)) {
                    Some((seq, _)) => SeqId(*seq),
                    None => log.purge_point(stream(n.into())).unwrap().seq_id,
                };
                log.purge(stream(n.into()), seq).unwrap();
                state.purge(n, offset);
            }
            Step::Delete(n) => {
                log.delete_stream(stream(n.into())).unwrap();
                let newest = state.newest.get(&n).copied().unwrap();
                state.purge(n, newest);
                state.cursors.remove(&n);
            }
            Step::Checkpoint => log.checkpoint().unwrap(),
            Step::Close => {
                log.close().unwrap();
                log = open(&storage).unwrap();
            }
            Step::Kill => {
                if let Some(cut) = storage.taken_cut() {
                    return Run { states, cut: Some(cut) };
                }
                calls_before += storage.calls();
                // What the old handle does from now on is on a disk that nobody looks at.
                storage = storage.after_kill();
                storage.cut_at_call(call - calls_before, Arc::clone(&acknowledged));
                log = open(&storage).unwrap();
            }
        }
        states.push(state);
        acknowledged.store(states.len() as u64 - 1, Ordering::SeqCst);
    }
    let first = storage.list().unwrap().into_iter().any(|entry| entry.name == FIRST_SEGMENT);
    assert!(!first, "nothing was freed");
    log.close().unwrap();
    Run { states, cut: storage.taken_cut() }
}

fn seq_of(state: &State, n: u64, offset: u64) -> SeqId {
    SeqId(state.records.get(&(n, offset)).unwrap().0)
}

/// The step that was cut off counts or it does not; of two appends in a group perhaps only the first.
fn expected(states: &[State], acknowledged: u64) -> &[State] {
    &states[acknowledged as usize..(acknowledged as usize + 3).min(states.len())]
}

/// The log shows a state that it may, `verify` finds nothing, and no number is given out
/// twice.
fn check_left(disk: &SimulatedStorage, states: &[State], least: u64, what: &str) {
    let log = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let seen = State::seen(&log);
    let fits = expected(states, least).contains(&seen);
    assert!(fits, "{what}: {least} steps of {} acknowledged, found {seen:#?}", states.len() - 1);
    let used = states.iter().take(least as usize + 1).flat_map(|state| state.records.values());
    let used = used.map(|(seq, _)| *seq).max().unwrap_or(0).max(log.committed().0);
    for n in 0..2u64 {
        let due = seen.newest.get(&n).copied().unwrap_or(0) + 1;
        let appended = log.append(stream(n.into()), &Batch::one(b"after")).unwrap();
        assert!(appended.first_seq_id.0 > used, "{what}: {appended:?}, {used} was given out");
        assert_eq!(appended.first_log_offset, LogOffset(due), "{what}");
    }
    // What recovery left and what was appended must be there without a clean close as well.
    drop_unsynced(disk, states, least, what);
}

fn drop_unsynced(disk: &SimulatedStorage, states: &[State], least: u64, what: &str) {
    let bare = disk.after_power_cut(Survives::Nothing, 0);
    let report = check::verify(&bare, &mut |_| ()).unwrap();
    assert!(report.is_clean(), "{what}: {report:#?}");
    let log = open(&bare).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    for n in 0..2u64 {
        let last = log.stream(stream(n.into())).unwrap().next_log_offset.0 - 1;
        let record = log.record_at(stream(n.into()), LogOffset(last)).unwrap().unwrap();
        assert_eq!(record.payload, &b"after"[..], "{what}, again");
    }
    let mut seen = State::seen(&log);
    for n in 0..2u64 {
        let last = seen.newest.remove(&n).unwrap();
        seen.records.remove(&(n, last));
        if last > 1 {
            seen.newest.insert(n, last - 1);
        }
    }
    let fits = expected(states, least).contains(&seen);
    assert!(fits, "{what}, again: {least} steps acknowledged, found {seen:#?}");
    log.close().unwrap();
    let report = check::verify(&bare, &mut |_| ()).unwrap();
    assert!(report.is_clean(), "{what}, closed: {report:#?}");
}

/// Sets of `0..items`, as bit masks: all of them, or a choice if there are too many.
fn sets(items: usize, bound: usize) -> (Vec<Vec<bool>>, bool) {
    if items <= bound {
        let set = |mask: u64| (0..items).map(|k| mask >> k & 1 == 1).collect();
        return ((0..1u64 << items).map(set).collect(), true);
    }
    let mut sets = BTreeSet::new();
    for k in 0..=items {
        sets.insert((0..items).map(|n| n < k).collect::<Vec<_>>());
        sets.insert((0..items).map(|n| n >= k).collect());
        sets.insert((0..items).map(|n| n == k).collect());
        sets.insert((0..items).map(|n| n != k).collect());
    }
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..24 {
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random >> 33 & 1 == 1
        };
        sets.insert((0..items).map(|_| next()).collect());
    }
    (sets.into_iter().collect(), false)
}

/// What is on a disk, as one number.
fn fingerprint(disk: &SimulatedStorage) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in disk.list().unwrap() {
        let file = disk.open(&entry.name, Access::Read).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (entry.name, bytes).hash(&mut hasher);
    }
    hasher.finish()
}

fn every() -> bool {
    std::env::var_os("EVERY").is_some()
}

#[test]
fn every_set_of_unsynced_sectors_and_names_at_every_call_keeps_what_was_acknowledged() {
    let (mut points, mut bounded, mut cases, mut same) = (0usize, 0, 0u64, 0u64);
    let mut recoveries = 0;
    let mut steps_cut = BTreeSet::new();
    for call in 1.. {
        let Run { states, cut } = run(call);
        let Some((disk, acknowledged)) = cut else { break };
        points += 1;
        steps_cut.insert(acknowledged);
        let items = disk.unsynced();
        let (sets, all) = sets(items, if every() { 12 } else { 6 });
        bounded += u64::from(!all);
        let mut seen = BTreeSet::new();
        let mut distinct = Vec::new();
        for set in sets {
            let left = disk.after_power_cut_leaving(|k| set[k]);
            if !seen.insert(fingerprint(&left)) {
                same += 1;
                continue;
            }
            cases += 1;
            let what = format!("cut before call {call}, of {items} unsynced left {set:?}");
            check_left(&left.after_kill(), &states, acknowledged, &what);
            distinct.push((left, what));
        }
        recoveries += cut_recoveries(&distinct, &states, acknowledged, points);
    }
    println!(
        "{points} calls, {bounded} of them with a choice of sets; {cases} distinct disks ({same} alike), \
         {recoveries} cuts inside recovery"
    );
    // Cut at every step that makes a call, and behind the last one.
    assert_eq!(steps_cut.len(), PROGRAM.len() + 1, "steps that were cut off: {steps_cut:?}");
    assert!(points > 150 && cases > 2_000 && recoveries > 1_000);
}

/// Cuts off the recovery at each of its calls, or a seventh of them, with another of the disks each time.
fn cut_recoveries(
    disks: &[(SimulatedStorage, String)],
    states: &[State],
    acknowledged: u64,
    point: usize,
) -> u64 {
    let (first, step) = if every() { (1, 1) } else { (1 + point % 7, 7) };
    let mut cuts = 0;
    for call in (first..).step_by(step) {
        let (left, what) = &disks[call * 7 % disks.len()];
        let disk = left.after_kill();
        disk.cut_at_call(call as u64, Arc::new(AtomicU64::new(0)));
        drop(open(&disk).unwrap());
        let Some((cut, _)) = disk.taken_cut() else { break };
        let survives = [Survives::Nothing, Survives::Everything, Survives::Chance(128)][call % 3];
        let what = format!("{what}, recovery cut before call {call}, {survives:?}");
        let again = cut.after_power_cut(survives, call as u64);
        check_left(&again, states, acknowledged, &what);
        cuts += 1;
    }
    cuts
}
