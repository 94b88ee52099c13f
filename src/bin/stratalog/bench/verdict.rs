//! What limits each kind of work, by the ratios.

use serde::Serialize;

use super::figures::{Figure, Side, shown_micros};
use super::machine::Machine;
use super::work::Kind;

/// Below this share of the floor, what the log adds is what there is to gain.
const LOG_BELOW: f64 = 0.75;
/// Above this share of all cores there is nothing left to run on.
const CPU_ABOVE: f64 = 0.85;
/// A sync that is faster than this was not waited for by a medium that has to be written.
const CACHED_SYNC_MICROS: f64 = 100.0;
/// Rounds that say different things, and are further apart than this, say nothing.
const TELLING_RATIO: f64 = 2.0;
/// Rounds further apart than this were not measured on a quiet machine.
const QUIET_WIDTH: f64 = 0.4;
/// Shorter runs have slices of a few hundredths of a second.
const SETTLED_SECONDS: u32 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    DiskSync,
    WritePath,
    Cpu,
    Log,
    /// By some rounds the log, by others what is below it.
    Unclear,
}

impl Limit {
    pub(super) fn words(self) -> &'static str {
        match self {
            Limit::DiskSync => "the disk's sync",
            Limit::WritePath => "the kernel's write path",
            Limit::Cpu => "the processor",
            Limit::Log => "the log itself",
            Limit::Unclear => "what can't be told",
        }
    }
}

/// Of one durable producer, which is what a disk is first asked for.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) limit: Option<Limit>,
    pub(super) words: String,
}

impl Verdict {
    pub(super) fn of(figures: &[Figure]) -> Verdict {
        let first = figures.iter().find(|figure| figure.limit.is_some());
        let Some((figure, limit)) = first.and_then(|figure| Some((figure, figure.limit?))) else {
            return Verdict { limit: None, words: "nothing was measured".to_owned() };
        };
        let why = figure.why.as_deref().unwrap_or_default();
        let mut words = match limit {
            Limit::Unclear => format!("What limits a durable append can't be told: {why}."),
            _ => format!("A durable append is limited by {}: {why}.", limit.words()),
        };
        let durable = figures.iter().filter(|figure| figure.kind == Kind::Durable);
        let fastest = durable.max_by(|a, b| a.log.per_second.median.total_cmp(&b.log.per_second.median));
        if let Some(fastest) = fastest.filter(|fastest| fastest.work != figure.work) {
            let times = fastest.log.per_second.median / figure.log.per_second.median.max(1e-9);
            words.push_str(&format!(
                " What helps most here is \"{}\": {times:.1} times the records of one producer.",
                fastest.title
            ));
        }
        Verdict { limit: Some(limit), words }
    }
}

/// What limits a kind of work, and the numbers that say so; `None` where there is no floor to go by.
pub(super) fn of(figure: &Figure) -> Option<(Limit, String)> {
    let (floor, rounds, log) = (figure.floor.as_ref()?, figure.ratio?, &figure.log);
    let ratio = rounds.median;
    if rounds.least < LOG_BELOW && rounds.most >= LOG_BELOW && rounds.most > TELLING_RATIO * rounds.least {
        let (least, most) = (rounds.least, rounds.most);
        return Some((
            Limit::Unclear,
            format!("the log does {least:.2} of the floor in one round, {most:.2} in another"),
        ));
    }
    let reaches = format!("the log does {ratio:.2} of the floor");
    if ratio < LOG_BELOW {
        let busy = percent(log.cpu_share);
        return Some((Limit::Log, format!("{reaches}, with {busy} of the cores busy")));
    }
    let (limit, why) = match figure.kind {
        Kind::Durable if log.cpu_share > CPU_ABOVE => {
            (Limit::Cpu, format!("the log keeps {} of the cores busy", percent(log.cpu_share)))
        }
        Kind::Durable => of_calls(floor)?,
        Kind::Unsynced => of_memory(figure, floor)?,
        Kind::Read => {
            let mib = floor.mib_per_second?;
            (Limit::Cpu, format!("the floor's checksums alone get through {mib:.0} MiB/s"))
        }
        Kind::Open => return None,
    };
    Some((limit, format!("{why}; {reaches}")))
}

/// Where a durable floor spends its time.
fn of_calls(floor: &Side) -> Option<(Limit, String)> {
    let (writing, syncing) = (floor.write_share?, floor.sync_share?);
    let rest = 1.0 - writing - syncing;
    let mean = shown_micros(floor.sync_mean_micros?);
    let (writing_shown, syncing_shown) = (percent(writing), percent(syncing));
    if syncing >= writing && syncing >= rest {
        let why = format!("{syncing_shown} of the floor's time is inside fdatasync, {mean} us each");
        return Some((Limit::DiskSync, why));
    }
    if writing >= rest {
        let why =
            format!("{writing_shown} of the floor's time is inside write, {syncing_shown} in fdatasync");
        return Some((Limit::WritePath, why));
    }
    let rest = percent(rest);
    Some((Limit::Cpu, format!("{rest} of the floor's time is outside write and fdatasync")))
}

