//! Medians, percentiles, and ratios that are taken within a round.

/// Of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Spread { median, least, most })
    }
}

/// The value below which `share` of all lie; 0 of nothing. Sorts.
pub(crate) fn percentile(values: &mut [u64], share: f64) -> u64 {
    if values.is_empty() {
        return 0;
    }
    let rank = (share * values.len() as f64).ceil() as usize;
    let (_, value, _) = values.select_nth_unstable(rank.clamp(1, values.len()) - 1);
    *value
}

/// `ours / other` of each round in which both have a value.
pub(crate) fn ratios(ours: &[Option<f64>], other: &[Option<f64>]) -> Vec<f64> {
    let both = ours.iter().zip(other).filter_map(|(ours, other)| ours.zip(*other));
    both.filter(|(_, other)| *other > 0.0).map(|(ours, other)| ours / other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of(&[5.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<u64> = (1..=1_000).rev().collect();
        assert_eq!(percentile(&mut values, 0.5), 500);
        assert_eq!(percentile(&mut values, 0.999), 999);
        assert_eq!(percentile(&mut values, 1.0), 1_000);
        assert_eq!(percentile(&mut [7], 0.01), 7);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }

    #[test]
    fn a_ratio_needs_both_sides_of_the_same_round() {
        let ours = [Some(2.0), None, Some(9.0), Some(1.0)];
        let other = [Some(1.0), Some(5.0), Some(3.0), Some(0.0)];
        assert_eq!(ratios(&ours, &other), [2.0, 3.0]);
    }

    #[test]
    fn the_ratio_of_medians_is_not_the_median_of_ratios() {
        // A slow round slows both sides: the ratio stays.
        let ours = [Some(100.0), Some(10.0), Some(90.0)];
        let other = [Some(50.0), Some(5.0), Some(45.0)];
        let spread = Spread::of(&ratios(&ours, &other)).unwrap();
        assert_eq!((spread.least, spread.most), (2.0, 2.0));
    }
}
