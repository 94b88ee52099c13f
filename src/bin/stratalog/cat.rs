//! `cat` and `tail`: committed records as JSON Lines that `ingest` reads back.

use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};

use stratalog::{Error, Log, LogOffset, Reader, Record, SeqId, StreamId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::record_lines::RecordLines;
use crate::{collection, place};

/// Print records as JSON Lines, which `ingest` reads back to the same log.
///
/// Reads beside a writer, and changes nothing. What a crash left behind and nothing witnesses as
/// durable is not shown until a writer, or `recover`, has opened the log; a note says so.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The first SeqId
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// The last SeqId
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// The first log_offset of the collection
    #[arg(long, value_name = "N", requires = "collection", conflicts_with_all = ["from", "to"])]
    offset: Option<u64>,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Report damaged records, and go on behind them; the exit code is 4 all the same
    #[arg(long)]
    skip_damaged: bool,
}

/// Print the last records as JSON Lines, and what is committed from then on.
///
/// Under durability `sync` a record shows as soon as something witnesses that it is durable: with
/// the next commit, or once the writer has been idle for a moment.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    source: Source,
    /// How many records to begin with
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    lines: u64,
    /// Wait for more until interrupted
    #[arg(short, long)]
    follow: bool,
}

/// What both read.
#[derive(Debug, clap::Args)]
struct Source {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Only this collection, by name or by UUID
    #[arg(long, value_name = "NAME|UUID")]
    collection: Option<String>,
    /// Payloads as hexadecimal, whatever they are
    #[arg(long)]
    raw: bool,
    /// Accepted like everywhere; the output is JSON Lines anyway
    #[arg(long)]
    json: bool,
}

impl Source {
    fn stream(&self) -> Option<StreamId> {
        self.collection.as_deref().map(collection::stream)
    }
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let source = &args.source;
    let log = place::open_to_read(&source.dir)?;
    let reader = reader(&log, &args).map_err(|error| CliError::log(&error, &source.dir))?;
    let asked = args.from.is_some_and(|from| from > 0) || args.offset.is_some_and(|offset| offset > 0);
    let mut printer = Printer { asked, skip_damaged: args.skip_damaged, ..Printer::new(source, reader) };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut waited = false;
    while left > 0 {
        if printer.next(out)? {
            left -= 1;
        } else if printer.reader.is_finished() || waited || !place::wait_for_witness(&log, &source.dir)? {
            break;
        } else {
            waited = true;
        }
    }
    out.flush()?;
    if left > 0 && !waited && !printer.reader.is_finished() {
        place::note_unwitnessed(&log, &source.dir)?;
    }
    if args.limit != Some(0) && args.from.is_none() && args.offset.is_none() {
        printer.explain_nothing(&log, source)?;
    }
    Ok(if printer.damaged { Exit::Damaged } else { Exit::Fine })
}

fn reader(log: &Log, args: &Args) -> Result<Reader, Error> {
    let seqs = (args.from.map_or(Bound::Unbounded, |n| Bound::Included(SeqId(n))), upto(args.to.map(SeqId)));
    match (args.source.stream(), args.offset) {
        (None, _) => log.reader(seqs),
        (Some(stream), Some(offset)) => log.stream_reader(stream, LogOffset(offset)..),
        (Some(stream), None) if args.from.is_none() && args.to.is_none() => log.stream_reader(stream, ..),
        (Some(stream), None) => log.stream_reader_by_seq_id(stream, seqs),
    }
}

fn upto<T>(last: Option<T>) -> Bound<T> {
    last.map_or(Bound::Unbounded, Bound::Included)
}

