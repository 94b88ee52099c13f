//! One program, from an empty disk to the last recovery.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use stratalog::storage::{SimulatedStorage, Storage, Survives};
use stratalog::{Durability, Error, Log, Options, ReadMode, Upkeep, check};

use crate::crowd::Crowd;
use crate::draw::Random;
use crate::front::Open;
use crate::history::History;
use crate::life::Living;
use crate::observe::{Unseen, observe};
use crate::payload::Coding;
use crate::program::{Faults, Left, Life, Program};
use crate::state::stream_id;
use crate::threads;
use crate::violation::{Broken, Violation};

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Programs run.
    pub programs: u64,
    /// Operations done.
    pub operations: u64,
    /// Crashes that were recovered from.
    pub cases: u64,
    /// Storage calls that were made to fail.
    pub faults: u64,
    /// Storage calls.
    pub calls: u64,
}

impl Counts {
    /// Adds what somebody else has tried.
    pub fn add(&mut self, other: Counts) {
        self.programs += other.programs;
        self.operations += other.operations;
        self.cases += other.cases;
        self.faults += other.faults;
        self.calls += other.calls;
    }
}

/// The storage that a log gets, over the simulated disk: itself, or one with a defect, to see whether
/// the checker finds it.
pub type Wrap = dyn Fn(&SimulatedStorage) -> Arc<dyn Storage> + Sync;

/// The simulated disk as it is.
pub fn plain(storage: &SimulatedStorage) -> Arc<dyn Storage> {
    Arc::new(storage.clone())
}

/// Runs a program and says what was tried; a panic is a violation, too.
///
/// # Errors
/// The first promise that was not kept.
pub fn run(program: &Program, wrap: &Wrap) -> (Counts, Result<(), Violation>) {
    let mut run = Run {
        program,
        wrap,
        coding: Coding { ingest: program.ingest },
        storage: SimulatedStorage::new(program.disk_seed),
        history: History::default(),
        random: Random(program.disk_seed ^ 0xC0FF_EE00),
        next_number: 1,
        crowd: None,
        life: 0,
        op: None,
        counts: Counts { programs: 1, ..Counts::default() },
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run.all()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Broken::new("P10", "no panic", text.unwrap_or_default()))
    });
    (run.counts, outcome.map_err(|broken| broken.at(run.life, run.op)))
}

pub(crate) struct Run<'a> {
    pub(crate) program: &'a Program,
    wrap: &'a Wrap,
    pub(crate) coding: Coding,
    pub(crate) storage: SimulatedStorage,
    pub(crate) history: History,
    random: Random,
    /// No two records of a program are the same.
    pub(crate) next_number: u64,
    /// What several threads did in the last life, and whether the power went since.
    crowd: Option<(Crowd, bool)>,
    life: usize,
    pub(crate) op: Option<usize>,
    pub(crate) counts: Counts,
}

