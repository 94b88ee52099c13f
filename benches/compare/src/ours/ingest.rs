//! Real records, repeated to 1 GiB and ingested, beside `cp` of a file of the same bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use stratalog::Batch;
use stratalog::ingest::{OperationRecord, parse_line};

use super::{NAME, options, stream};
use crate::contender::{Kind, Promise};
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const BYTES: u64 = 1 << 30;
const BATCH: usize = 100;
const COPY: &str = "cp";

pub(crate) fn rows() -> Vec<Spec> {
    let took = Figure::lower("took", "s");
    vec![Spec {
        name: "ingest".to_owned(),
        title: "ingest of 1 GiB of real records, Buffered, parsed beforehand, against cp".to_owned(),
        figures: vec![took],
        goals: vec![Goal::of(NAME, took.name, Against::Entry(COPY.to_owned(), took.name), Bar::AtMost(1.5))],
        build: Box::new(|bench| {
            let records = Rc::new(parsed(&bench.settings.records)?);
            let bytes = bench.scaled(BYTES);
            let source = bench.place.scratch(bytes)?;
            let appends = write_source(&source.path().join("source"), &records, bytes)?;
            let (place, copied) = (Arc::clone(&bench.place), Arc::clone(&bench.place));
            Ok(vec![
                Entry::new(NAME, Kind::Ours, move |_| ingest(&place, &records, appends, bytes)),
                Entry::new(COPY, Kind::Floor, move |_| copy(&copied, &source.path().join("source"), bytes)),
            ])
        }),
    }]
}

fn parsed(path: &Path) -> Result<Vec<OperationRecord>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let records = lines.map(|line| Ok(parse_line(line?.as_bytes())?.record)).collect::<Result<Vec<_>>>()?;
    ensure!(!records.is_empty(), "{}: expected records, found none", path.display());
    Ok(records)
}

/// The bytes that are ingested, one behind the other. Returns how many records they are.
fn write_source(path: &Path, records: &[OperationRecord], bytes: u64) -> Result<usize> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut written, mut count, mut encoded) = (0, 0, Vec::new());
    while written < bytes {
        encoded.clear();
        records[count % records.len()].encode_into(&mut encoded)?;
        file.write_all(&encoded)?;
        written += encoded.len() as u64;
        count += 1;
    }
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(count)
}

fn ingest(place: &Place, records: &[OperationRecord], count: usize, bytes: u64) -> Result<Sample> {
    let scratch = place.scratch(bytes + bytes / 8 + (128 << 20))?;
    let log = options(Promise::Process).open(scratch.path())?;
    let mut batch = Batch::new();
    let begun = Instant::now();
    let mut next = 0;
    while next < count {
        batch.clear();
        for n in next..count.min(next + BATCH) {
            batch.try_push_with(|encoded| records[n % records.len()].encode_into(encoded))?;
        }
        log.append(stream(0), &batch)?;
        next += batch.len();
    }
    let took = begun.elapsed().as_secs_f64();
    ensure!(log.committed().0 == count as u64, "expected {count} records, found {}", log.committed());
    log.close()?;
    drop(scratch);
    place.settle()?;
    Ok(vec![("took", took)])
}

fn copy(place: &Place, source: &Path, bytes: u64) -> Result<Sample> {
    let scratch = place.scratch(bytes)?;
    let target = scratch.path().join("copy");
    let begun = Instant::now();
    let done = Command::new("cp").arg(source).arg(&target).status()?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(done.success() && target.metadata()?.len() >= bytes, "cp did not copy all of it");
    drop(scratch);
    place.settle()?;
    Ok(vec![("took", took)])
}
