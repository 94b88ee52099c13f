//! `recover`: opens a log for writing, which recovers it, and says what was found.

use std::path::PathBuf;

use serde::Serialize;
use stratalog::{Options, RecoveryReport};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place;

/// Recover a log after a crash, say what was found, and close it.
///
/// Every command that writes does this by itself. What a crash left behind and nothing witnesses
/// as durable is hidden from commands that read, until a writer has opened the log.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What opening found and did, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    clean: bool,
    last_seq_id: u64,
    scanned_bytes: u64,
    scanned_records: u64,
    rewritten_records: u64,
    torn: Option<Torn<'a>>,
    damaged_checkpoints: &'a [String],
    debris: &'a [String],
}

#[derive(Debug, Serialize)]
struct Torn<'a> {
    file: &'a str,
    position: u64,
    bytes: u64,
    kept_as: &'a str,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    place::check_present(&args.dir)?;
    let log = place::open_to_write(&args.dir, &Options::new())?;
    let report = log.recovery();
    if args.json {
        out.json(&Report::of(report))?;
    } else {
        for line in describe(report) {
            out.line(line)?;
        }
    }
    log.close().map_err(|error| CliError::log(&error, &args.dir))?;
    Ok(Exit::Fine)
}

impl<'a> Report<'a> {
    fn of(report: &'a RecoveryReport) -> Self {
        Report {
            clean: report.clean,
            last_seq_id: report.last_seq_id.0,
            scanned_bytes: report.scanned_bytes,
            scanned_records: report.scanned_records,
            rewritten_records: report.rewritten_records,
            torn: report.torn.as_ref().map(|torn| Torn {
                file: &torn.file,
                position: torn.position,
                bytes: torn.bytes,
                kept_as: &torn.kept_as,
            }),
            damaged_checkpoints: &report.damaged_checkpoints,
            debris: &report.debris,
        }
    }
}

/// What opening found and did, in words, a line each.
pub(crate) fn describe(report: &RecoveryReport) -> Vec<String> {
    let last = output::count(report.last_seq_id.0);
    let mut lines = Vec::new();
    if report.clean {
        lines.push(format!("the log had been closed cleanly; its newest SeqId is {last}"));
    } else {
        lines.push(format!(
            "the log had not been closed; recovered up to SeqId {last} by scanning {} records ({}) behind the checkpoint",
            output::count(report.scanned_records),
            output::bytes(report.scanned_bytes)
        ));
    }
    if report.rewritten_records > 0 {
        lines.push(format!(
            "the last {} carried no witness that they are on the disk, so they were written again and synced",
            output::count(report.rewritten_records)
        ));
    }
    match &report.torn {
        Some(torn) => lines.push(format!(
            "an unfinished last commit was cut from {} at position {}: {}, kept as {}",
            torn.file,
            torn.position,
            output::bytes(torn.bytes),
            torn.kept_as
        )),
        None if report.clean => {}
        None => lines.push("no commit was cut in two".to_owned()),
    }
    for damaged in &report.damaged_checkpoints {
        lines.push(format!("a checkpoint could not be used, which cost a longer scan only: {damaged}"));
    }
    if !report.debris.is_empty() {
        lines.push(format!("half-made files were removed: {}", report.debris.join(", ")));
    }
    lines
}
