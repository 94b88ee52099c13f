//! Opening a closed log and its memory, by size: neither is to grow with it.

use std::time::Instant;

use anyhow::{Result, ensure};
use stratalog::{Batch, SeqId};

use super::{NAME, options, stream};
use crate::bench::Bench;
use crate::contender::{Kind, Promise};
use crate::payload::Payload;
use crate::place::{Scratch, chill};
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const MIB: [u64; 5] = [64, 256, 1_024, 4_096, 16_384];
const RECORD: usize = 6_656;
pub(super) const WARM: &str = "warm";
pub(super) const COLD: &str = "cold";
const OPENS: usize = 11;
/// Of the logs here, whatever their size.
pub(super) const STREAMS: usize = 100;

fn name(mib: u64) -> String {
    format!("{NAME}, {mib} MiB")
}

pub(crate) fn rows() -> Vec<Spec> {
    let mut goals = Vec::new();
    for mib in MIB {
        goals.push(Goal::of(name(mib), WARM, Against::Itself, Bar::AtMost(1_000.0)));
        goals.push(Goal::of(name(mib), COLD, Against::Itself, Bar::AtMost(10_000.0)));
    }
    let (least, most) = (MIB[0], MIB[MIB.len() - 1]);
    for figure in [WARM, COLD] {
        goals.push(Goal::of(name(most), figure, Against::Entry(name(least), figure), Bar::Shown));
    }
    vec![Spec {
        name: "open-by-log".to_owned(),
        title: "open after a clean close, by the size of the log".to_owned(),
        figures: vec![Figure::lower(WARM, "us"), Figure::lower(COLD, "us")],
        goals,
        build: Box::new(|bench| {
            let mut entries = Vec::new();
            for mib in MIB {
                match closed(bench, bench.scaled(mib << 20)) {
                    Ok((scratch, last)) => {
                        entries.push(Entry::new(name(mib), Kind::Ours, move |_| opens(&scratch, last)));
                    }
                    Err(error) => bench.leave_out("open-by-log", &name(mib), &format!("{error:#}")),
                }
            }
            Ok(entries)
        }),
    }]
}

pub(super) fn closed(bench: &Bench, bytes: u64) -> Result<(Scratch, SeqId)> {
    let scratch = bench.place.scratch(bytes + bytes / 16 + (256 << 20))?;
    let payload = Payload::new(RECORD);
    let log = options(Promise::Process).open(scratch.path())?;
    let mut batch = Batch::new();
    let batches = (bytes / (100 * RECORD as u64)).max(1);
    for n in 0..batches as usize {
        batch.clear();
        (0..100).for_each(|k| batch.push(payload.record(n * 100 + k)));
        log.append(stream(n % STREAMS), &batch)?;
    }
    let last = log.committed();
    log.close()?;
    Ok((scratch, last))
}

pub(super) fn opens(scratch: &Scratch, last: SeqId) -> Result<Sample> {
    let one = |_| -> Result<f64> {
        let begun = Instant::now();
        let log = options(Promise::Process).open(scratch.path())?;
        let took = begun.elapsed().as_secs_f64() * 1e6;
        ensure!(log.recovery().clean, "the log was not closed cleanly");
        ensure!(log.committed() == last, "expected {last} to be the newest, found {}", log.committed());
        log.close()?;
        Ok(took)
    };
    one(0)?;
    let mut warm = (0..OPENS).map(one).collect::<Result<Vec<f64>>>()?;
    warm.sort_by(f64::total_cmp);
    chill(scratch.path())?;
    Ok(vec![(WARM, warm[OPENS / 2]), (COLD, one(0)?)])
}
