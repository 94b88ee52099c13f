//! Interleaved rounds: in each, every entry runs once, beginning with another one each time.

use anyhow::Result;

use crate::bench::Bench;
use crate::contender::Kind;
use crate::row::Spec;

/// One value, as it goes into the CSV.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) row: String,
    pub(crate) entry: String,
    pub(crate) kind: Kind,
    pub(crate) round: usize,
    /// Its place within the round.
    pub(crate) turn: usize,
    pub(crate) figure: String,
    pub(crate) value: f64,
}

/// Runs a row. An entry that fails is left out of the rest of it, with its reason.
pub(crate) fn run(bench: &Bench, spec: &Spec) -> Result<Vec<Value>> {
    let mut entries = (spec.build)(bench)?;
    let mut values = Vec::new();
    for round in 0..bench.settings.rounds {
        let count = entries.len().max(1);
        let mut failed = Vec::new();
        for turn in 0..entries.len() {
            let index = (turn + round) % count;
            let entry = &mut entries[index];
            match (entry.run)(round) {
                Ok(sample) => {
                    progress(round, &entry.name, &sample);
                    let of = |(figure, value): &(&str, f64)| Value {
                        row: spec.name.clone(),
                        entry: entry.name.clone(),
                        kind: entry.kind,
                        round,
                        turn,
                        figure: (*figure).to_owned(),
                        value: *value,
                    };
                    values.extend(sample.iter().map(of));
                }
                Err(error) => {
                    bench.leave_out(&spec.name, &entry.name, &format!("failed: {error:#}"));
                    failed.push(index);
                }
            }
        }
        failed.sort_unstable();
        failed.iter().rev().for_each(|index| drop(entries.remove(*index)));
    }
    Ok(values)
}

fn progress(round: usize, entry: &str, sample: &[(&'static str, f64)]) {
    let figures: Vec<String> = sample.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
    eprintln!("  round {round}  {entry:<28} {}", figures.join("  "));
}
