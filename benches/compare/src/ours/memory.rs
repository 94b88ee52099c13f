//! The memory of a process with a large log of many streams open: mapped segments do not count, they
//! belong to the page cache.

use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
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
                let mut sample = looked(scratch.path(), streams, RECORD as u64)?;
                sample.push(("filling", filling));
                Ok(sample)
            })])
        }),
    }]
}

/// Also returns by how much the heap of the process that filled it had grown in the end.
fn filled(bench: &Bench, streams: u64) -> Result<(Scratch, f64)> {
    let bytes = bench.scaled(BYTES);
    let scratch = bench.place.scratch(bytes + bytes / 8 + (256 << 20))?;
    let numbers = told("fill-streams", scratch.path(), &[bytes, streams])?;
    let [grown] = numbers.as_slice() else { bail!("expected a number of the child, found {numbers:?}") };
    Ok((scratch, *grown))
}

/// The child: appends batches of 10, to the streams in turns.
pub(crate) fn fill(directory: &Path, bytes: u64, streams: u64) -> Result<()> {
    let payload = Payload::new(RECORD);
    let before = heap_mib()?;
    let log = options(Promise::Process).open(directory)?;
    let mut batch = Batch::new();
    for n in 0..bytes / (10 * RECORD as u64) {
        batch.clear();
        (0..10).for_each(|k| batch.push(payload.record(n as usize * 10 + k)));
        log.append(stream((n % streams) as usize), &batch)?;
    }
    println!("{}", heap_mib()? - before);
    log.close()?;
    Ok(())
}

pub(super) fn looked(directory: &Path, streams: u64, record_bytes: u64) -> Result<Sample> {
    let numbers = told("memory", directory, &[streams, record_bytes])?;
    let [opened, working] = numbers.as_slice() else {
        bail!("expected two numbers of the child, found {numbers:?}")
    };
    Ok(vec![("opened", *opened), ("working", *working)])
}

/// What a child prints.
fn told(task: &str, directory: &Path, numbers: &[u64]) -> Result<Vec<f64>> {
    let mut child = children::start(task, Stratalog.name(), directory, numbers)?;
    let mut said = String::new();
    child.stdout.take().context("expected the output of the child")?.read_to_string(&mut said)?;
    ensure!(child.wait()?.success(), "the process of the task {task:?} failed");
    said.split_whitespace().map(|number| number.parse().context("expected a number of the child")).collect()
}

/// The child: opens the log, then appends to every stream and reads records all over it.
pub(crate) fn look(directory: &Path, streams: u64, record_bytes: u64) -> Result<()> {
    let log = options(Promise::Process).open(directory)?;
    let opened = heap_mib()?;
    let batch = Batch::one(&vec![7; record_bytes as usize]);
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
