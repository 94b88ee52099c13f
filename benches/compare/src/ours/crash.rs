//! Opening after a crash with default options: what is scanned, how fast, and how long it takes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use stratalog::{Log, SeqId};

use super::{NAME, Stratalog, options};
use crate::children;
use crate::contender::{Kind, Promise};
use crate::place::{Place, held_bytes};
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const RECORD: usize = 2_048;
const MIB: f64 = (1 << 20) as f64;
/// More is in doubt there, and written again.
const BUFFERED: &str = "stratalog, Buffered";

pub(crate) fn rows() -> Vec<Spec> {
    vec![Spec {
        name: "crash".to_owned(),
        title: "open after a crash, default options, 2 KiB records, from the page cache".to_owned(),
        figures: vec![
            Figure::lower("open", "ms"),
            Figure::lower("scanned", "MiB"),
            Figure::higher("scan", "MiB/s"),
            Figure::higher("first replay", "MiB/s"),
            Figure::higher("replay", "MiB/s"),
        ],
        goals: vec![
            Goal::of(NAME, "open", Against::Itself, Bar::AtMost(100.0)),
            Goal::of(NAME, "scan", Against::Entry(NAME.to_owned(), "replay"), Bar::AtLeast(0.8)),
            Goal::of(NAME, "scan", Against::Entry(NAME.to_owned(), "first replay"), Bar::Shown),
        ],
        build: Box::new(|bench| {
            let (bytes, steps) =
                (bench.scaled(1 << 30), [64 << 20, 576 << 20].map(|bytes| bench.scaled(bytes)));
            let entry = |name: &str, promise| {
                let place = Arc::clone(&bench.place);
                // The crash comes at another distance from the last checkpoint each time.
                Entry::new(name, Kind::Ours, move |round| {
                    let mut sample = opened(&place, bytes + round as u64 * (5 << 20), promise)?;
                    if promise == Promise::Durable {
                        sample.push(("scan", scan_rate(&place, steps)?));
                    }
                    Ok(sample)
                })
            };
            Ok(vec![entry(NAME, Promise::Durable), entry(BUFFERED, Promise::Process)])
        }),
    }]
}

fn opened(place: &Place, bytes: u64, promise: Promise) -> Result<Sample> {
    let scratch = place.scratch(bytes * 2 + (256 << 20))?;
    let records = children::crashed(&Stratalog, scratch.path(), bytes, RECORD, promise)?;
    let begun = Instant::now();
    let log = options(promise).open(scratch.path())?;
    let open = begun.elapsed().as_secs_f64();
    let report = log.recovery();
    ensure!(
        !report.clean && report.last_seq_id == SeqId(records),
        "expected a crash behind {records}: {report:?}"
    );
    let scanned = report.scanned_bytes as f64;
    // The same kind of bytes, read in order: first as the scan found them, in the page cache but in no map.
    let (first, again) = (replay_rate(&log)?, replay_rate(&log)?);
    log.close()?;
    ensure!(held_bytes(scratch.path())? >= bytes, "the log holds less than was appended");
    drop(scratch);
    place.settle()?;
    Ok(vec![("open", open * 1e3), ("scanned", scanned / MIB), ("first replay", first), ("replay", again)])
}

/// MiB a second.
fn replay_rate(log: &Log) -> Result<f64> {
    let begun = Instant::now();
    let (mut reader, mut seen) = (log.reader(SeqId(1)..)?, 0);
    while let Some(record) = reader.next_ref()? {
        seen += record.payload.len();
    }
    Ok(seen as f64 / begun.elapsed().as_secs_f64() / MIB)
}

/// MiB a second, without what an open costs however little there is to scan: from two logs that lost their
/// checkpoints, a small one and a large one.
fn scan_rate(place: &Place, steps: [u64; 2]) -> Result<f64> {
    let mut seen = Vec::new();
    for bytes in steps {
        let scratch = place.scratch(bytes * 2 + (256 << 20))?;
        children::crashed(&Stratalog, scratch.path(), bytes, RECORD, Promise::Durable)?;
        for file in std::fs::read_dir(scratch.path())? {
            let path = file?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"checkpoint-")) {
                std::fs::remove_file(path)?;
            }
        }
        let begun = Instant::now();
        let log = options(Promise::Durable).open(scratch.path())?;
        let seconds = begun.elapsed().as_secs_f64();
        let scanned = log.recovery().scanned_bytes;
        ensure!(scanned >= bytes, "expected a scan of {bytes} bytes, found one of {scanned}");
        seen.push((scanned as f64, seconds));
        log.close()?;
        drop(scratch);
        place.settle()?;
    }
    let [small, large] = seen[..] else { bail!("expected two scans, found {}", seen.len()) };
    Ok((large.0 - small.0) / (large.1 - small.1) / MIB)
}
