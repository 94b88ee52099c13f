//! Who waits at the end of a log keeps no space of what is purged behind him.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]
mod support;

use std::path::Path;

use stratalog::{Log, Options, Reader, SeqId};
use support::{payload, small, stream};

fn fill(log: &Log, count: u64) -> SeqId {
    let mut last = SeqId(0);
    for n in 0..count {
        last = log.append(stream(1), &stratalog::Batch::one(&payload(n, 2_000))).unwrap().first_seq_id;
        log.tend().unwrap();
    }
    last
}

/// Files of the directory that this process has open or mapped, and that have no name any more.
fn nameless(directory: &Path) -> Vec<String> {
    let here = directory.to_str().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let target = std::fs::read_link(entry.unwrap().path()).ok()?;
        Some(target.to_string_lossy().into_owned())
    });
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped: Vec<String> = maps.lines().map(str::to_owned).collect();
    open.chain(mapped).filter(|file| file.contains(here) && file.contains("(deleted)")).collect()
}

fn options() -> Options {
    small().upkeep(stratalog::Upkeep::Caller)
}

fn nothing_is_kept_by(begin: impl Fn(&Log) -> Reader) {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let upto = fill(&log, 300);
    let mut reader = begin(&log);
    while reader.next_record().unwrap().is_some() {}
    log.purge(stream(1), SeqId(upto.0 - 40)).unwrap();
    log.tend().unwrap();
    assert!(log.stats().unwrap().segments.len() < 6);
    assert_eq!(nameless(directory.path()), Vec::<String>::new());

    // And it goes on from there, through as many segments again.
    let last = fill(&log, 100);
    let read: Vec<SeqId> = reader.by_ref().map(|record| record.unwrap().seq_id).collect();
    assert_eq!((read.len(), read.last()), (100, Some(&last)));
    log.purge(stream(1), last).unwrap();
    log.tend().unwrap();
    assert_eq!(nameless(directory.path()), Vec::<String>::new());
    assert!(reader.next_record().unwrap().is_none());
}

#[test]
fn a_reader_of_the_log_at_its_end_keeps_no_freed_segment() {
    nothing_is_kept_by(|log| log.reader(..).unwrap());
}

#[test]
fn a_reader_of_a_stream_at_its_end_keeps_no_freed_segment() {
    nothing_is_kept_by(|log| log.stream_reader(stream(1), ..).unwrap());
}
