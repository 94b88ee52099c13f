//! Bytes that reach the disk per byte appended, durable, in batches of 100.
//!
//! The kernel counts a page of a process when it becomes dirty (`write_bytes` of `/proc/self/io`), in
//! all of its threads: zeros for the next segment count as well.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stratalog::SeqId;

use crate::appends::{self, Appends};
use crate::contender::{Contender, Kind, Promise, Setup, Store, Work};
use crate::ours;
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const RECORD: usize = 2_048;
const WRITTEN: Figure = Figure::lower("written", "bytes per byte");
const PURGED: &str = "stratalog, purged behind";
/// Records of the log that a consumer has not passed yet.
const KEPT: u64 = (192 << 20) / RECORD as u64;

pub(crate) fn rows() -> Vec<Spec> {
    let itself = |entry: &str, bar| Goal::of(entry, WRITTEN.name, Against::Itself, bar);
    vec![Spec {
        name: "written".to_owned(),
        title: "bytes written per byte appended, durable batches of 100, 2 KiB".to_owned(),
        figures: vec![WRITTEN],
        goals: vec![itself(PURGED, Bar::AtMost(1.1)), itself(ours::NAME, Bar::Shown)],
        build: Box::new(|bench| {
            let payload = Rc::new(Payload::new(RECORD));
            let mut work = Appends::new(bench, Promise::Durable, RECORD).batch(100);
            // Several segments, however fast the disk is.
            work.seconds *= 4.0;
            let mut entries = Vec::new();
            let mut add = |name: &'static str, kind, contender: Arc<dyn Contender>| {
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                entries.push(Entry::new(name, kind, move |_| {
                    let purged = name == PURGED;
                    let sample = measure(&place, contender.as_ref(), &payload, work, purged)?;
                    place.settle()?;
                    Ok(sample)
                }));
            };
            add(PURGED, Kind::Ours, bench.ours());
            for contender in bench.those_that(Work::Append(Promise::Durable))? {
                add(contender.name(), contender.kind(), contender);
            }
            Ok(entries)
        }),
    }]
}

fn measure(
    place: &Place,
    contender: &dyn Contender,
    payload: &Payload,
    work: Appends,
    purged: bool,
) -> Result<Sample> {
    let (promise, warm_up) = (work.promise, contender.warm_up_bytes());
    let capacity_bytes = work.most_bytes + warm_up + (16 << 20);
    let setup = Setup { promise, record_bytes: RECORD, producers: 1, capacity_bytes, keep: false };
    let scratch = place.scratch(capacity_bytes * 4)?;
    let (written, appended) = if purged {
        let open = ours::open(scratch.path(), promise)?;
        appends::fill(&open, payload, warm_up)?;
        std::thread::sleep(Duration::from_millis(500));
        let before = written_bytes()?;
        let appended = purge_behind(&open, payload, work)?;
        let written = written_bytes()? - before;
        Box::new(open).close()?;
        (written, appended)
    } else {
        let store = contender.open(scratch.path(), &setup)?;
        appends::fill(store.as_ref(), payload, warm_up)?;
        std::thread::sleep(Duration::from_millis(500));
        let before = written_bytes()?;
        let ran = work.produce(store.as_ref(), payload)?;
        std::thread::sleep(Duration::from_millis(100));
        let written = written_bytes()? - before;
        store.close()?;
        (written, ran.tally.records)
    };
    Ok(vec![(WRITTEN.name, written as f64 / (appended * RECORD as u64) as f64)])
}

/// Appends, and lets go of what is older than the last 192 MiB. Returns the records appended.
fn purge_behind(open: &ours::Open, payload: &Payload, work: Appends) -> Result<u64> {
    let mut producer = open.producer(0)?;
    let begun = Instant::now();
    let (mut appended, mut purged) = (0_u64, 0_u64);
    while begun.elapsed().as_secs_f64() < work.seconds && appended * (RECORD as u64) < work.most_bytes {
        let records: Vec<&[u8]> = (0..work.batch).map(|n| payload.record(appended as usize + n)).collect();
        producer.append(&records)?;
        appended += records.len() as u64;
        let newest = open.log.committed().0;
        if newest > purged + 2 * KEPT {
            purged = newest - KEPT;
            open.log.purge(ours::stream(0), SeqId(purged))?;
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    Ok(appended)
}

fn written_bytes() -> Result<u64> {
    let all = std::fs::read_to_string("/proc/self/io").context("ask what this process wrote")?;
    let bytes = all.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    bytes.context("expected write_bytes in /proc/self/io, found none")
}
