//! `kill -9` while cursors move, streams are purged and deleted and segments are removed: nothing
//! acknowledged is lost, no cursor is ahead of its consumer, no file is left over, and nothing is
//! damaged.
//!
//! A few rounds each; `ROUNDS=200` for more.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cli_support::*;
use stratalog::{Batch, Durability, Log, LogOffset, Options, SeqId, StreamId};

/// Where the load finds its log, and its journals beside it.
const LOAD: &str = "STRATALOG_TEST_LOAD";
const PURGED: [u128; 2] = [1, 2];
const DELETED: u128 = 3;
const QUIET: u128 = 4;
/// The stream of collection "b".
const B: &str = "e31d6b9f-cc48-5c72-a6ed-8ff5007371fd";
const CURSOR: &str = "consumer";

fn rounds() -> u64 {
    std::env::var("ROUNDS").map_or(8, |rounds| rounds.parse().unwrap())
}

fn open(dir: &Path) -> stratalog::Result<Log> {
    let durability = if dir.ends_with("sync") { Durability::Sync } else { Durability::Buffered };
    Options::new().segment_bytes(64 << 10).checkpoint_bytes(128 << 10).durability(durability).open(dir)
}

/// What record `offset` of a stream holds.
fn payload(stream: u128, offset: u64) -> Vec<u8> {
    format!("{stream}:{offset};").repeat(200).into_bytes()
}

fn newest(log: &Log, stream: u128) -> u64 {
    log.stream(StreamId::from_u128(stream)).map_or(0, |known| known.next_log_offset.0 - 1)
}

/// Lines of numbers, each written at once.
struct Journal(File);

impl Journal {
    fn open(dir: &Path, name: &str) -> Journal {
        Journal(File::options().create(true).append(true).open(dir.with_extension(name)).unwrap())
    }

    fn write(&mut self, what: &str, stream: u128, number: u64) {
        self.0.write_all(format!("{what} {stream} {number}\n").as_bytes()).unwrap();
    }
}

/// Appends, moves cursors, purges and deletes until it is killed.
#[test]
#[ignore = "the load that the others start as a process of its own, and kill"]
fn load() {
    let dir = PathBuf::from(std::env::var_os(LOAD).expect("started by the other tests of this file"));
    let log = open(&dir).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| append_for_ever(&log, &dir));
        consume_for_ever(&log, &dir);
    });
}

fn append_for_ever(log: &Log, dir: &Path) {
    let mut journal = Journal::open(dir, "appends");
    for turn in 0u64.. {
        // A record of the quiet one lies in few segments, and keeps those.
        let stream = if turn.is_multiple_of(97) { QUIET } else { u128::from(turn % 3) + 1 };
        let first = newest(log, stream) + 1;
        let mut batch = Batch::new();
        (first..first + 5).for_each(|offset| batch.push(&payload(stream, offset)));
        let appended = log.append(StreamId::from_u128(stream), &batch).unwrap();
        assert_eq!(appended.first_log_offset, LogOffset(first));
        journal.write("appended", stream, first + 4);
    }
}

fn consume_for_ever(log: &Log, dir: &Path) {
    let mut journal = Journal::open(dir, "consumer");
    for turn in 0u64.. {
        for stream in PURGED {
            let id = StreamId::from_u128(stream);
            let Some(known) = log.stream(id) else { continue };
            let at = known.last_seq_id.min(log.committed());
            if log.cursor(id, CURSOR).is_some_and(|cursor| cursor.seq_id >= at) {
                continue;
            }
            journal.write("advance", stream, at.0);
            log.advance_cursor(id, CURSOR, at).unwrap();
            journal.write("advanced", stream, at.0);
            if turn.is_multiple_of(4) {
                let point = log.purge_passed(id).unwrap().unwrap();
                journal.write("purged", stream, point.log_offset.0);
            }
        }
        if turn.is_multiple_of(16) {
            let before = newest(log, DELETED);
            journal.write("delete", DELETED, before);
            log.delete_stream(StreamId::from_u128(DELETED)).unwrap();
            journal.write("deleted", DELETED, before);
        }
    }
}

