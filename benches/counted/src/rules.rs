//! What holds whatever was recorded: bars that no new record moves.

use crate::run::Totals;
use crate::work::{Count, Work};

/// Calls that make something durable, by any name.
const SYNCS: [&str; 5] = ["fdatasync", "fsync", "msync", "sync_file_range", "syncfs"];
/// Calls that put something into a file. A group is written by one of them.
const WRITES: [&str; 4] = ["pwrite64", "pwritev", "pwritev2", "write"];
/// How threads wait for one another: how often they have to is chance, and no matter of the disk.
const WAITS: [&str; 3] = ["futex", "sched_yield", "restart_syscall"];

pub(crate) struct Rule {
    pub(crate) says: &'static str,
    /// What has to be counted for it.
    pub(crate) needs: Count,
    /// Beginnings of names.
    works: &'static [&'static str],
    most: f64,
    found: fn(&Work, &Totals) -> f64,
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        says: "no allocation in a steady-state append",
        needs: Count::Allocations,
        works: &[
            "append sync",
            "append every",
            "append buffered",
            "append 100 sync",
            "append 100 every",
            "append 100 buffered",
            "submit 256 in flight",
        ],
        most: 0.0,
        found: |_, totals| totals.counts.get(&Count::Allocations).copied().unwrap_or(f64::INFINITY),
    },
    // Threads grow lists as many of them wait at once: how many is chance.
    Rule {
        says: "of 64 producers, at most one append in ten allocates",
        needs: Count::Allocations,
        works: &["64 producers"],
        most: 0.1,
        found: |work, totals| {
            totals.counts.get(&Count::Allocations).map_or(f64::INFINITY, |n| n / work.times as f64)
        },
    },
    Rule {
        says: "at most one sync for an append that is a group of its own",
        needs: Count::SystemCalls,
        works: &["append sync", "append 100 sync"],
        most: 1.0,
        found: |work, totals| named(totals, &SYNCS) / work.times as f64,
    },
    Rule {
        says: "at most one sync for a group: syncs for each write, of which a group takes one",
        needs: Count::SystemCalls,
        works: &["submit 256 in flight sync", "64 producers sync"],
        most: 1.0,
        // One more may be of a write from before the region.
        found: |_, totals| (named(totals, &SYNCS) - 1.0).max(0.0) / named(totals, &WRITES).max(1.0),
    },
    Rule {
        says: "fewer syncs than records where many append at once",
        needs: Count::SystemCalls,
        works: &["submit 256 in flight sync", "64 producers sync"],
        most: 0.5,
        found: |work, totals| named(totals, &SYNCS) / (work.times * work.records) as f64,
    },
    Rule {
        says: "no system call for a record where nobody waits for a sync: calls but waits, a record",
        needs: Count::SystemCalls,
        works: &[
            "append buffered",
            "append every",
            "append 100 buffered",
            "append 100 every",
            "append beside 1000 idle",
            "64 producers buffered",
            "append to ",
        ],
        most: 0.05,
        found: |work, totals| {
            let all: u64 = totals.calls.values().sum();
            (all as f64 - named(totals, &WAITS)) / (work.times * work.records) as f64
        },
    },
];

impl Rule {
    pub(crate) fn is_for(&self, work: &Work) -> bool {
        self.works.iter().any(|begin| work.name.starts_with(begin))
    }

    /// What is wrong, if anything is.
    pub(crate) fn broken(&self, work: &Work, totals: &Totals) -> Option<String> {
        let found = (self.found)(work, totals);
        let Rule { says, most, .. } = self;
        (found > *most).then(|| format!("{}: {says}: expected at most {most}, found {found:.3}", work.name))
    }
}

fn named(totals: &Totals, names: &[&str]) -> f64 {
    names.iter().filter_map(|name| totals.calls.get(*name)).sum::<u64>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work;

    #[test]
    fn every_rule_is_looked_at_where_its_count_is_made() {
        for rule in RULES {
            for begin in rule.works {
                let mut works = work::all().filter(|work| work.name.starts_with(begin)).peekable();
                assert!(works.peek().is_some(), "{}: no work is named {begin}", rule.says);
                for work in works {
                    let counted = work.counts.iter().any(|(count, ..)| *count == rule.needs);
                    assert!(counted, "{}: {} isn't counted for {}", rule.says, rule.needs, work.name);
                }
            }
        }
    }

    #[test]
    fn a_rule_breaks_by_what_it_forbids() {
        let broken = |name: &str, calls: &[(&str, u64)], allocations: f64| {
            let work = work::named(name).unwrap_or_else(|error| panic!("{error}"));
            let calls = calls.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
            let counts = [(Count::Allocations, allocations)].into();
            let totals = Totals { counts, calls };
            RULES.iter().filter(|rule| rule.is_for(work) && rule.broken(work, &totals).is_some()).count()
        };
        assert_eq!(broken("append sync 256", &[("fdatasync", 1_000), ("pwrite64", 1_000)], 0.0), 0);
        assert_eq!(broken("append sync 256", &[("fdatasync", 1_001), ("pwrite64", 1_000)], 0.0), 1);
        assert_eq!(broken("append sync 256", &[("fdatasync", 1_000), ("pwrite64", 1_000)], 1.0), 1);
        assert_eq!(broken("append buffered 256", &[("pwrite64", 1_000)], 0.0), 1);
        assert_eq!(broken("append 100 buffered 256", &[("pwrite64", 30)], 0.0), 0);
        assert_eq!(broken("64 producers sync 2048", &[("fdatasync", 70), ("pwrite64", 69)], 9.0), 0);
        assert_eq!(broken("64 producers sync 2048", &[("fdatasync", 138), ("pwrite64", 69)], 9.0), 1);
        assert_eq!(broken("64 producers sync 2048", &[("fdatasync", 3_200), ("pwrite64", 3_200)], 9.0), 1);
    }
}
