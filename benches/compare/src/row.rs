//! A row of the comparison: the same work, done by several entries, and what is to be reached.

use anyhow::Result;

use crate::bench::Bench;
use crate::contender::Kind;

pub(crate) type Build = Box<dyn Fn(&Bench) -> Result<Vec<Entry>>>;

/// Known without measuring: the list and the report of what was not measured need it.
pub(crate) struct Spec {
    /// What `--only` names.
    pub(crate) name: String,
    pub(crate) title: String,
    /// The first one is drawn.
    pub(crate) figures: Vec<Figure>,
    pub(crate) goals: Vec<Goal>,
    /// Prepares the entries: fills what they will read.
    pub(crate) build: Build,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What is measured of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

impl Figure {
    pub(crate) const fn higher(name: &'static str, unit: &'static str) -> Self {
        Figure { name, unit, better: Better::Higher }
    }

    pub(crate) const fn lower(name: &'static str, unit: &'static str) -> Self {
        Figure { name, unit, better: Better::Lower }
    }
}

/// Records per second.
pub(crate) const RATE: Figure = Figure::higher("rate", "records/s");

/// Values of one measurement, by the names of figures.
pub(crate) type Sample = Vec<(&'static str, f64)>;

/// Measures once. It is told the round, from 0.
pub(crate) type Run = Box<dyn FnMut(usize) -> Result<Sample>>;

/// One side of a row.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) run: Run,
}

impl Entry {
    pub(crate) fn new(
        name: impl Into<String>,
        kind: Kind,
        run: impl FnMut(usize) -> Result<Sample> + 'static,
    ) -> Self {
        Entry { name: name.into(), kind, run: Box::new(run) }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A ratio or a value that is to be reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goal {
    /// Entry and figure.
    pub(crate) ours: (String, &'static str),
    pub(crate) against: Against,
    pub(crate) bar: Bar,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Against {
    /// Another entry, or another figure of the same one: entry and figure.
    Entry(String, &'static str),
    /// The peer with the best median of this figure.
    BestPeer(&'static str),
    /// Nothing: the value itself has to be within the bar.
    Itself,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// Nobody asked for it; it is worth knowing.
    Shown,
}

impl Bar {
    /// `None` where there is nothing to reach.
    pub(crate) fn holds(self, value: f64) -> Option<bool> {
        match self {
            Bar::AtLeast(bar) => Some(value >= bar),
            Bar::AtMost(bar) => Some(value <= bar),
            Bar::Shown => None,
        }
    }
}

impl Goal {
    pub(crate) fn of(ours: impl Into<String>, figure: &'static str, against: Against, bar: Bar) -> Self {
        Goal { ours: (ours.into(), figure), against, bar }
    }

    /// Of this log's rate.
    pub(crate) fn rate(against: Against, bar: Bar) -> Self {
        Goal::of(crate::ours::NAME, RATE.name, against, bar)
    }
}

/// This log's rate against a floor's.
pub(crate) fn at_least_of_floor(floor: &str, bar: f64) -> Goal {
    Goal::rate(Against::Entry(floor.to_owned(), RATE.name), Bar::AtLeast(bar))
}

/// This log's rate against that of the best peer.
pub(crate) fn at_least_of_best_peer(bar: f64) -> Goal {
    Goal::rate(Against::BestPeer(RATE.name), Bar::AtLeast(bar))
}
