//! All rows, in the order of the report.

mod durable;

use crate::row::Spec;

/// 256 B, 2 KiB, 6.5 KiB: the sizes that the goals name.
pub(crate) const SIZES: [usize; 3] = [256, 2_048, 6_656];

pub(crate) fn all() -> Vec<Spec> {
    let mut rows = Vec::new();
    rows.extend(durable::rows());
    rows
}
