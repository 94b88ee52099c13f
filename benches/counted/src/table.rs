//! The table: each count beside the recorded one.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use crate::place::Place;
use crate::recorded::{Key, Machine, Recorded, has_grown, has_shrunk, shown};
use crate::rules::RULES;
use crate::run::{self, Tools, Totals};
use crate::work::{Bar, Count, Work};

/// How the file of recorded values is written anew.
const ANEW: &str = "cargo run --release -p stratalog-counted -- --record";

/// True if all was counted, nothing has grown and no rule is broken. With `record` the file is written anew instead.
pub(crate) fn run(works: &[&Work], place: &Place, tools: &Tools, file: &Path, record: bool) -> Result<bool> {
    let machine = Machine::here(place);
    let lacking: Vec<&str> = Count::ALL.into_iter().filter_map(|count| tools.lack(count)).collect();
    if record && !lacking.is_empty() {
        bail!("to record, expected all tools, found {}", lacking.join("; "));
    }
    let mut table = Table {
        machine,
        recorded: None,
        rows: Vec::new(),
        grown: Vec::new(),
        broken: Vec::new(),
        shrunk: 0,
        apart: BTreeSet::new(),
    };
    if !record {
        table.recorded = Some(Recorded::read(file)?);
    }
    println!(
        "{:<30} {:<18} {:<9} {:>10} {:>10} {:>8}",
        "work", "count", "of one", "found", "recorded", "change"
    );
    for work in works {
        let totals = run::count(work, place, tools)?;
        table.add(work, &totals);
        let rules = RULES.iter().filter(|rule| rule.is_for(work) && tools.lack(rule.needs).is_none());
        table.broken.extend(rules.filter_map(|rule| rule.broken(work, &totals)));
    }
    for lacking in &lacking {
        println!("\n!!! NOT COUNTED: expected a tool that works, found {lacking}; install it and try again");
    }
    for apart in &table.apart {
        println!("\n!!! NOT COMPARED: {apart}");
    }
    if !table.broken.is_empty() {
        println!("\n{} times a rule is broken, which no new record changes:", table.broken.len());
        table.broken.iter().for_each(|broken| println!("    {broken}"));
    }
    if record {
        if !table.broken.is_empty() {
            bail!("nothing is recorded while a rule is broken");
        }
        Recorded::write(file, &table.machine, &table.rows)?;
        println!("\nrecorded in {}", file.display());
        return Ok(true);
    }
    if table.shrunk > 0 {
        println!("\n{} shrank by over a tenth: write the file anew with\n    {ANEW}", table.shrunk);
    }
    if !table.grown.is_empty() {
        println!("\n{} grew by over a tenth, or are new:", table.grown.len());
        table.grown.iter().for_each(|grown| println!("    {grown}"));
        println!("see where instructions go with --profile WORK; if it is as it must be, record it with");
        println!("    {ANEW}");
    }
    Ok(table.grown.is_empty() && table.broken.is_empty() && lacking.is_empty())
}

struct Table {
    machine: Machine,
    recorded: Option<Recorded>,
    rows: Vec<(Key, f64)>,
    /// What was recorded and what was found.
    grown: Vec<String>,
    /// Rules.
    broken: Vec<String>,
    shrunk: usize,
    /// Why counts were not compared.
    apart: BTreeSet<String>,
}

impl Table {
    fn add(&mut self, work: &Work, totals: &Totals) {
        for (count, per, bar) in work.counts {
            let Some(total) = totals.counts.get(count) else { continue };
            let found = work.share(*total, per);
            let key = (work.name.to_owned(), *count, (*per).to_owned());
            let note = match count {
                Count::SystemCalls => names(work, per, totals),
                _ => String::new(),
            };
            let (recorded, verdict) = self.compare(&key, found, *bar);
            let change = recorded
                .filter(|recorded| *recorded > 0.0)
                .map_or(String::new(), |recorded| format!("{:+.1} %", (found / recorded - 1.0) * 100.0));
            let line = format!(
                "{:<30} {count:<18} {per:<9} {:>10} {:>10} {change:>8}  {verdict}{note}",
                work.name,
                shown(found),
                recorded.map_or(String::new(), shown),
            );
            println!("{}", line.trim_end());
            if *bar == Bar::Held {
                self.rows.push((key, found));
            }
        }
    }

    /// The recorded value, and what is to be said.
    fn compare(&mut self, key: &Key, found: f64, bar: Bar) -> (Option<f64>, &'static str) {
        let Some(recorded) = self.recorded.as_ref().filter(|_| bar == Bar::Held) else { return (None, "") };
        if let Some(apart) = self.machine.differs(&recorded.machine, key.1) {
            self.apart.insert(format!("{}: {apart}", key.1));
            return (None, "");
        }
        let Some(recorded) = recorded.values.get(key).copied() else {
            self.grown.push(format!("{}: expected a recorded value, found none", named(key)));
            return (None, "NEW ");
        };
        if has_grown(found, recorded) {
            self.grown.push(format!("{}: recorded {}, found {}", named(key), shown(recorded), shown(found)));
            (Some(recorded), "GREW ")
        } else if has_shrunk(found, recorded) {
            self.shrunk += 1;
            (Some(recorded), "less ")
        } else {
            (Some(recorded), "")
        }
    }
}

fn named((work, count, per): &Key) -> String {
    format!("{work}, {count} for each {per}")
}

/// The calls that are made most.
fn names(work: &Work, per: &str, totals: &Totals) -> String {
    let mut calls: Vec<(&String, f64)> =
        totals.calls.iter().map(|(name, calls)| (name, work.share(*calls as f64, per))).collect();
    calls.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named = calls.iter().filter(|(_, calls)| *calls >= 0.005).take(4);
    named.map(|(name, calls)| format!("{calls:.2} {name}")).collect::<Vec<_>>().join(", ")
}
