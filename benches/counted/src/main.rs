//! What an append, a read and a delivery cost, counted and not timed, so that a busy machine says the
//! same: instructions under callgrind, system calls, page faults, allocations, bytes written.
//!
//! Prints a table beside recorded values. Fails where a count grew by more than a tenth, where a rule is
//! broken that holds whatever was recorded, and where a tool to count with is not there.

mod append;
mod bytes;
mod deliver;
mod heap;
mod payload;
#[path = "../../support/place.rs"]
mod place;
mod read;
mod recorded;
mod region;
mod rules;
mod run;
mod table;
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result, ensure};
use clap::{Parser, Subcommand};

use place::Place;
use run::Tools;
use work::{Ground, Work};

#[derive(Debug, Parser)]
#[command(about = "Counts what appends, reads and deliveries cost, and compares with recorded values")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Inside>,
    /// Write the file of recorded values anew
    #[arg(long, conflicts_with = "only")]
    record: bool,
    /// Only works whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Print the functions in which one work spends its instructions
    #[arg(long, value_name = "WORK")]
    profile: Option<String>,
    /// List the works
    #[arg(long)]
    list: bool,
    /// A directory on a disk, for the logs; by default STRATALOG_BENCH_DIR, or one in the target directory
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The file of recorded values
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.csv"))]
    file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Inside {
    /// Do one work and say what it can count itself; the other commands start this
    #[command(hide = true)]
    Work {
        name: String,
        #[arg(long = "in")]
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if nothing has grown.
fn run(arguments: Arguments) -> Result<bool> {
    if let Some(Inside::Work { name, directory }) = &arguments.command {
        let work = work::named(name)?;
        let outcome = (work.run)(&Ground { directory, times: work.times, records: work.records })?;
        outcome.totals.iter().for_each(|(count, total)| println!("{count}\t{total}"));
        return Ok(true);
    }
    let wanted = |work: &&Work| arguments.only.as_ref().is_none_or(|part| work.name.contains(part));
    let works: Vec<&Work> = work::all().filter(wanted).collect();
    ensure!(!works.is_empty(), "--only: expected part of a work's name; see --list");
    if arguments.list {
        works.iter().for_each(|work| println!("{}", work.name));
        return Ok(true);
    }
    let place = Place::find(arguments.dir).map_err(Error::msg)?;
    println!("{place}");
    match arguments.profile {
        Some(name) => profile(work::named(&name)?, &place),
        None => table::run(&works, &place, &Tools::find(), &arguments.file, arguments.record),
    }
}

fn profile(work: &Work, place: &Place) -> Result<bool> {
    let files = place.fresh()?;
    let into = files.path().join("callgrind");
    let total = run::callgrind(work, place, &into)?;
    println!("{}: {} instructions, {} times", work.name, total, work.times * work.records);
    let status = Command::new("callgrind_annotate").arg("--threshold=98").arg(&into).status()?;
    Ok(status.success())
}
