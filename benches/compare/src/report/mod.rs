//! What comes out: a page in Markdown, the raw values as CSV, and plots.

mod csv;
mod judged;
mod page;
mod plot;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::bench::LeftOut;
use crate::contender::Contender;
use crate::machine::Facts;
use crate::rounds::Value;
use crate::row::Spec;

/// All that was measured, by row.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) values: BTreeMap<String, Vec<Value>>,
    pub(crate) left_out: Vec<LeftOut>,
    /// What it was measured on, and how.
    pub(crate) facts: Facts,
}

impl Results {
    /// What an earlier run left, without the rows that are measured again.
    pub(crate) fn earlier(out: &Path, again: &[Spec]) -> Result<Self> {
        let mut results = Results::default();
        let measured_again = |row: &str| again.iter().any(|spec| spec.name == row);
        if let Some(text) = read_if_there(&csv_path(out))? {
            for value in csv::read(&text)? {
                if !measured_again(&value.row) {
                    results.values.entry(value.row.clone()).or_default().push(value);
                }
            }
        }
        if let Some(text) = read_if_there(&left_out_path(out))? {
            results.left_out = csv::read_left_out(&text)?;
            results.left_out.retain(|one| !measured_again(&one.of));
        }
        if let Some(text) = read_if_there(&facts_path(out))? {
            results.facts = csv::read_facts(&text)?;
        }
        Ok(results)
    }

    pub(crate) fn add(&mut self, row: &str, values: Vec<Value>) {
        self.values.insert(row.to_owned(), values);
    }

    pub(crate) fn add_left_out(&mut self, left_out: Vec<LeftOut>) {
        for one in left_out {
            self.left_out.retain(|held| (&held.of, &held.entry) != (&one.of, &one.entry));
            self.left_out.push(one);
        }
    }
}

/// Writes `benchmarks.md` into `out`, and values and plots into `benchmarks` beside it.
pub(crate) fn write(
    out: &Path,
    rows: &[Spec],
    contenders: &[Arc<dyn Contender>],
    results: &Results,
) -> Result<()> {
    let beside = out.join("benchmarks");
    fs::create_dir_all(if results.values.is_empty() { out } else { &beside })?;
    let mut drawn = Vec::new();
    if !results.values.is_empty() {
        save(&csv_path(out), &csv::write(results.values.values().flatten()))?;
        save(&left_out_path(out), &csv::write_left_out(&results.left_out))?;
        save(&facts_path(out), &csv::write_facts(&results.facts))?;
    }
    for group in plot::groups(rows) {
        if let Some(picture) = plot::draw(&group, &results.values) {
            let name = format!("{}.svg", group.name);
            save(&beside.join(&name), &picture)?;
            drawn.push((group.title.clone(), format!("benchmarks/{name}")));
        }
    }
    let page = page::write(rows, contenders, results, &drawn);
    save(&out.join("benchmarks.md"), &page)
}

fn csv_path(out: &Path) -> PathBuf {
    out.join("benchmarks/rounds.csv")
}

fn left_out_path(out: &Path) -> PathBuf {
    out.join("benchmarks/left-out.csv")
}

fn facts_path(out: &Path) -> PathBuf {
    out.join("benchmarks/machine.csv")
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other.with_context(|| format!("read {}", path.display()))?)),
    }
}