/// How much of an unsynced floor is left if it stays in memory.
fn of_memory(figure: &Figure, floor: &Side) -> Option<(Limit, String)> {
    let per_record = |per_second: f64| 1e6 / per_second.max(1e-9);
    let (all, processor) =
        (per_record(floor.per_second.median), per_record(figure.memory_per_second?.median));
    let kernel = (1.0 - processor / all).max(0.0);
    let limit = if kernel >= 0.5 { Limit::WritePath } else { Limit::Cpu };
    let why = format!(
        "of the floor's {} us a record, CRC and copy alone take {}, the kernel's pages and calls {}",
        shown_micros(all),
        shown_micros(processor.min(all)),
        percent(kernel)
    );
    Some((limit, why))
}

/// What to bear in mind when reading the figures.
pub(super) fn notes(machine: &Machine, figures: &[Figure], seconds: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if machine.memory {
        notes.push(format!(
            "{} is memory: nothing here reached a disk, and \"sync\" is a call that does nothing",
            machine.file_system
        ));
    }
    let first = figures.iter().find_map(|figure| figure.floor.as_ref());
    let sync = first.and_then(|floor| floor.sync_mean_micros);
    if let Some(sync) = sync.filter(|sync| *sync < CACHED_SYNC_MICROS && !machine.memory) {
        notes.push(format!(
            "an fdatasync takes {} us: it is answered from a cache of the disk, or of what is beneath a \
             virtual one; whether that survives a power cut can't be seen from here",
            shown_micros(sync)
        ));
    }
    if seconds < SETTLED_SECONDS {
        notes.push(format!("--seconds {seconds} is a short run: take the figures for an order of magnitude"));
    }
    if let Some(load) = machine.load.filter(|load| *load > machine.cores as f64 / 4.0) {
        notes.push(format!(
            "{load:.1} threads on average wanted one of the {} cores in the minute before: floor and log had to \
             share them",
            machine.cores
        ));
    }
    let width = first.map_or(0.0, |floor| floor.per_second.width());
    if width > QUIET_WIDTH {
        notes.push(format!(
            "the floor's own rounds are {} of their median apart: something else uses the disk or the \
             processor; run it again when the machine is quiet",
            percent(width)
        ));
    }
    notes
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::figures::Spread;
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, least: median, most: median }
    }

    fn side(per_second: f64, calls: Option<(f64, f64)>, cpu_share: f64) -> Side {
        Side {
            what: String::new(),
            per_second: spread(per_second),
            mib_per_second: Some(per_second / 512.0),
            latency: None,
            cpu_share,
            write_share: calls.map(|(write, _)| write),
            sync_share: calls.map(|(_, sync)| sync),
            sync_mean_micros: calls.map(|_| 55.0),
            records_per_sync: None,
        }
    }

    fn figure(kind: Kind, floor: Side, log: Side, memory: Option<f64>) -> Figure {
        Figure {
            work: String::new(),
            title: String::new(),
            unit: "records",
            kind,
            ratio: Some(spread(log.per_second.median / floor.per_second.median)),
            floor: Some(floor),
            log,
            memory_per_second: memory.map(spread),
            limit: None,
            why: None,
        }
    }

    #[track_caller]
    fn check(figure: &Figure, limit: Limit, number: &str) {
        let (found, why) = of(figure).unwrap();
        assert_eq!(found, limit, "{why}");
        assert!(why.contains(number), "{why}");
    }

    #[test]
    fn each_limit_is_told_by_the_number_that_shows_it() {
        let durable = |calls, ratio: f64, cpu| {
            figure(Kind::Durable, side(1e4, Some(calls), 0.2), side(1e4 * ratio, None, cpu), None)
        };
        check(&durable((0.1, 0.88), 0.99, 0.3), Limit::DiskSync, "88 %");
        check(&durable((0.7, 0.25), 0.99, 0.3), Limit::WritePath, "70 %");
        check(&durable((0.1, 0.2), 0.99, 0.3), Limit::Cpu, "70 %");
        check(&durable((0.1, 0.88), 0.99, 0.93), Limit::Cpu, "93 %");
        check(&durable((0.1, 0.88), 0.5, 0.93), Limit::Log, "0.50");
        let unsynced = |memory, ratio: f64| {
            figure(Kind::Unsynced, side(1e6, None, 0.5), side(1e6 * ratio, None, 0.5), Some(memory))
        };
        check(&unsynced(4e6, 0.9), Limit::WritePath, "75 %");
        check(&unsynced(1.25e6, 0.9), Limit::Cpu, "20 %");
        check(&unsynced(4e6, 0.3), Limit::Log, "0.30");
        let read = |ratio: f64| figure(Kind::Read, side(1e6, None, 0.5), side(1e6 * ratio, None, 0.5), None);
        check(&read(0.95), Limit::Cpu, "1953 MiB/s");
        check(&read(0.4), Limit::Log, "0.40");
        let mut apart = read(0.7);
        apart.ratio = Some(Spread { median: 0.7, least: 0.3, most: 1.2 });
        check(&apart, Limit::Unclear, "1.20");
        apart.ratio = Some(Spread { median: 0.3, least: 0.1, most: 0.5 });
        check(&apart, Limit::Log, "0.30");
    }
}
