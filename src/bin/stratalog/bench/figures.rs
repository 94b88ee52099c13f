//! What came out.

use std::time::Duration;

use serde::Serialize;

use super::machine::Machine;
use super::pace::Slice;
use super::rounds::{Measured, Plan};
use super::verdict::{self, Limit, Verdict};
use super::work::{Kind, Work};
use crate::latency::Latencies;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) stratalog: &'static str,
    #[serde(flatten)]
    pub(super) machine: Machine,
    pub(super) record_bytes: u32,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) figures: Vec<Figure>,
    pub(super) verdict: Verdict,
    /// What to bear in mind when reading the figures.
    pub(super) notes: Vec<String>,
}

/// One kind of work.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) work: String,
    pub(super) title: String,
    /// What the rates count.
    pub(super) unit: &'static str,
    #[serde(skip)]
    pub(super) kind: Kind,
    pub(super) floor: Option<Side>,
    pub(super) log: Side,
    /// The log's rate by the floor's, each round's by itself.
    pub(super) ratio: Option<Spread>,
    /// The processor's part of the floor alone: CRC and a copy within memory, records a second.
    pub(super) memory_per_second: Option<Spread>,
    pub(super) limit: Option<Limit>,
    /// The numbers that say so.
    pub(super) why: Option<String>,
}

/// The floor, or the log.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) what: String,
    pub(super) per_second: Spread,
    /// Of the records alone, in the median round.
    pub(super) mib_per_second: Option<f64>,
    /// Of all rounds; `None` where single records are not timed.
    pub(super) latency: Option<Latency>,
    /// Of all cores.
    pub(super) cpu_share: f64,
    /// Of the time, inside the calls that write and that sync. Of the log it is not known.
    pub(super) write_share: Option<f64>,
    pub(super) sync_share: Option<f64>,
    pub(super) sync_mean_micros: Option<f64>,
    pub(super) records_per_sync: Option<f64>,
}

/// Over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    /// One of so many was timed.
    pub(super) timed_of: u64,
    pub(super) p50_micros: f64,
    pub(super) p90_micros: f64,
    pub(super) p99_micros: f64,
    pub(super) p99_9_micros: f64,
    pub(super) max_micros: f64,
}

impl Report {
    pub(super) fn of(machine: Machine, record_bytes: u32, plan: &Plan, measured: &[Measured]) -> Report {
        let mut figures: Vec<Figure> = measured.iter().map(|row| Figure::of(row, record_bytes)).collect();
        for figure in &mut figures {
            if let Some((limit, why)) = verdict::of(figure) {
                (figure.limit, figure.why) = (Some(limit), Some(why));
            }
        }
        Report {
            stratalog: env!("CARGO_PKG_VERSION"),
            record_bytes,
            rounds: measured.first().map_or(0, |row| row.log.len()),
            seconds: plan.begun.elapsed().as_secs_f64(),
            verdict: Verdict::of(&figures),
            notes: verdict::notes(&machine, &figures, plan.seconds),
            figures,
            machine,
        }
    }

    pub(super) fn rounds_and_time(&self) -> String {
        let bytes = crate::output::count(u64::from(self.record_bytes));
        format!("records of {bytes} B, {} rounds, {:.0} s", self.rounds, self.seconds)
    }
}

impl Figure {
    fn of(row: &Measured, record_bytes: u32) -> Figure {
        let floor = row
            .work
            .floor()
            .filter(|_| !row.floor.is_empty())
            .map(|what| Side::of(what, row.work, record_bytes, &row.floor, true));
        let ratios = row.floor.iter().zip(&row.log).map(|(floor, log)| log.per_second() / floor.per_second());
        Figure {
            work: row.work.key(),
            title: row.work.title(),
            unit: row.work.unit(),
            kind: row.work.kind(),
            floor,
            log: Side::of(row.work.log(), row.work, record_bytes, &row.log, false),
            ratio: Spread::of(ratios),
            memory_per_second: Spread::of(row.memory.iter().map(Slice::per_second)),
            limit: None,
            why: None,
        }
    }
}

impl Side {
    fn of(what: String, work: Work, record_bytes: u32, rounds: &[Slice], is_floor: bool) -> Side {
        let mut sum = Slice::default();
        rounds.iter().for_each(|round| sum.add(round));
        let durable = work.kind() == Kind::Durable;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let per_second = Spread::of(rounds.iter().map(Slice::per_second)).unwrap_or(Spread::NONE);
        let of_time = |part: Duration| part.as_secs_f64() / sum.taken.as_secs_f64().max(1e-9);
        let in_calls = |part| (durable && is_floor).then(|| of_time(part));
        let syncs = sum.syncs.max(1) as f64;
        Side {
            what,
            per_second,
            mib_per_second: (work != Work::Open)
                .then(|| per_second.median * f64::from(record_bytes) / f64::from(1 << 20)),
            latency: Latency::of(&sum.latencies, work.timed_of().unwrap_or(1)),
            cpu_share: of_time(sum.cpu) / cores,
            write_share: in_calls(sum.calls.writing),
            sync_share: in_calls(sum.calls.syncing),
            sync_mean_micros: (durable && is_floor)
                .then(|| micros(sum.calls.syncing) / sum.calls.syncs.max(1) as f64),
            records_per_sync: durable.then(|| sum.records as f64 / syncs),
        }
    }
}

impl Spread {
    const NONE: Spread = Spread { median: 0.0, least: 0.0, most: 0.0 };

    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        Some(Spread { median, least: *values.first()?, most: *values.last()? })
    }

    /// From the least to the most, by the median.
    pub(super) fn width(self) -> f64 {
        (self.most - self.least) / self.median.max(1e-9)
    }
}

impl Latency {
    fn of(latencies: &Latencies, timed_of: u64) -> Option<Latency> {
        let within = |share| latencies.within(share).map(micros);
        Some(Latency {
            count: latencies.count(),
            timed_of,
            p50_micros: within(0.5)?,
            p90_micros: within(0.9)?,
            p99_micros: within(0.99)?,
            p99_9_micros: within(0.999)?,
            max_micros: within(1.0)?,
        })
    }

    pub(super) fn all(&self) -> [f64; 5] {
        [self.p50_micros, self.p90_micros, self.p99_micros, self.p99_9_micros, self.max_micros]
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Microseconds for people: `0.42`, `61.3`, `1,234`.
pub(super) fn shown_micros(micros: f64) -> String {
    match micros {
        ..10.0 => format!("{micros:.2}"),
        10.0..100.0 => format!("{micros:.1}"),
        _ => crate::output::count(micros.round() as u64),
    }
}

/// A rate for people.
pub(super) fn shown_rate(per_second: f64) -> String {
    match per_second {
        ..10.0 => format!("{per_second:.1}"),
        _ => crate::output::count(per_second.round() as u64),
    }
}
