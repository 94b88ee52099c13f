//! How long acknowledgements took, in fixed memory.

use std::time::Duration;

/// Each power of two is cut into so many steps: what is told is at most 1/32 off.
const STEPS: usize = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const POWERS: usize = 64 - STEP_BITS as usize;

/// Counts durations by size.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    /// In nanoseconds, exact.
    longest: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: vec![0; (POWERS + 1) * STEPS], total: 0, longest: 0 }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, taken: Duration) {
        let nanos = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(step(nanos)) {
            *count += 1;
            self.total += 1;
            self.longest = self.longest.max(nanos);
        }
    }

    /// Adds what another counted.
    pub(crate) fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The duration that `share` of all were within; `None` if there were none.
    pub(crate) fn within(&self, share: f64) -> Option<Duration> {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.filter(|_| self.total > 0).map(|step| Duration::from_nanos(upper(step).min(self.longest)))
    }
}

/// Small numbers have a step each; above them, `STEPS` for each power of two.
fn step(nanos: u64) -> usize {
    let power = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    power as usize * STEPS + (nanos >> power) as usize
}

/// The largest number of a step.
fn upper(step: usize) -> u64 {
    if step < 2 * STEPS {
        return step as u64;
    }
    let power = step / STEPS - 1;
    let mantissa = (step % STEPS + STEPS) as u64;
    ((mantissa + 1) << power).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_within_its_step() {
        for shift in 0..64 {
            for near in [-1i64, 0, 1, 5] {
                let nanos = (1u64 << shift).wrapping_add_signed(near);
                let upper = upper(step(nanos));
                assert!(upper >= nanos && upper - nanos <= nanos / STEPS as u64, "{nanos}: {upper}");
            }
        }
        assert_eq!(upper(step(u64::MAX)), u64::MAX);
    }

    #[test]
    fn shares_are_told_in_order() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.within(0.5), None);
        for micros in 1..=1000 {
            latencies.add(Duration::from_micros(micros));
        }
        let within = |share, low, high| {
            let told = latencies.within(share).unwrap_or_default();
            assert!((low..=high).contains(&told.as_micros()), "{share}: {told:?}");
        };
        within(0.5, 500, 520);
        within(0.99, 990, 1025);
        within(1.0, 1000, 1000);
        let mut all = Latencies::default();
        all.add(Duration::from_secs(1));
        all.merge(&latencies);
        assert_eq!(all.count(), 1001);
        assert_eq!(all.within(1.0), Some(Duration::from_secs(1)));
    }
}
