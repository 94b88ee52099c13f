//! Floor and log by turns.

use std::time::{Duration, Instant};

use super::floor::Floor;
use super::pace::Slice;
use super::progress::Progress;
use super::subject::Subject;
use super::work::{Kind, Work};
use crate::failure::CliError;

/// Below this the clock and the first calls are what is measured.
const SHORTEST: Duration = Duration::from_millis(10);

/// Rounds without which there is no median, however long they take.
const FEWEST: u32 = 3;

/// How the time is spent.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seconds: u32,
    pub(super) begun: Instant,
}

/// All rounds of one kind of work, in their order.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) work: Work,
    /// Empty if it has no floor.
    pub(super) floor: Vec<Slice>,
    pub(super) log: Vec<Slice>,
    /// The processor's part of an unsynced append, next to it.
    pub(super) memory: Vec<Slice>,
}

impl Plan {
    /// An odd number, so that a median is one of them.
    pub(super) fn rounds(&self) -> u32 {
        match self.seconds {
            0..5 => FEWEST,
            5..20 => 5,
            _ => 7,
        }
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() > Duration::from_secs(u64::from(self.seconds)).mul_f64(1.1)
    }

    /// What is left of the time, evenly; `between` is what a round takes besides its slices.
    fn slice(&self, round: u32, slices: u32, between: Duration) -> Duration {
        let end = self.begun + Duration::from_secs(u64::from(self.seconds));
        let left = end.saturating_duration_since(Instant::now());
        let round_time = (left / self.rounds().saturating_sub(round).max(1)).saturating_sub(between);
        (round_time / slices.max(1)).max(SHORTEST)
    }
}

/// Slices of one round.
fn slices(works: &[Work]) -> u32 {
    let of = |work: &Work| match work.kind() {
        Kind::Unsynced => 3,
        Kind::Durable | Kind::Read => 2,
        Kind::Open => 1,
    };
    works.iter().map(of).sum()
}

/// Steps of a progress bar.
pub(super) fn steps(plan: &Plan, works: &[Work]) -> u64 {
    u64::from(plan.rounds()) * works.len() as u64
}

pub(super) fn run(
    works: &[Work],
    plan: &Plan,
    floor: &mut Floor<'_>,
    subject: &mut Subject<'_>,
    progress: &Progress,
) -> Result<Vec<Measured>, CliError> {
    let empty = |work: &Work| Measured { work: *work, floor: vec![], log: vec![], memory: vec![] };
    let mut measured: Vec<Measured> = works.iter().map(empty).collect();
    let slices = slices(works);
    let mut between = Duration::ZERO;
    for round in 0..plan.rounds() {
        let begun = Instant::now();
        let length = plan.slice(round, slices, between);
        for row in &mut measured {
            progress.doing(format!("round {} of {}: {}", round + 1, plan.rounds(), row.work.title()));
            // Whoever comes second may find warmer caches, or the other's work still going on.
            if round % 2 == 0 {
                row.floor.extend(turn(length, |left| floor.slice(row.work, left))?);
                row.log.extend(turn(length, |left| subject.slice(row.work, left).map(Some))?);
            } else {
                row.log.extend(turn(length, |left| subject.slice(row.work, left).map(Some))?);
                row.floor.extend(turn(length, |left| floor.slice(row.work, left))?);
            }
            if row.work.kind() == Kind::Unsynced {
                row.memory.push(floor.in_memory(length)?);
            }
            progress.step();
        }
        between = begun.elapsed().saturating_sub(length * slices);
        if round + 1 >= FEWEST && plan.is_over() {
            break;
        }
    }
    Ok(measured)
}

/// As many passes as there is time for: what writes fast comes to the end of a pass before its time
/// is up. What a pass leaves to be done is waited for, and is no part of what is measured.
fn turn(
    length: Duration,
    mut pass: impl FnMut(Duration) -> Result<Option<Slice>, CliError>,
) -> Result<Option<Slice>, CliError> {
    let begun = Instant::now();
    let Some(mut slice) = pass(length)? else { return Ok(None) };
    loop {
        let left = length.saturating_sub(begun.elapsed());
        if left < length / 4 {
            return Ok(Some(slice));
        }
        pass(left)?.iter().for_each(|more| slice.add(more));
    }
}