pub(crate) fn options(life: &Life) -> Options {
    let scale = if life.large { 2 } else { 1 };
    Options::new()
        .durability(match life.durability {
            0 => Durability::Sync,
            1 => Durability::Buffered,
            _ => Durability::SyncEvery(Duration::from_millis(2)),
        })
        .read_mode(if life.positioned { ReadMode::Positioned } else { ReadMode::Mapped })
        .segment_bytes(scale * (64 << 10))
        .checkpoint_bytes(scale * (64 << 10))
        .idle_witness(Duration::from_millis(1))
        // In most lives, and now and then not in the one behind.
        .recycle(!(life.large && life.positioned))
        .upkeep(if life.threads { Upkeep::Threads } else { Upkeep::Caller })
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Broken> {
        let lives = &self.program.lives;
        for (at, life) in lives.iter().enumerate() {
            (self.life, self.op) = (at, None);
            self.live(life)?;
            let next = lives.get(at + 1).unwrap_or(life);
            for recovery in &life.recoveries {
                let mut faults = Faults::default();
                if recovery.fails {
                    faults.fail.push(recovery.at);
                } else {
                    faults.crash_at = Some(recovery.at);
                }
                self.arm(&faults);
                let open = self.open(next)?;
                self.leave(recovery.survives)?;
                drop(open);
            }
        }
        let Some(last) = lives.last() else { return Ok(()) };
        self.op = None;
        let open = self.open(last)?;
        let closed = open.map_or(Ok(()), |open| open.close());
        closed.map_err(|error| Broken::new("P9", "a log that can be closed", error.to_string()))?;
        self.verify()
    }

    fn live(&mut self, life: &Life) -> Result<(), Broken> {
        self.storage.write_back(life.write_back);
        if life.clock_back {
            self.storage.set_clock(500_000);
        }
        self.arm(&life.faults);
        let open = self.open(life)?;
        if let Some(open) = open.as_ref().filter(|_| life.crowd) {
            let mut crowd = threads::live(self, life, open.log())?;
            if life.close && open.close().is_ok() {
                crowd.all_durable();
            }
            self.crowd = Some((crowd, false));
            return self.leave(life.survives);
        }
        let mut living = Living::new(life, open);
        for (at, op) in life.ops.iter().enumerate() {
            if self.storage.crashed().is_some() || living.open.is_none() {
                break;
            }
            self.op = Some(at);
            self.counts.operations += 1;
            living.step(self, op)?;
        }
        self.op = Some(life.ops.len());
        if life.close {
            living.close(self)?;
        }
        living.end(self);
        let left = self.leave(life.survives);
        drop(living);
        left
    }

    fn arm(&self, faults: &Faults) {
        let before = self.storage.calls();
        if let Some(call) = faults.crash_at {
            self.storage.crash_at_call(before + call);
        }
        faults.fail.iter().for_each(|call| self.storage.fail_call(before + call));
        if let Some(sync) = faults.fail_sync {
            self.storage.fail_sync(sync);
        }
        if let Some(call) = faults.full_from {
            self.storage.full_from_call(before + call);
        }
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        (self.wrap)(&self.storage)
    }

    /// The SeqId up to which a stream is purged.
    pub(crate) fn purge_point(&self, log: &Log, stream: u64) -> u64 {
        log.purge_point(stream_id(stream)).map_or(0, |point| point.seq_id.0)
    }

    /// What goes wrong has a reason.
    pub(crate) fn excused(&self, injected_before: u64) -> bool {
        self.storage.injected() > injected_before || self.storage.crashed().is_some()
    }

    /// Opens the log, which must go well unless something was made to fail, and must then be as it may.
    pub(crate) fn open(&mut self, life: &Life) -> Result<Option<Open>, Broken> {
        let injected = self.storage.injected();
        let front = if self.program.ingest || life.front == crate::program::Front::Hub {
            life.front
        } else {
            crate::program::Front::Log
        };
        let open = match Open::new(front, &options(life), (self.wrap)(&self.storage)) {
            Ok(open) => open,
            Err(_) if self.excused(injected) => return Ok(None),
            Err(error) => {
                return Err(Broken::new("P8", "a log that opens after a crash", error.to_string()));
            }
        };
        match observe(open.log(), self.coding, true) {
            Ok(seen) => {
                let state = match self.crowd.take() {
                    None => self.history.find(&seen)?,
                    Some((crowd, power_lost)) => {
                        crowd.check(&seen, power_lost)?;
                        crowd.becomes(seen)
                    }
                };
                self.history.restart(state);
                Ok(Some(open))
            }
            Err(Unseen::Broken(broken)) => Err(broken),
            Err(Unseen::Error(_)) if self.excused(injected) => Ok(None),
            Err(Unseen::Error(error)) => {
                Err(Broken::new("P1", "a recovered log that can be read", error.to_string()))
            }
        }
    }

    /// The process dies, or the power goes; the disk is then what that leaves.
    fn leave(&mut self, left: Left) -> Result<(), Broken> {
        self.counts.cases += 1;
        self.counts.faults += self.storage.injected();
        self.counts.calls += self.storage.calls();
        let image = self.storage.crashed().unwrap_or_else(|| self.storage.after_kill());
        let survives = match left {
            Left::Killed => None,
            Left::Nothing => Some(Survives::Nothing),
            Left::Everything => Some(Survives::Everything),
            Left::Chance(chance) => Some(Survives::Chance(chance)),
        };
        self.storage = match survives {
            None => image,
            Some(survives) => {
                self.history.power_lost();
                self.crowd.iter_mut().for_each(|(_, power_lost)| *power_lost = true);
                image.after_power_cut(survives, self.random.number())
            }
        };
        self.storage.set_capacity(None);
        self.verify()
    }

    /// What a crash leaves is no damage.
    fn verify(&self) -> Result<(), Broken> {
        match check::verify(&self.storage, &mut |_| ()) {
            Ok(report) if report.is_clean() => Ok(()),
            Ok(report) => {
                let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
                Err(Broken::new("P7", "no damage after a crash", findings.join("\n  ")))
            }
            // Nothing was written yet; whether it should have been, the next open tells.
            Err(Error::NotALog { .. }) => Ok(()),
            Err(error) => Err(Broken::new("P7", "a log that can be verified", error.to_string())),
        }
    }
}
