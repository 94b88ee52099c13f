//! `repair`: a damaged log made whole again, on explicit request only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use stratalog::check::{self, RepairReport, Severity};
use stratalog::storage::DiskStorage;

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place;
use crate::verify::{self, FindingFigures};

/// Make a damaged log whole again, without the records that the damage hit.
///
/// All other records keep their SeqIds and log_offsets, and what is replaced or cut is kept in
/// files that end in `.aside`. Without --yes it says what it would do, changes nothing, and ends
/// with exit code 4 if there is anything to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures<'a> {
    /// False: this is what would be done.
    done: bool,
    actions: Vec<ActionFigures<'a>>,
    kept_aside: &'a [String],
    lost: Vec<[u64; 2]>,
    lost_records: u64,
    last_seq_id: u64,
    findings: Vec<FindingFigures<'a>>,
}

#[derive(Debug, Serialize)]
struct ActionFigures<'a> {
    file: &'a str,
    what: &'a str,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    place::check_present(&args.dir)?;
    let failed = |error| CliError::log(&error, &args.dir);
    let storage = Arc::new(DiskStorage::existing(&args.dir).map_err(failed)?);
    let report = if args.yes { check::repair(storage) } else { check::plan_repair(storage) };
    let report = report.map_err(failed)?;
    if args.json {
        out.json(&Figures::of(&report, args.yes))?;
    } else {
        tell(&report, args.yes, &args.dir, out)?;
    }
    Ok(if args.yes || report.actions.is_empty() { Exit::Fine } else { Exit::Damaged })
}

fn tell(report: &RepairReport, done: bool, dir: &Path, out: &mut Output) -> Result<(), CliError> {
    let worse: Vec<_> =
        report.findings.iter().filter(|finding| finding.severity > Severity::Note).cloned().collect();
    verify::findings(&worse, out)?;
    if report.actions.is_empty() {
        return out.line("there is nothing to repair; nothing was changed");
    }
    out.line(if done { "done:" } else { "would be done:" })?;
    for action in &report.actions {
        out.line(format_args!("  {}: {}", action.file, action.what))?;
    }
    for lost in &report.lost {
        let verb = if done { "lost" } else { "would be lost" };
        out.line(format_args!("{verb}: SeqIds {} to {}", lost.start(), lost.end()))?;
    }
    let last = output::count(report.last_seq_id.0);
    if done {
        out.line(format_args!(
            "records lost: {}; the newest SeqId is {last}, and no number is given out again",
            output::count(report.lost_records)
        ))
    } else {
        out.line(format_args!(
            "records that would be lost: {}; nothing was changed: `stratalog repair --dir {} --yes` does it",
            output::count(report.lost_records),
            dir.display()
        ))
    }
}

impl<'a> Figures<'a> {
    fn of(report: &'a RepairReport, done: bool) -> Self {
        let actions =
            report.actions.iter().map(|action| ActionFigures { file: &action.file, what: &action.what });
        Figures {
            done,
            actions: actions.collect(),
            kept_aside: &report.kept_aside,
            lost: report.lost.iter().map(|ids| [ids.start().0, ids.end().0]).collect(),
            lost_records: report.lost_records,
            last_seq_id: report.last_seq_id.0,
            findings: FindingFigures::all(&report.findings),
        }
    }
}