pub(crate) fn run_tail(args: TailArgs, out: &mut Output) -> Result<Exit, CliError> {
    let source = &args.source;
    let log = place::open_to_read(&source.dir)?;
    let failed = |error: Error| CliError::log(&error, &source.dir);
    let reader = match source.stream() {
        None => log.reader(first_of(log.committed().0, args.lines, SeqId)),
        Some(stream) => {
            let known = log.committed_stream(stream).map_err(failed)?;
            let last = known.map_or(0, |known| known.next_log_offset.0.saturating_sub(1));
            log.stream_reader(stream, first_of(last, args.lines, LogOffset))
        }
    };
    let mut printer = Printer::new(source, reader.map_err(failed)?);
    let mut explained = false;
    loop {
        while printer.next(out)? {}
        out.flush()?;
        if args.lines > 0 && !std::mem::replace(&mut explained, true) {
            printer.explain_nothing(&log, source)?;
        }
        if !args.follow {
            break;
        }
        match printer.reader.wait_record(None) {
            Ok(Some(record)) => printer.print(out, &record)?,
            Ok(None) => {}
            Err(error) => printer.pass(out, &error)?,
        }
    }
    place::note_unwitnessed(&log, &source.dir)?;
    Ok(Exit::Fine)
}

/// From the first of the last `count` numbers on.
fn first_of<T>(last: u64, count: u64, number: impl Fn(u64) -> T) -> impl RangeBounds<T> {
    number(last.saturating_sub(count).saturating_add(1))..
}

/// Prints what a reader gives.
struct Printer<'a> {
    dir: &'a Path,
    lines: RecordLines,
    reader: Reader,
    printed: u64,
    /// Where to begin was said: that it is purged is then no matter of course.
    asked: bool,
    skip_damaged: bool,
    damaged: bool,
    /// The last error that was passed over.
    passed: String,
}

impl<'a> Printer<'a> {
    fn new(source: &'a Source, reader: Reader) -> Self {
        Printer {
            dir: &source.dir,
            lines: RecordLines::new(source.raw),
            reader,
            printed: 0,
            asked: false,
            skip_damaged: false,
            damaged: false,
            passed: String::new(),
        }
    }

    /// Prints the next record; false if there is none yet.
    fn next(&mut self, out: &mut Output) -> Result<bool, CliError> {
        loop {
            match self.reader.next_record() {
                Ok(Some(record)) => return self.print(out, &record).map(|()| true),
                Ok(None) => return Ok(false),
                Err(error) => self.pass(out, &error)?,
            }
        }
    }

    /// Goes on behind records that are gone, or damaged if that is wanted.
    fn pass(&mut self, out: &mut Output, error: &Error) -> Result<(), CliError> {
        if let Error::Purged { seq_id, log_offset, .. } = error {
            if self.printed > 0 {
                output::note(error);
            } else if self.asked {
                return Err(CliError::log(error, self.dir).help(format!(
                    "`--from {}` or `--offset {}` begins behind that; without either, all that is left is printed",
                    seq_id.next(),
                    log_offset.0 + 1
                )));
            }
            return Ok(());
        }
        let gone = matches!(error, Error::Gone { .. });
        let damaged = error.is_corruption();
        let text = error.to_string();
        // The same error again: there is no getting behind it.
        let stuck = std::mem::replace(&mut self.passed, text.clone()) == text;
        if stuck || !(gone || damaged && self.skip_damaged) {
            let failed = CliError::log(error, self.dir);
            return Err(match damaged && !self.skip_damaged {
                true => failed.and_help("`cat --skip-damaged` reads what lies behind"),
                false => failed,
            });
        }
        out.flush()?;
        self.damaged |= damaged;
        output::note(text);
        Ok(())
    }

    fn print(&mut self, out: &mut Output, record: &Record) -> Result<(), CliError> {
        self.printed += 1;
        out.bytes(self.lines.line(record)?)
    }

    /// Nothing was printed: says why, if it is not for the range that was asked for.
    fn explain_nothing(&self, log: &Log, source: &Source) -> Result<(), CliError> {
        let (Some(name), Some(stream)) = (&source.collection, source.stream()) else { return Ok(()) };
        if self.printed > 0 {
            return Ok(());
        }
        if !place::has_collection(log, self.dir, stream)? {
            output::note(collection::unknown(name, self.dir));
        } else if let Some(point) = log.purge_point(stream) {
            output::note(format!("collection {name} was purged up to SeqId {}", point.seq_id));
        }
        Ok(())
    }
}