/// What the journals say must be.
#[derive(Debug, Default)]
struct Model(BTreeMap<(String, u128), u64>);

impl Model {
    fn read(dir: &Path) -> Model {
        let mut model = Model::default();
        for name in ["appends", "consumer"] {
            let text = std::fs::read_to_string(dir.with_extension(name)).unwrap_or_default();
            for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
                let words: Vec<&str> = line.split(' ').collect();
                let key = (words[0].to_owned(), words[1].parse().unwrap());
                model.0.insert(key, words[2].parse().unwrap());
            }
        }
        model
    }

    fn last(&self, what: &str, stream: u128) -> u64 {
        self.0.get(&(what.to_owned(), stream)).copied().unwrap_or(0)
    }

    fn check(&self, log: &Log) {
        for stream in PURGED.into_iter().chain([DELETED, QUIET]) {
            let id = StreamId::from_u128(stream);
            let purged = log.purge_point(id).map_or(0, |point| point.log_offset.0);
            let mut next = purged + 1;
            for record in log.stream_reader(id, ..).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.log_offset, LogOffset(next), "of stream {stream}");
                assert!(record.payload == payload(stream, next), "{stream}: {}", record.log_offset);
                next += 1;
            }
            assert!(next > self.last("appended", stream), "stream {stream}: {next}, {self:?}");
            assert_eq!((next - 1) % 5, 0, "a part of a batch of stream {stream}");
            let gone = self.last("purged", stream).max(self.last("deleted", stream));
            assert!(purged >= gone, "stream {stream}: purged up to {purged}, {self:?}");
            match log.cursor(id, CURSOR) {
                Some(cursor) => {
                    let (acknowledged, asked) = (self.last("advanced", stream), self.last("advance", stream));
                    assert!((acknowledged..=asked).contains(&cursor.seq_id.0), "{cursor:?}, {self:?}");
                    assert!(purged <= cursor.log_offset.0, "{cursor:?}, purged up to {purged}");
                }
                None => assert_eq!((self.last("advanced", stream), self.last("purged", stream)), (0, 0)),
            }
        }
        assert_eq!(log.purge_point(StreamId::from_u128(QUIET)), None);
    }
}

fn start_load(dir: &Path) -> std::process::Child {
    let mut load = Command::new(std::env::current_exe().unwrap());
    load.args(["--exact", "load", "--ignored", "--nocapture"]).env(LOAD, dir);
    load.stdout(Stdio::null()).stderr(File::create(dir.with_extension("stderr")).unwrap()).spawn().unwrap()
}

fn killed_again_and_again(durability: &str) {
    let place = Place::new();
    let dir = place.path(durability);
    let mut random = Random::new();
    for round in 0..rounds() {
        let mut load = start_load(&dir);
        std::thread::sleep(Duration::from_micros(5_000 + random.below(120_000)));
        let running = load.try_wait().unwrap().is_none();
        let said = || std::fs::read_to_string(dir.with_extension("stderr")).unwrap();
        assert!(running, "round {round}: the load failed by itself: {}", said());
        load.kill().unwrap();
        load.wait().unwrap();
        if !dir.is_dir() {
            continue;
        }
        let log = open(&dir).unwrap();
        Model::read(&dir).check(&log);
        log.close().unwrap();
        check_whole(dir.to_str().unwrap());
    }
    // Once all is passed, nothing but what the quiet one holds is left, however it was cut off before.
    let log = open(&dir).unwrap();
    log.append(StreamId::from_u128(1), &Batch::one(b"the last")).unwrap();
    for stream in PURGED.into_iter().chain([DELETED, QUIET]) {
        log.delete_stream(StreamId::from_u128(stream)).unwrap();
    }
    let left = log.stats().unwrap().segments;
    assert!(left.len() <= 2, "{left:?}");
    log.close().unwrap();
    check_whole(dir.to_str().unwrap());
}

#[test]
fn nothing_acknowledged_is_lost_when_a_synced_log_is_killed_while_it_frees_segments() {
    killed_again_and_again("sync");
}

