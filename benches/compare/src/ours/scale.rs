//! What an append, a point read, an open and the heap cost, by the size of the log and by how many streams it
//! has: what does not grow with the work is not to grow with those.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use stratalog::{Batch, SeqId};

use super::{NAME, memory, options, size, stream};
use crate::bench::Bench;
use crate::contender::{Kind, Promise};
use crate::payload::{Payload, Random};
use crate::place::Scratch;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};
use crate::statistics::percentile;

const MIB: [u64; 4] = [64, 1_024, 4_096, 16_384];
const STREAMS: [usize; 5] = [1, 1_000, 10_000, 100_000, 1_000_000];
/// In the log of however many streams.
const RECORDS: usize = 1_000_000;
const RECORD: usize = 256;
/// So few that a small log stays one.
const APPENDS: [(&str, Promise, usize); 2] =
    [("sync", Promise::Durable, 1_000), ("buffered", Promise::Process, 20_000)];
const READS: usize = 20_000;

/// A closed log, and how many records and streams it has.
struct Log {
    scratch: Scratch,
    records: u64,
    streams: usize,
}

type Measure = Rc<dyn Fn(&Log, usize) -> Result<Sample>>;

pub(crate) fn rows() -> Vec<Spec> {
    let mut rows = Vec::new();
    let latency = || vec![Figure::lower("p50", "ns"), Figure::lower("p99", "ns")];
    for (name, promise, count) in APPENDS {
        let measure: Measure = Rc::new(move |log, round| appends(log, promise, count, round));
        let title = |by| format!("one append of {RECORD} B, {name}, by {by}");
        rows.push(by_log(format!("append-by-log-{name}"), title("the size of the log"), Rc::clone(&measure)));
        // What is not waited for is the processor's: more streams are more misses of its cache.
        let flat = if promise == Promise::Durable { Bar::AtMost(1.25) } else { Bar::Shown };
        rows.push(by_streams(
            format!("append-by-streams-{name}"),
            title("the number of streams"),
            latency(),
            flat,
            measure,
        ));
    }
    let by = "by the number of streams";
    let reads: Measure = Rc::new(points);
    rows.push(by_streams(
        "points-by-streams".into(),
        format!("point read, {RECORD} B, {by}"),
        latency(),
        Bar::Shown,
        reads,
    ));
    let opens: Measure = Rc::new(|log, _| size::opens(&log.scratch, SeqId(log.records)));
    let figures = vec![Figure::lower(size::WARM, "us"), Figure::lower(size::COLD, "us")];
    rows.push(by_streams(
        "open-by-streams".into(),
        format!("open after a clean close, {by}"),
        figures,
        Bar::Shown,
        opens,
    ));
    let heap: Measure =
        Rc::new(|log, _| memory::looked(log.scratch.path(), log.streams as u64, RECORD as u64));
    let figures = vec![Figure::lower("working", "MiB"), Figure::lower("opened", "MiB")];
    let title = format!("heap once all streams were appended to, {by}");
    rows.push(by_streams("memory-by-streams".into(), title, figures, Bar::Shown, heap));
    rows
}

fn by_log(name: String, title: String, measure: Measure) -> Spec {
    let entry = |mib| format!("{NAME}, {mib} MiB");
    let (least, most) = (entry(MIB[0]), entry(MIB[MIB.len() - 1]));
    Spec {
        name,
        title,
        figures: vec![Figure::lower("p50", "ns"), Figure::lower("p99", "ns")],
        goals: vec![Goal::of(most, "p50", Against::Entry(least, "p50"), Bar::AtMost(1.25))],
        build: Box::new(move |bench| {
            let mut entries = Vec::new();
            for mib in MIB {
                let (scratch, last) = size::closed(bench, bench.scaled(mib << 20))?;
                let log = Log { scratch, records: last.0, streams: size::STREAMS };
                let measure = Rc::clone(&measure);
                entries.push(Entry::new(entry(mib), Kind::Ours, move |round| measure(&log, round)));
            }
            Ok(entries)
        }),
    }
}

fn by_streams(name: String, title: String, figures: Vec<Figure>, flat: Bar, measure: Measure) -> Spec {
    let entry = |streams| format!("{NAME}, {streams} streams");
    let first = figures.first().map_or("", |figure| figure.name);
    let (least, most) = (entry(STREAMS[0]), entry(STREAMS[STREAMS.len() - 1]));
    Spec {
        name,
        title,
        figures,
        goals: vec![Goal::of(most, first, Against::Entry(least, first), flat)],
        build: Box::new(move |bench| {
            let mut entries = Vec::new();
            for streams in STREAMS {
                let log = interleaved(bench, streams)?;
                let measure = Rc::clone(&measure);
                entries.push(Entry::new(entry(streams), Kind::Ours, move |round| measure(&log, round)));
            }
            Ok(entries)
        }),
    }
}

fn interleaved(bench: &Bench, streams: usize) -> Result<Log> {
    let records = bench.scaled(RECORDS as u64) as usize;
    let scratch = bench.place.scratch((RECORDS * RECORD * 3) as u64)?;
    let payload = Payload::new(RECORD);
    let log = options(Promise::Process).open(scratch.path())?;
    let mut batch = Batch::new();
    for n in 0..records {
        batch.clear();
        batch.push(payload.record(n));
        log.append(stream(n % streams), &batch)?;
    }
    log.close()?;
    Ok(Log { scratch, records: records as u64, streams })
}

fn appends(found: &Log, promise: Promise, count: usize, round: usize) -> Result<Sample> {
    let log = options(promise).open(found.scratch.path())?;
    let (payload, mut random) = (Payload::new(RECORD), Random::new(round as u64));
    let mut batch = Batch::new();
    // The first ones of a process find nothing ready.
    let mut one = |n: usize| {
        batch.clear();
        batch.push(payload.record(n));
        let to = stream(random.below(found.streams as u64) as usize);
        let begun = Instant::now();
        log.append(to, &batch)?;
        anyhow::Ok(begun.elapsed().as_nanos() as u64)
    };
    (0..count / 10).try_for_each(|n| one(n).map(drop))?;
    let nanos = (0..count).map(one).collect::<Result<Vec<u64>>>()?;
    log.close()?;
    Ok(latency(nanos))
}

fn points(found: &Log, round: usize) -> Result<Sample> {
    let log = options(Promise::Process).open(found.scratch.path())?;
    let mut random = Random::new(round as u64);
    let mut one = |_| {
        let seq_id = SeqId(1 + random.below(found.records));
        let begun = Instant::now();
        log.record(seq_id)?.with_context(|| format!("expected record {seq_id}, found none"))?;
        anyhow::Ok(begun.elapsed().as_nanos() as u64)
    };
    // Segments are opened by the first read of each.
    (0..READS).try_for_each(|n| one(n).map(drop))?;
    let nanos = (0..READS).map(one).collect::<Result<Vec<u64>>>()?;
    log.close()?;
    Ok(latency(nanos))
}

fn latency(mut nanos: Vec<u64>) -> Sample {
    [("p50", 0.5), ("p99", 0.99)].map(|(name, share)| (name, percentile(&mut nanos, share) as f64)).to_vec()
}
