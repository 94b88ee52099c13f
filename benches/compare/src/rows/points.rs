//! Single records by number, at random, from the page cache.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::SIZES;
use crate::bench::Bench;
use crate::contender::{Contender, Kind, Work};
use crate::filled::Filled;
use crate::ours;
use crate::payload::{Payload, Random};
use crate::row::{Against, Bar, Entry, Figure, Goal, RATE, Sample, Spec};

const BYTES: u64 = 256 << 20;
const READS: Figure = Figure::higher("rate", "reads/s");
/// Sizes of the log, in MiB.
const LOGS: [u64; 4] = [64, 256, 1_024, 4_096];
const SMALL: usize = 256;
const FLOOR: &str = "floor: map";

pub(crate) fn rows() -> Vec<Spec> {
    let mut rows: Vec<Spec> = SIZES.into_iter().map(by_record).collect();
    rows.push(by_log());
    rows
}

fn goal(ours: String, floor: String, bar: Bar) -> Goal {
    Goal::of(ours, RATE.name, Against::Entry(floor, RATE.name), bar)
}

fn by_record(size: usize) -> Spec {
    Spec {
        name: format!("points-{size}"),
        title: format!("point read from the page cache, 256 MiB, {size} B"),
        figures: vec![READS],
        goals: vec![
            goal(ours::NAME.to_owned(), FLOOR.to_owned(), Bar::AtLeast(0.8)),
            Goal::rate(Against::BestPeer(RATE.name), Bar::Shown),
        ],
        build: Box::new(move |bench| {
            let payload = Rc::new(Payload::new(size));
            let mut entries = Vec::new();
            for contender in bench.those_that(Work::Points)? {
                match entry(
                    bench,
                    contender.as_ref(),
                    &payload,
                    contender.name().to_owned(),
                    bench.scaled(BYTES),
                ) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => {
                        bench.leave_out(
                            &format!("points-{size}"),
                            contender.name(),
                            &format!("failed: {error:#}"),
                        );
                    }
                }
            }
            Ok(entries)
        }),
    }
}

fn of_log(name: &str, mib: u64) -> String {
    format!("{name}, {mib} MiB")
}

/// This log and the floor, by the size of the log.
fn by_log() -> Spec {
    let last = LOGS[LOGS.len() - 1];
    let mut goals: Vec<Goal> = LOGS
        .into_iter()
        .map(|mib| goal(of_log(ours::NAME, mib), of_log(FLOOR, mib), Bar::AtLeast(0.8)))
        .collect();
    goals.push(goal(of_log(ours::NAME, last), of_log(ours::NAME, LOGS[0]), Bar::Shown));
    goals.push(goal(of_log(FLOOR, last), of_log(FLOOR, LOGS[0]), Bar::Shown));
    Spec {
        name: "points-by-log".to_owned(),
        title: format!("point read from the page cache, {SMALL} B, by the size of the log"),
        figures: vec![READS],
        goals,
        build: Box::new(|bench| {
            let payload = Rc::new(Payload::new(SMALL));
            let mut entries = Vec::new();
            for mib in LOGS {
                for contender in bench.those_that(Work::Points)? {
                    if contender.kind() != Kind::Peer {
                        let name = of_log(contender.name(), mib);
                        entries.push(entry(
                            bench,
                            contender.as_ref(),
                            &payload,
                            name,
                            bench.scaled(mib << 20),
                        )?);
                    }
                }
            }
            Ok(entries)
        }),
    }
}

/// Not opened again after it was filled: some know the places of records only from their appends.
fn entry(
    bench: &Bench,
    contender: &dyn Contender,
    payload: &Payload,
    name: String,
    bytes: u64,
) -> Result<Entry> {
    let filled = Filled::new(&bench.place, contender, payload, bytes)?;
    let (seconds, record_bytes) = (bench.settings.seconds, payload.record_bytes);
    Ok(Entry::new(name, contender.kind_as_reader(), move |round| {
        reads(&filled, record_bytes, seconds, round)
    }))
}

fn reads(filled: &Filled, record_bytes: usize, seconds: f64, round: usize) -> Result<Sample> {
    let mut points = filled.store.points()?;
    // The same numbers for everyone in a round.
    let mut random = Random::new(round as u64);
    let (mut done, mut bytes, mut first_bytes) = (0_u64, 0_u64, 0_u64);
    let begun = Instant::now();
    while done % 64 != 0 || done == 0 || begun.elapsed().as_secs_f64() < seconds {
        points.read(random.below(filled.wrote.records), &mut |record| {
            bytes += record.len() as u64;
            first_bytes = first_bytes.wrapping_add(u64::from(*record.first().unwrap_or(&0)));
        })?;
        done += 1;
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    std::hint::black_box(first_bytes);
    ensure!(
        bytes == done * record_bytes as u64,
        "expected {record_bytes} bytes a record, found {bytes} in {done}"
    );
    Ok(vec![(RATE.name, rate)])
}
