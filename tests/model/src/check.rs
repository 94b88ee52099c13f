//! Many seeds, on many threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

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

/// Runs the programs of these seeds, until the time is over or one breaks a promise. `progress` is
/// called about every ten seconds.
pub fn check(
    seeds: Range<u64>,
    time: Option<Duration>,
    threads: usize,
    wrap: &Wrap,
    progress: &(dyn Fn(&Counts, Duration) + Sync),
) -> Report {
    let start = Instant::now();
    let end = time.and_then(|time| start.checked_add(time));
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let found = Mutex::new((Counts::default(), None::<(u64, Violation)>, start));
    let work = || {
        while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let (counts, outcome) = run(&Program::of_seed(seed), wrap);
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
    };
    std::thread::scope(|scope| {
        (0..threads.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    let (counts, failure, _) = found.into_inner();
    Report { counts, time: start.elapsed(), failure }
}
