//! Opening what another process closed, or died over, beside everyone who can be opened.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::appends::read_back;
use crate::bench::Bench;
use crate::children;
use crate::contender::{Contender, Promise, Setup, Work};
use crate::filled::{Filled, setup};
use crate::payload::{Payload, Tally};
use crate::place::{Place, Scratch, chill};
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const RECORD: usize = 2_048;
const CLOSED: u64 = 1 << 30;
const KILLED: u64 = 256 << 20;
/// Opens of a round; the median counts.
const OPENS: usize = 5;

const WARM: Figure = Figure::lower("warm", "ms");
const COLD: Figure = Figure::lower("cold", "ms");

pub(crate) fn rows() -> Vec<Spec> {
    let best =
        |figure: &'static str| Goal::of(crate::ours::NAME, figure, Against::BestPeer(figure), Bar::Shown);
    vec![
        Spec {
            name: "open-closed".to_owned(),
            title: "open after a clean close, 1 GiB of 2 KiB records".to_owned(),
            figures: vec![WARM, COLD],
            goals: vec![best("warm"), best("cold")],
            build: Box::new(closed),
        },
        Spec {
            name: "open-killed".to_owned(),
            title: "open after the process was killed, 256 MiB of durable 2 KiB records, from the page cache"
                .to_owned(),
            figures: vec![WARM],
            goals: vec![best("warm")],
            build: Box::new(killed),
        },
    ]
}

fn closed(bench: &Bench) -> Result<Vec<Entry>> {
    let payload = Payload::new(RECORD);
    let bytes = bench.scaled(CLOSED);
    let mut entries = Vec::new();
    for contender in bench.those_that(Work::Open)? {
        match Filled::new(&bench.place, contender.as_ref(), &payload, bytes).and_then(Filled::close) {
            Ok((_, scratch)) => {
                let (name, kind) = (contender.name(), contender.kind());
                entries.push(Entry::new(name, kind, move |_| opens(contender.as_ref(), &scratch, bytes)));
            }
            Err(error) => bench.leave_out("open-closed", contender.name(), &format!("failed: {error:#}")),
        }
    }
    Ok(entries)
}

fn opens(contender: &dyn Contender, scratch: &Scratch, bytes: u64) -> Result<Sample> {
    let one = |_| -> Result<f64> {
        let begun = Instant::now();
        let store = contender.open(scratch.path(), &setup(contender, RECORD, bytes))?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        store.close()?;
        Ok(took)
    };
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    // The first one reads what the round before left cold.
    one(0)?;
    let warm = median((0..OPENS).map(one).collect::<Result<_>>()?);
    chill(scratch.path())?;
    Ok(vec![(WARM.name, warm), (COLD.name, one(0)?)])
}

/// Who recovers changes what it finds: each round has a crash of its own.
fn killed(bench: &Bench) -> Result<Vec<Entry>> {
    let payload = Rc::new(Payload::new(RECORD));
    let bytes = bench.scaled(KILLED);
    let entry = |contender: Arc<dyn Contender>| {
        let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
        Entry::new(contender.name(), contender.kind(), move |_| {
            recover(&place, contender.as_ref(), &payload, bytes)
        })
    };
    Ok(bench.those_that(Work::Open)?.into_iter().map(entry).collect())
}

fn recover(place: &Place, contender: &dyn Contender, payload: &Payload, bytes: u64) -> Result<Sample> {
    let scratch = place.scratch(bytes * 4)?;
    let records = children::crashed(contender, scratch.path(), bytes, RECORD, Promise::Durable)?;
    let setup = Setup { promise: Promise::Durable, ..setup(contender, RECORD, bytes) };
    let begun = Instant::now();
    let store = contender.open(scratch.path(), &setup)?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let mut wrote = Tally::default();
    (0..records as usize).for_each(|n| wrote.wrote(payload, n));
    read_back(store.as_ref(), payload, wrote)?;
    store.close()?;
    drop(scratch);
    place.settle()?;
    ensure!(took > 0.0, "a clock stood still");
    Ok(vec![(WARM.name, took)])
}
