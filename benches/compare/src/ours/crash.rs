//! Opening after a crash with default options: what is scanned, how fast, and how long it takes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use stratalog::SeqId;

use super::{NAME, Stratalog, options};
use crate::children;
use crate::contender::{Kind, Promise};
use crate::place::{Place, held_bytes};
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const RECORD: usize = 2_048;
/// More is in doubt there, and written again.
const BUFFERED: &str = "stratalog, Buffered";

pub(crate) fn rows() -> Vec<Spec> {
    let scan = Figure::higher("scan", "MiB/s");
    vec![Spec {
        name: "crash".to_owned(),
        title: "open after a crash, default options, 2 KiB records, from the page cache".to_owned(),
        figures: vec![
            Figure::lower("open", "ms"),
            Figure::lower("scanned", "MiB"),
            scan,
            Figure::higher("replay", "MiB/s"),
        ],
        goals: vec![
            Goal::of(NAME, "open", Against::Itself, Bar::AtMost(100.0)),
            Goal::of(NAME, "scan", Against::Entry(NAME.to_owned(), "replay"), Bar::AtLeast(0.8)),
        ],
        build: Box::new(|bench| {
            let bytes = bench.scaled(1 << 30);
            let entry = |name: &str, promise| {
                let place = Arc::clone(&bench.place);
                // The crash comes at another distance from the last checkpoint each time.
                Entry::new(name, Kind::Ours, move |round| {
                    opened(&place, bytes + round as u64 * (5 << 20), promise)
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
    // The same kind of bytes, read in order: twice, as the scan found them in the page cache.
    let mut rate = 0.0;
    for _ in 0..2 {
        let begun = Instant::now();
        let (mut reader, mut seen) = (log.reader(SeqId(1)..)?, 0);
        while let Some(record) = reader.next_record()? {
            seen += record.payload.len();
        }
        rate = seen as f64 / begun.elapsed().as_secs_f64();
    }
    log.close()?;
    ensure!(held_bytes(scratch.path())? >= bytes, "the log holds less than was appended");
    drop(scratch);
    place.settle()?;
    let mib = f64::from(1 << 20);
    Ok(vec![
        ("open", open * 1e3),
        ("scanned", scanned / mib),
        ("scan", scanned / open / mib),
        ("replay", rate / mib),
    ])
}
