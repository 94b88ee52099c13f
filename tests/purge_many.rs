//! Purges of many segments, and cursors that are dropped beside them.
#![allow(clippy::unwrap_used)]
#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::time::Duration;

use hooked::{Gate, Hook, Hooked, nothing};
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Durability, Log, Options, SeqId, StreamId, check};
use support::{batch, payload, small, stream};

fn quiet() -> Options {
    small().idle_witness(Duration::from_secs(3600))
}

fn fill(log: &Log, stream: StreamId, count: u64) -> SeqId {
    let mut last = SeqId(0);
    for n in 0..count {
        last = log.append(stream, &Batch::one(&payload(n, 4_000))).unwrap().first_seq_id;
    }
    last
}

#[test]
fn what_a_race_of_delete_and_advance_leaves_is_no_damage() {
    let memory = MemoryStorage::new();
    let gate = Gate::default();
    let held = gate.clone();
    let before: Hook = Arc::new(move |operation, name| {
        if operation == "write" && (name.contains("spare") || name.ends_with(".segment")) {
            held.pass();
        }
        Ok(())
    });
    let log =
        quiet().open_storage(Arc::new(Hooked::new(Arc::new(memory.clone()), before, nothing()))).unwrap();
    fill(&log, stream(1), 10);
    log.advance_cursor(stream(1), "c", SeqId(2)).unwrap();
    gate.shut();
    let a = {
        let log = log.clone();
        std::thread::spawn(move || log.delete_stream(stream(1)))
    };
    gate.wait_for_one();
    let b = {
        let log = log.clone();
        std::thread::spawn(move || log.advance_cursor(stream(1), "c", SeqId(5)))
    };
    std::thread::sleep(Duration::from_millis(200));
    gate.open();
    a.join().unwrap().unwrap();
    // It came too late, or in time and went with the stream.
    drop(b.join().unwrap());
    fill(&log, stream(1), 3);
    log.close().unwrap();
    let report = check::verify(&memory, &mut |_| {}).unwrap();
    assert!(report.findings.iter().all(|f| f.severity != check::Severity::Damage), "{:?}", report.findings);
}

/// A purge looks at all segments: it must not keep all of them open.
#[test]
fn a_purge_does_not_run_out_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().durability(Durability::Buffered);
    let log = options.open(dir.path()).unwrap();
    for n in 0..200 {
        log.append(stream(n + 10), &batch(n as u64, 1, 50_000)).unwrap();
        log.append(stream(1), &batch(n as u64, 1, 100)).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let log = options.open(dir.path()).unwrap();
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let upto = log.committed();
    log.purge(stream(1), upto).unwrap();
    let after = open_files();
    assert!(after < before + 50, "{before} open files before the purge, {after} behind it");
}
