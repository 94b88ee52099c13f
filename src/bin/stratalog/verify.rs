//! `verify`: every byte of every file of a log, and all damage there is.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use stratalog::check::{self, Finding, Severity, VerifyReport};
use stratalog::storage::DiskStorage;

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place;

/// Read every byte of every file and list all damage, with positions.
///
/// Writes nothing, takes no lock, and may run beside a writer. An unfinished last commit is no
/// damage. Ends with exit code 4 if anything is damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A finding, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct FindingFigures<'a> {
    severity: &'static str,
    file: &'a str,
    position: Option<u64>,
    expected: &'a str,
    found: &'a str,
    first_seq_id: Option<u64>,
    last_seq_id: Option<u64>,
    remedy: &'a str,
}

#[derive(Debug, Serialize)]
struct Figures<'a> {
    clean: bool,
    files: u64,
    bytes: u64,
    segments: u64,
    frames: u64,
    records: u64,
    last_seq_id: u64,
    durable: u64,
    findings: Vec<FindingFigures<'a>>,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    place::check_present(&args.dir)?;
    let failed = |error| CliError::log(&error, &args.dir);
    place::check_readable(&args.dir)?;
    let storage = DiskStorage::existing(&args.dir).map_err(failed)?;
    let bar = output::on_terminal().then(|| {
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} read, {eta} left");
        ProgressBar::new(0).with_style(style.unwrap_or(ProgressStyle::default_bar()))
    });
    let checked = check::verify(&storage, &mut |progress| {
        if let Some(bar) = &bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let mut report = checked.map_err(failed)?;
    // Our own, though not the log's.
    report.findings.retain(|finding| finding.file != crate::ingest::resume::FILE);
    if args.json {
        out.json(&Figures::of(&report))?;
    } else {
        tell(&report, out)?;
    }
    if report.is_clean() {
        return Ok(Exit::Fine);
    }
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let (damage, rebuilt) = (count(Severity::Damage), count(Severity::Rebuilt));
    let message = match (damage, rebuilt) {
        (0, _) => format!("damaged files that only save time: {rebuilt}; no record is hit"),
        _ => format!("places damaged: {}", damage + rebuilt),
    };
    let help = format!("`stratalog repair --dir {}` shows what a repair would do", args.dir.display());
    Err(CliError::new(Exit::Damaged, message).help(help))
}

fn tell(report: &VerifyReport, out: &mut Output) -> Result<(), CliError> {
    out.line(format_args!(
        "{} in {} files: {} segments with {} frames and {} records",
        output::bytes(report.bytes),
        output::count(report.files),
        output::count(report.segments),
        output::count(report.frames),
        output::count(report.records),
    ))?;
    out.line(format_args!(
        "newest SeqId {}, known to be durable up to {}",
        output::count(report.last_seq_id.0),
        output::count(report.durable.0)
    ))?;
    findings(&report.findings, out)?;
    if report.is_clean() { out.line("no damage") } else { Ok(()) }
}

/// One line for each finding.
pub(crate) fn findings(findings: &[Finding], out: &mut Output) -> Result<(), CliError> {
    findings.iter().try_for_each(|finding| out.line(finding))
}

impl<'a> FindingFigures<'a> {
    pub(crate) fn all(findings: &'a [Finding]) -> Vec<Self> {
        findings.iter().map(Self::of).collect()
    }

    fn of(finding: &'a Finding) -> Self {
        FindingFigures {
            severity: finding.severity.as_str(),
            file: &finding.file,
            position: finding.position,
            expected: &finding.expected,
            found: &finding.found,
            first_seq_id: finding.seq_ids.as_ref().map(|ids| ids.start().0),
            last_seq_id: finding.seq_ids.as_ref().map(|ids| ids.end().0),
            remedy: &finding.remedy,
        }
    }
}

impl<'a> Figures<'a> {
    fn of(report: &'a VerifyReport) -> Self {
        Figures {
            clean: report.is_clean(),
            files: report.files,
            bytes: report.bytes,
            segments: report.segments,
            frames: report.frames,
            records: report.records,
            last_seq_id: report.last_seq_id.0,
            durable: report.durable.0,
            findings: FindingFigures::all(&report.findings),
        }
    }
}
