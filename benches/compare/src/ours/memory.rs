//! The memory of a process with a large log of many streams open: mapped segments do not count, they
//! belong to the page cache.

use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use stratalog::{Batch, SeqId};

use super::{NAME, Stratalog, options, stream};
use crate::bench::Bench;
use crate::children;
use crate::contender::{Contender, Kind, Promise};
use crate::payload::Payload;
use crate::place::Scratch;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const BYTES: u64 = 16 << 30;
const STREAMS: u64 = 100_000;
const RECORD: usize = 6_656;

pub(crate) fn rows() -> Vec<Spec> {
    let figure = |name| Figure::lower(name, "MiB");
    let below = |name| Goal::of(NAME, name, Against::Itself, Bar::AtMost(64.0));
    vec![Spec {
        name: "memory".to_owned(),
        title: "resident heap with a 16 GiB log of 100,000 streams".to_owned(),
        figures: vec![figure("working"), figure("opened"), figure("filling")],
        goals: vec![below("working"), below("opened"), below("filling")],
        build: Box::new(|bench| {
            let streams = if bench.settings.quick { STREAMS / 16 } else { STREAMS };
            let (scratch, filling) = filled(bench, streams)?;
            let scratch = Rc::new(scratch);
            Ok(vec![Entry::new(NAME, Kind::Ours, move |_| {
                let mut sample = looked(scratch.path(), streams)?;
                sample.push(("filling", filling));
                Ok(sample)
            })])
        }),
    }]
}

/// In batches of 10, the streams in turns. Also returns how much the heap grew meanwhile, at the end.
fn filled(bench: &Bench, streams: u64) -> Result<(Scratch, f64)> {
    let bytes = bench.scaled(BYTES);
    let scratch = bench.place.scratch(bytes + bytes / 8)?;
    let payload = Payload::new(RECORD);
    let before = heap_mib()?;
    let log = options(Promise::Process).open(scratch.path())?;
    let mut batch = Batch::new();
    for n in 0..bytes / (10 * RECORD as u64) {
        batch.clear();
        (0..10).for_each(|k| batch.push(payload.record(n as usize * 10 + k)));
        log.append(stream((n % streams) as usize), &batch)?;
    }
    let grown = heap_mib()? - before;
    log.close()?;
    Ok((scratch, grown.max(0.0)))
}

fn looked(directory: &Path, streams: u64) -> Result<Sample> {
    let mut child = children::start("memory", Stratalog.name(), directory, &[streams])?;
    let mut said = String::new();
    child.stdout.take().context("expected the output of the child")?.read_to_string(&mut said)?;
    ensure!(child.wait()?.success(), "the process that opened the log failed");
    let mut numbers = said.split_whitespace().map(str::parse::<f64>);
    let mut next =
        || numbers.next().context("expected two numbers of the child")?.context("expected a number");
    Ok(vec![("opened", next()?), ("working", next()?)])
}

/// The child: opens the log, then appends to every stream and reads records all over it.
pub(crate) fn look(directory: &Path, streams: u64) -> Result<()> {
    let log = options(Promise::Process).open(directory)?;
    let opened = heap_mib()?;
    let batch = Batch::one(&[7; RECORD]);
    let newest = log.committed().0;
    for number in 0..streams {
        log.append(stream(number as usize), &batch)?;
        log.record(SeqId(1 + number * (newest - 1) / streams))?.context("expected a record, found none")?;
    }
    for number in (0..streams).step_by(100) {
        log.stream_reader(stream(number as usize), ..)?.next_record()?;
    }
    println!("{opened} {}", heap_mib()?);
    log.close()?;
    Ok(())
}

/// Pages of this process that no file backs.
fn heap_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("expected RssAnon in /proc/self/status, found none")?.trim().parse()?;
    Ok(kib / 1_024.0)
}
