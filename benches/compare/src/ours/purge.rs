//! Durable appends while what is behind them is purged and segments are freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use stratalog::{Log, SeqId};

use super::{NAME, Open, options, stream};
use crate::appends::{Appends, warm_up};
use crate::contender::{Kind, Promise};
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, RATE, Sample, Spec};

const RECORD: usize = 2_048;
const PRODUCERS: usize = 4;
/// Small ones, so that many are freed while it is measured.
const SEGMENT: u64 = 4 << 20;
const WITHOUT: &str = "without a purge";

pub(crate) fn rows() -> Vec<Spec> {
    let without = |figure: &'static str| Against::Entry(WITHOUT.to_owned(), figure);
    vec![Spec {
        name: "purge".to_owned(),
        title: format!("durable appends under purge, {PRODUCERS} producers, 2 KiB, segments of 4 MiB"),
        figures: vec![
            Figure::lower("p99", "us"),
            Figure::lower("p50", "us"),
            RATE,
            Figure::higher("freed", "segments"),
        ],
        goals: vec![
            Goal::of(NAME, "p99", without("p99"), Bar::AtMost(2.0)),
            Goal::of(NAME, RATE.name, without(RATE.name), Bar::Shown),
        ],
        build: Box::new(|bench| {
            let mut appends = Appends::new(bench, Promise::Durable, RECORD).producers(PRODUCERS);
            appends.seconds *= 2.0;
            let entry = |name: &str, purged: bool| {
                let place = Arc::clone(&bench.place);
                Entry::new(name, Kind::Ours, move |_| measure(&place, appends, purged))
            };
            Ok(vec![entry(NAME, true), entry(WITHOUT, false)])
        }),
    }]
}

fn measure(place: &Place, appends: Appends, purged: bool) -> Result<Sample> {
    let payload = Payload::new(RECORD);
    let scratch = place.scratch(appends.most_bytes * 2 + (256 << 20))?;
    let log = options(Promise::Durable).segment_bytes(SEGMENT).open(scratch.path())?;
    let open = Open { log };
    warm_up(&open, &payload, 16 << 20, appends.batch)?;
    std::thread::sleep(Duration::from_millis(300));
    let over = AtomicBool::new(false);
    let (ran, freed) = std::thread::scope(|scope| {
        let purger = scope.spawn(|| if purged { purge_behind(&open.log, &over) } else { Ok(0) });
        let ran = appends.produce(&open, &payload);
        over.store(true, Ordering::Release);
        (ran, purger.join())
    });
    let freed = freed.unwrap_or_else(|_| Err(anyhow::anyhow!("the purge panicked")))?;
    ensure!(!purged || freed > 0, "no segment was freed within the time: give more with --seconds");
    let mut sample = ran?.sample();
    sample.push(("freed", freed as f64));
    open.log.close()?;
    drop(scratch);
    place.settle()?;
    Ok(sample)
}

/// Keeps about a thousand records of each stream. Returns how many segments went.
fn purge_behind(log: &Log, over: &AtomicBool) -> Result<usize> {
    let (mut freed, mut held) = (0, log.stats()?.segments.len());
    while !over.load(Ordering::Acquire) {
        let upto = SeqId(log.committed().0.saturating_sub(1_000 * PRODUCERS as u64));
        for number in 0..PRODUCERS {
            log.purge(stream(number), upto)?;
        }
        let now = log.stats()?.segments.len();
        freed += held.saturating_sub(now);
        held = now;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(freed)
}
