//! Many seeds, on many threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::program::Program;
use crate::run::{Counts, Wrap, run};
use crate::violation::Violation;

/// What a check came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was tried.
    pub counts: Counts,
    /// How long it took.
    pub time: Duration,
    /// The first seed that broke a promise.
    pub failure: Option<(u64, Violation)>,
}

/// Who is told how a check goes.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Called about every ten seconds.
    pub progress: &'a (dyn Fn(&Counts, Duration) + Sync),
    /// A program that takes longer than this hangs.
    pub patience: Duration,
    /// Called with the seed of one that hangs, again and again: the check itself can't end then.
    pub hangs: &'a dyn Fn(u64),
}

/// Runs the programs of these seeds, until the time is over or one breaks a promise.
pub fn check(
    seeds: Range<u64>,
    time: Option<Duration>,
    threads: usize,
    wrap: &Wrap,
    watch: Watch<'_>,
) -> Report {
    let start = Instant::now();
    let end = time.and_then(|time| start.checked_add(time));
    let (next, stop) = (Mutex::new(seeds), AtomicBool::new(false));
    let found = Mutex::new((Counts::default(), None::<(u64, Violation)>, start));
    let progress = watch.progress;
    // What each thread is at, and how many have not ended.
    let at_work: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads.max(1)).map(|_| Mutex::default()).collect();
    let (left, one_ended) = (Mutex::new(at_work.len()), Condvar::new());
    let work = |at_work: &Mutex<Option<(u64, Instant)>>| {
        while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            let Some(seed) = next.lock().next() else { break };
            *at_work.lock() = Some((seed, Instant::now()));
            let (counts, outcome) = run(&Program::of_seed(seed), wrap);
            *at_work.lock() = None;
            let mut found = found.lock();
            found.0.add(counts);
            if let Err(violation) = outcome {
                stop.store(true, Ordering::Relaxed);
                if found.1.as_ref().is_none_or(|(first, _)| seed < *first) {
                    found.1 = Some((seed, violation));
                }
            }
            if found.2.elapsed() >= Duration::from_secs(10) {
                found.2 = Instant::now();
                progress(&found.0, start.elapsed());
            }
        }
        *left.lock() -= 1;
        one_ended.notify_one();
    };
    std::thread::scope(|scope| {
        for at_work in &at_work {
            scope.spawn(|| work(at_work));
        }
        let mut left = left.lock();
        while *left > 0 {
            one_ended.wait_for(&mut left, watch.patience.min(Duration::from_secs(1)));
            let hanging = at_work.iter().filter_map(|at_work| *at_work.lock());
            hanging
                .filter(|(_, since)| since.elapsed() > watch.patience)
                .for_each(|(seed, _)| (watch.hangs)(seed));
        }
    });
    let (counts, failure, _) = found.into_inner();
    Report { counts, time: start.elapsed(), failure }
}
