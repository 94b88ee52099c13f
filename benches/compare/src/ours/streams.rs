//! One stream among many: the time to read it is that of its own bytes.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use stratalog::{Batch, Log};

use super::{NAME, options, stream};
use crate::bench::Bench;
use crate::contender::{Kind, Promise};
use crate::payload::{Payload, Random};
use crate::place::Scratch;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const STREAMS: usize = 10_000;
const EACH: usize = 100;
const RECORD: usize = 512;
const ALONE: &str = "the same records alone";
const SCATTERED: &str = "floor: CRC over the same bytes where they lie";
/// Streams that are read in a round.
const READ: usize = 200;

pub(crate) fn rows() -> Vec<Spec> {
    let took = Figure::lower("took", "us");
    vec![Spec {
        name: "backfill".to_owned(),
        title: format!("backfill of one stream of {EACH} records of {RECORD} B among {STREAMS} interleaved"),
        figures: vec![took],
        goals: vec![
            Goal::of(NAME, took.name, Against::Entry(ALONE.to_owned(), took.name), Bar::AtMost(2.0)),
            Goal::of(NAME, took.name, Against::Entry(SCATTERED.to_owned(), took.name), Bar::Shown),
            Goal::of(SCATTERED, took.name, Against::Entry(ALONE.to_owned(), took.name), Bar::Shown),
        ],
        build: Box::new(|bench| {
            let payload = Payload::new(RECORD);
            let streams = if bench.settings.quick { 1_000 } else { STREAMS };
            let many = Rc::new(interleaved(bench, &payload, streams)?);
            let alone = Rc::new(interleaved(bench, &payload, 1)?);
            // The payloads hold the maps they lie in.
            let places = places(&many.0, streams)?;
            Ok(vec![
                Entry::new(NAME, Kind::Ours, move |round| backfills(&many.0, streams, round)),
                Entry::new(ALONE, Kind::Ours, move |round| backfills(&alone.0, 1, round)),
                Entry::new(SCATTERED, Kind::Floor, move |round| Ok(checksums(&places, round))),
            ])
        }),
    }]
}

/// The log goes before its directory.
fn interleaved(bench: &Bench, payload: &Payload, streams: usize) -> Result<(Log, Scratch)> {
    let scratch = bench.place.scratch((streams * EACH * RECORD * 2) as u64 + (256 << 20))?;
    let log = options(Promise::Process).open(scratch.path())?;
    let mut batch = Batch::new();
    for n in 0..EACH {
        for number in 0..streams {
            batch.clear();
            batch.push(payload.record(n));
            log.append(stream(number), &batch)?;
        }
    }
    log.close()?;
    // What was just appended may be in memory in another form than what is found there.
    let log = options(Promise::Process).open(scratch.path())?;
    Ok((log, scratch))
}

/// Of every stream where its payloads are in memory, in order.
fn places(log: &Log, streams: usize) -> Result<Vec<Vec<Bytes>>> {
    let payloads = |number| {
        log.stream_reader(stream(number), ..)?.map(|record| Ok(record?.payload)).collect::<Result<_>>()
    };
    (0..streams).map(payloads).collect()
}

fn checksums(places: &[Vec<Bytes>], round: usize) -> Sample {
    let mut random = Random::new(round as u64);
    let chosen: Vec<usize> = (0..READ).map(|_| random.below(places.len() as u64) as usize).collect();
    let begun = Instant::now();
    for payload in chosen.iter().filter_map(|number| places.get(*number)).flatten() {
        std::hint::black_box(crc32fast::hash(payload));
    }
    vec![("took", begun.elapsed().as_secs_f64() * 1e6 / READ as f64)]
}

fn backfills(log: &Log, streams: usize, round: usize) -> Result<Sample> {
    let mut random = Random::new(round as u64);
    let chosen: Vec<usize> = (0..READ).map(|_| random.below(streams as u64) as usize).collect();
    let begun = Instant::now();
    for number in &chosen {
        let (mut records, mut bytes) = (0, 0);
        let mut reader = log.stream_reader(stream(*number), ..)?;
        while let Some(record) = reader.next_record()? {
            records += 1;
            bytes += record.payload.len();
        }
        ensure!(
            (records, bytes) == (EACH, EACH * RECORD),
            "expected {EACH} records of stream {number}, found {records} of {bytes} bytes"
        );
    }
    Ok(vec![("took", begun.elapsed().as_secs_f64() * 1e6 / READ as f64)])
}
