//! What is done, and what of it is counted.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::region::Told;
use crate::{append, bytes, deliver, read};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    /// Executed, as callgrind counts them.
    Instructions,
    Allocations,
    SystemCalls,
    /// Minor ones.
    PageFaults,
    Syncs,
    /// Bytes that the log hands to its storage for a byte of payload, the zeros of new segments included.
    HandedOver,
    /// Bytes that the disk is given to write for a byte of payload, by whomever: see `bytes`.
    Written,
}

impl Count {
    pub(crate) const ALL: [Count; 7] = [
        Count::Instructions,
        Count::Allocations,
        Count::SystemCalls,
        Count::PageFaults,
        Count::Syncs,
        Count::HandedOver,
        Count::Written,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Count::Instructions => "instructions",
            Count::Allocations => "allocations",
            Count::SystemCalls => "system calls",
            Count::PageFaults => "page faults",
            Count::Syncs => "syncs",
            Count::HandedOver => "bytes handed over",
            Count::Written => "bytes written",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Count> {
        Count::ALL.into_iter().find(|count| count.name() == name)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether a count is held against the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bar {
    Held,
    /// It depends on who comes first: shown only.
    Shown,
}

/// One row of `counts` for each line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// How often the thing is done in the region.
    pub(crate) times: u64,
    /// Each count, and for what it is given.
    pub(crate) counts: &'static [(Count, &'static str, Bar)],
    /// How often one of `times` does what a count is given for, if that is a record: a batch has several.
    pub(crate) records: u64,
    pub(crate) run: fn(&Ground<'_>) -> Result<Outcome>,
}

impl Work {
    /// A total as what is shown: for each record, commit, append, delivery or byte.
    pub(crate) fn share(&self, total: f64, per: &str) -> f64 {
        match per {
            RECORD | DELIVERY => total / (self.times * self.records) as f64,
            BYTE => total,
            _ => total / self.times as f64,
        }
    }
}

pub(crate) const RECORD: &str = "record";
pub(crate) const DELIVERY: &str = "delivery";
pub(crate) const COMMIT: &str = "commit";
pub(crate) const BYTE: &str = "byte";

/// What a work is given.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) times: u64,
    pub(crate) records: u64,
}

/// What a work tells of itself.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) totals: Vec<(Count, f64)>,
}

impl From<Told> for Outcome {
    fn from(told: Told) -> Self {
        let totals = [(Count::Allocations, told.allocations), (Count::PageFaults, told.faults)];
        Outcome { totals: totals.into_iter().map(|(count, total)| (count, total as f64)).collect() }
    }
}

pub(crate) fn all() -> impl Iterator<Item = &'static Work> {
    [append::WORKS, read::WORKS, deliver::WORKS, bytes::WORKS].into_iter().flatten()
}

pub(crate) fn named(name: &str) -> Result<&'static Work> {
    all().find(|work| work.name == name).with_context(|| format!("expected the name of a work, found {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_fits_a_field_of_the_file() {
        let mut names: Vec<&str> = all().map(|work| work.name).collect();
        assert!(names.iter().all(|name| !name.contains(',')));
        let works = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), works);
    }
}
