//! One measured stretch of work.

use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{CliError, Exit};
use crate::latency::Latencies;
use crate::stop::Stop;

/// What was done in a stretch.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) records: u64,
    pub(super) taken: Duration,
    /// Of the whole process, all threads.
    pub(super) cpu: Duration,
    pub(super) latencies: Latencies,
    /// Time inside the floor's calls of the system, and how many groups that were.
    pub(super) calls: Calls,
    /// What the log counted of its own groups and syncs.
    pub(super) syncs: u64,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Calls {
    pub(super) writing: Duration,
    pub(super) syncing: Duration,
    pub(super) syncs: u64,
}

impl Slice {
    pub(super) fn add(&mut self, more: &Slice) {
        self.records += more.records;
        self.taken += more.taken;
        self.cpu += more.cpu;
        self.latencies.merge(&more.latencies);
        self.calls.add(more.calls);
        self.syncs += more.syncs;
    }

    pub(super) fn per_second(&self) -> f64 {
        self.records as f64 / self.taken.as_secs_f64().max(1e-9)
    }
}

impl Calls {
    pub(super) fn add(&mut self, more: Calls) {
        self.writing += more.writing;
        self.syncing += more.syncing;
        self.syncs += more.syncs;
    }
}

/// How long a stretch goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<'a> {
    pub(super) length: Duration,
    /// The most steps, of all threads together.
    pub(super) most: u64,
    /// Every such step is timed by itself; `None`: no step is.
    pub(super) timed_of: Option<u64>,
    pub(super) stop: &'a Stop,
}

impl Pace<'_> {
    /// One thread that takes steps, each of which tells how many records it was. At least one.
    pub(super) fn run(&self, step: impl FnMut() -> Result<u64, CliError>) -> Result<Slice, CliError> {
        let cpu = cpu_time();
        let begun = Instant::now();
        let mut slice = self.steps(begun + self.length, self.most.max(1), step)?;
        slice.taken = begun.elapsed();
        slice.cpu = cpu_time().saturating_sub(cpu);
        Ok(slice)
    }

    /// As many threads as there are `steps`. They begin together.
    pub(super) fn run_threads(
        &self,
        steps: Vec<impl FnMut() -> Result<u64, CliError> + Send>,
    ) -> Result<Slice, CliError> {
        let gate = RwLock::new(());
        let each = (self.most / steps.len().max(1) as u64).max(1);
        thread::scope(|scope| {
            let shut = gate.write().unwrap_or_else(PoisonError::into_inner);
            let mut threads = Vec::with_capacity(steps.len());
            for step in steps {
                let gate = &gate;
                let work = move || {
                    drop(gate.read().unwrap_or_else(PoisonError::into_inner));
                    self.steps(Instant::now() + self.length, each, step)
                };
                let spawned = thread::Builder::new().spawn_scoped(scope, work).map_err(|error| {
                    CliError::new(Exit::Failed, format!("start a producer: {error}"))
                        .help("name fewer --producers")
                });
                threads.push(spawned?);
            }
            let (cpu, begun) = (cpu_time(), Instant::now());
            drop(shut);
            let mut slice = Slice::default();
            for thread in threads {
                let stopped = |_| CliError::new(Exit::Failed, "a producer stopped unexpectedly");
                slice.add(&thread.join().map_err(stopped)??);
            }
            slice.taken = begun.elapsed();
            slice.cpu = cpu_time().saturating_sub(cpu);
            Ok(slice)
        })
    }

    /// Until `end`: a step begun before it is done.
    fn steps(
        &self,
        end: Instant,
        most: u64,
        mut step: impl FnMut() -> Result<u64, CliError>,
    ) -> Result<Slice, CliError> {
        let mut slice = Slice::default();
        let mut taken = 0;
        loop {
            let begun = Instant::now();
            slice.records += step()?;
            let ended = Instant::now();
            taken += 1;
            if self.timed_of.is_some() {
                slice.latencies.add(ended - begun);
            }
            for _ in 1..self.timed_of.unwrap_or(1).min(most - taken + 1) {
                slice.records += step()?;
                taken += 1;
            }
            if self.stop.asked() {
                return Err(super::interrupted());
            }
            if taken >= most || ended >= end {
                return Ok(slice);
            }
        }
    }
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
