//! `bench`: the log on this disk, beside the least that its work can cost there.

mod figures;
mod floor;
mod ground;
mod html;
mod machine;
mod pace;
mod plots;
mod progress;
mod random;
mod rounds;
mod subject;
mod tell;
mod verdict;
mod work;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::stop::Stop;
use figures::Report;
use floor::Floor;
use ground::Ground;
use html::Page;
use machine::Machine;
use progress::Progress;
use rounds::{Measured, Plan};
use subject::Subject;
use work::Work;

/// Measure the log on a disk, beside the bare calls of the system that its work needs, and say what
/// limits it.
///
/// For each kind of work the floor is a hand-written loop that does the least it can: a write into a
/// file of zeros and an fdatasync, a copy into a map, a checksum over mapped bytes. Floor and log take
/// turns, ratios are taken within a round, and medians are told. It works in a new subdirectory of DIR,
/// which it removes at the end and when it is interrupted. It needs 1 GiB there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory on the disk to measure; it may hold anything but a log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// About how long to take; below 20 the figures are rough
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Bytes of each record
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    record_bytes: u32,
    /// How many threads append at the same time, 2 to 256; several with commas, each measured by itself
    #[arg(long, value_name = "N,…", default_value = "4,16,64", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(2..=256))]
    producers: Vec<u32>,
    /// Leave the files where they are
    #[arg(long)]
    keep: bool,
    /// Write a report to this file as well: one page of HTML that needs no other
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let mut producers = args.producers;
    producers.sort_unstable();
    producers.dedup();

    let stop = Stop::on_signals()?;
    ground::check(&args.dir)?;
    let machine = Machine::of(&args.dir);
    let page = args.html.map(Page::open).transpose()?;
    let ground = Ground::new(&args.dir, args.keep)?;
    if machine.memory {
        output::note(format!(
            "{} is memory ({}): the figures say nothing of a disk",
            args.dir.display(),
            machine.file_system
        ));
    }

    let works = Work::all(&producers);
    let plan = Plan { seconds: args.seconds, begun: Instant::now() };
    let progress = Progress::new(rounds::steps(&plan, &works));
    let measured = measure(&works, &plan, ground.path(), args.record_bytes, &stop, &progress);
    progress.end();
    let measured = measured?;
    ground.leave();

    let report = Report::of(machine, args.record_bytes, &plan, &measured);
    if let Some(page) = page {
        page.write(&html::page(&report))?;
    }
    if args.json {
        out.json(&report)?;
    } else {
        tell::report(&report, out)?;
    }
    Ok(Exit::Fine)
}

/// The logs are closed when it returns.
fn measure(
    works: &[Work],
    plan: &Plan,
    dir: &Path,
    record_bytes: u32,
    stop: &Stop,
    progress: &Progress,
) -> Result<Vec<Measured>, CliError> {
    progress.doing("preparing files".to_owned());
    let mut subject = Subject::prepare(dir, record_bytes, stop)?;
    let mut floor = Floor::prepare(dir, record_bytes, subject.mapped()?, stop)?;
    rounds::run(works, plan, &mut floor, &mut subject, progress)
}

/// What a loop says that was told to stop.
fn interrupted() -> CliError {
    CliError::new(Exit::Failed, "interrupted before all was measured").help("run it again, and let it end")
}