#[test]
fn nothing_acknowledged_is_lost_when_a_buffered_log_is_killed_while_it_frees_segments() {
    killed_again_and_again("buffered");
}

#[test]
fn a_reader_beside_it_sees_no_damage_while_segments_go_and_writers_are_killed() {
    let place = Place::new();
    let dir = place.path("buffered");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                let Ok(log) = Log::open_read_only(&dir) else { continue };
                for stream in 1..=4 {
                    let id = StreamId::from_u128(stream);
                    let mut last = 0;
                    for record in log.stream_reader(id, ..).unwrap() {
                        match record {
                            Ok(record) => {
                                assert!(record.log_offset.0 > last);
                                last = record.log_offset.0;
                                assert!(record.payload == payload(stream, last), "{stream}: {last}");
                            }
                            Err(stratalog::Error::Purged { .. }) => {}
                            Err(error) => panic!("stream {stream} behind {last}: {error}"),
                        }
                    }
                    looks += 1;
                }
            }
            looks
        });
        for round in 0..rounds() {
            let mut load = start_load(&dir);
            std::thread::sleep(Duration::from_millis(60 + 5 * (round % 10)));
            load.kill().unwrap();
            load.wait().unwrap();
            if looks.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(looks.join().unwrap() > 0);
    });
}

#[test]
fn commands_that_are_killed_did_what_they_said_or_nothing() {
    let place = Place::new();
    let dir = three_to_one(&place, 30);
    let mut random = Random::new();
    let mut passed = 0;
    for round in 0..rounds() as u32 {
        run_with(&format!("ingest --dir {dir} --collection b"), &numbered(0..20)).fine();
        run_with(&format!("ingest --dir {dir} --collection junk"), &numbered(0..20)).fine();
        let newest = run(&format!("stat --dir {dir} --json")).json()["committed"].as_u64().unwrap();
        let asked = passed + random.below(newest - passed + 1);
        let command = match round % 4 {
            0 | 2 => format!("cursors --dir {dir} --collection b --advance c --to {asked}"),
            1 => format!("purge --dir {dir} --collection b --passed"),
            _ => format!("delete --dir {dir} --collection junk --yes"),
        };
        let mut child = start(&command);
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        let _ = child.kill();
        let said_so = child.wait().unwrap().success();
        run(&format!("recover --dir {dir}")).fine();
        let at = cursor_or_none(&dir, "c").map_or(0, |cursor| cursor.0);
        let moved = command.starts_with("cursors");
        assert!(at == passed || moved && at == asked, "{command}: {at} after {passed}");
        assert!(!(moved && said_so) || at == asked, "{command}: {at}");
        passed = at;
        let left = run(&format!("cat --dir {dir} --collection b")).fine();
        let stat = run(&format!("stat --dir {dir} --streams --json")).json();
        let listed = stat["stream_list"].as_array().unwrap();
        let b = listed.iter().find(|stream| stream["stream"] == B).unwrap();
        assert_eq!(b["records"], 10 + 20 * (round + 1), "{command}");
        assert_eq!(b["live_records"], seq_ids(&left).len(), "{command}");
        check_whole(&dir);
    }
}

#[test]
fn cursors_keep_a_purge_behind_them_also_after_a_kill() {
    let place = Place::new();
    let dir = place.path("sync");
    let mut load = start_load(&dir);
    eventually("something is purged", || Model::read(&dir).last("purged", 2) > 0);
    load.kill().unwrap();
    load.wait().unwrap();
    let log = open(&dir).unwrap();
    let id = StreamId::from_u128(1);
    let cursor = log.cursor(id, CURSOR).unwrap();
    log.append(id, &Batch::one(b"behind the cursor")).unwrap();
    let refused = log.purge(id, log.committed());
    assert!(matches!(refused, Err(stratalog::Error::Held { at, .. }) if at == cursor.seq_id), "{refused:?}");
    assert!(matches!(log.purge(id, SeqId(1)), Ok(point) if point.seq_id <= cursor.seq_id));
}
