//! The same work on this log, on hand-written floors and on other logs and stores:
//! `cargo run --release -p stratalog-compare -- --dir DIRECTORY`.

mod admission;
mod appends;
mod bench;
mod children;
mod combiner;
mod contender;
mod filled;
mod floors;
mod machine;
mod ours;
mod payload;
mod place;
mod report;
mod rivals;
mod rounds;
mod row;
mod rows;
mod statistics;
mod traced;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

use bench::{Bench, Settings};
use contender::{Contender, Kind};
use place::Place;
use report::Results;
use row::Spec;

/// Compares this log with the limits of the disk and with its rivals.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Where data is written: a directory on a real disk. Removed afterwards, but for
    /// what a run that is killed has left. [default: bench-data in the target directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rounds of every row; in each, everyone runs once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of one measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only rows whose name begins so; separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these rivals; separated by commas. `none` for floors alone.
    #[arg(long, value_delimiter = ',')]
    rivals: Vec<String>,
    /// Says what rows and contenders there are, and measures nothing.
    #[arg(long)]
    list: bool,
    /// Two rounds, little data, little time: to see that the tool works.
    #[arg(long)]
    quick: bool,
    /// Takes it for granted that everyone syncs before it acknowledges.
    #[arg(long)]
    trust_syncs: bool,
    /// Real records: JSON Lines, gzip.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/debian-packages-minilm-1000.jsonl.gz"))]
    records: PathBuf,
    /// Where the report goes: `benchmarks.md`, and `benchmarks` with raw values and plots.
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// Keeps the rows that an earlier run left in `--out` and that are not measured again.
    #[arg(long)]
    keep: bool,
    /// Measures nothing, and writes the report of what `--out` holds.
    #[arg(long)]
    report_only: bool,
    #[command(subcommand)]
    command: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// What the tool runs in a process of its own.
    #[command(hide = true)]
    Child { task: String, name: String, directory: PathBuf, numbers: Vec<u64> },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Of one measurement: more is a slip.
const MOST_SECONDS: f64 = 3_600.0;

fn run(arguments: Arguments) -> Result<()> {
    if let Some(Part::Child { task, name, directory, numbers }) = &arguments.command {
        let contender = contenders().into_iter().find(|contender| contender.name() == name);
        let Some(contender) = contender else { bail!("expected a contender, found {name:?}") };
        return children::run(task, contender.as_ref(), directory, numbers);
    }
    let rows = chosen_rows(&arguments.only)?;
    let contenders = chosen_contenders(&arguments.rivals)?;
    if arguments.list {
        return list(&rows, &contenders);
    }
    if arguments.report_only {
        let results = Results::earlier(&arguments.out, &[])?;
        ensure!(
            !results.values.is_empty(),
            "--out: expected what a run left in {}, found nothing",
            arguments.out.display()
        );
        return report::write(&arguments.out, &rows::all(), &contenders, &results);
    }
    let settings = settings(&arguments);
    ensure!(settings.rounds > 0, "--rounds: expected 1 or more, found 0");
    ensure!(
        settings.seconds > 0.0 && settings.seconds <= MOST_SECONDS,
        "--seconds: expected more than 0 and up to {MOST_SECONDS}, found {}",
        settings.seconds
    );
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("--out: make the directory {}", out.display()))?;
    let place = Place::new(&arguments.dir.clone().unwrap_or_else(default_directory))?;
    let results = if arguments.keep { Results::earlier(&arguments.out, &rows)? } else { Results::default() };
    measure(&Bench::new(place, settings, contenders), &rows, &arguments.out, results)
}

fn settings(arguments: &Arguments) -> Settings {
    Settings {
        rounds: if arguments.quick { 2 } else { arguments.rounds },
        seconds: if arguments.quick { 0.1 } else { arguments.seconds },
        quick: arguments.quick,
        trust: arguments.trust_syncs,
        records: arguments.records.clone(),
    }
}

/// The report is written after each row: a run that is stopped leaves what it has.
fn measure(bench: &Bench, rows: &[Spec], out: &Path, mut results: Results) -> Result<()> {
    results.facts = facts(bench)?;
    let mut failed = Vec::new();
    for row in rows {
        eprintln!("{}: {}", row.name, row.title);
        match rounds::run(bench, row) {
            Ok(values) => results.add(&row.name, values),
            Err(error) => {
                bench.leave_out(&row.name, "everyone", &format!("{error:#}"));
                failed.push(row.name.as_str());
            }
        }
        results.add_left_out(bench.left_out());
        report::write(out, &rows::all(), bench.contenders(), &results)?;
    }
    println!("{}", out.join("benchmarks.md").display());
    ensure!(failed.is_empty(), "could not be measured: {}", failed.join(", "));
    Ok(())
}

fn facts(bench: &Bench) -> Result<machine::Facts> {
    let settings = &bench.settings;
    let mut facts = machine::facts(bench.place.path())?;
    let how = format!("{} of every row, {} s per measurement", settings.rounds, settings.seconds);
    facts.push(("rounds".to_owned(), how));
    if settings.quick {
        facts.push((
            "**quick**".to_owned(),
            "**shows that the tool works: the figures mean nothing**".to_owned(),
        ));
    }
    if settings.trust {
        facts.push(("**syncs**".to_owned(), "**not checked** (`--trust-syncs`)".to_owned()));
    }
    Ok(facts)
}

fn default_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from).join("bench-data")
}

/// This log first, then floors, then rivals.
fn contenders() -> Vec<Arc<dyn Contender>> {
    let ours: Arc<dyn Contender> = Arc::new(ours::Stratalog);
    std::iter::once(ours).chain(floors::all()).chain(rivals::all()).collect()
}

fn chosen_contenders(rivals: &[String]) -> Result<Vec<Arc<dyn Contender>>> {
    let mut all = contenders();
    let names: Vec<&str> = all.iter().filter(|c| c.kind() == Kind::Peer).map(|c| c.name()).collect();
    if let Some(unknown) = rivals.iter().find(|name| !names.contains(&name.as_str()) && *name != "none") {
        bail!("expected one of {}, found the rival {unknown:?}", names.join(", "));
    }
    all.retain(|one| {
        one.kind() != Kind::Peer || rivals.is_empty() || rivals.iter().any(|name| name == one.name())
    });
    Ok(all)
}

fn chosen_rows(only: &[String]) -> Result<Vec<Spec>> {
    let mut all = rows::all();
    if let Some(unknown) = only.iter().find(|prefix| !all.iter().any(|row| row.name.starts_with(*prefix))) {
        bail!("expected the name of a row or how it begins, found {unknown:?}: see --list");
    }
    all.retain(|row| only.is_empty() || only.iter().any(|prefix| row.name.starts_with(prefix)));
    Ok(all)
}

fn list(rows: &[Spec], contenders: &[Arc<dyn Contender>]) -> Result<()> {
    rows.iter().for_each(|row| println!("{:<24} {}", row.name, row.title));
    println!();
    contenders.iter().for_each(|one| println!("{:<24} {}", one.name(), one.how()));
    Ok(())
}
