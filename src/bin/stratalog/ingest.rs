//! `ingest`: JSON Lines into a log.

mod compare;
pub(crate) mod encode;
pub(crate) mod input;
pub(crate) mod lines;
mod pipeline;
mod progress;
pub(crate) mod resume;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use serde::Serialize;
use stratalog::{CommitCounters, Durability, Log, Options, SeqId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::{place, recover, time};
use compare::Compared;
use encode::Encoder;
use input::STDIN;
use lines::{Chunks, Lines};
use pipeline::{Acked, Pipeline};
use progress::Progress;
use resume::{InputState, State};

/// Append records from JSON Lines.
///
/// Files may be plain, gzip or zstd, whatever they are called. Each line is one record; blank
/// lines are skipped. At any moment the log holds a prefix of the input, in its order, also with
/// several producers. A batch commits whole or not at all; it ends with its file, with its
/// collection, and after 16 MiB of input. After a line that is no record, nothing of its batch
/// and nothing behind it is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to read, in this order; `-`, or no file at all, is standard input
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// The directory of the log; made if it isn't there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where all records go, by name or by UUID; otherwise each line may say, as "collection",
    /// and the rest goes to "default"
    #[arg(long, value_name = "NAME|UUID")]
    collection: Option<String>,
    /// The most records in a batch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    batch: u32,
    /// Threads that parse and wait for acknowledgements
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    producers: u32,
    /// What an acknowledged batch survives: a power cut (sync), a crash of the process
    /// (buffered), or a power cut a little later (every:200ms)
    #[arg(long, value_name = "sync|buffered|every:TIME", default_value = "sync", value_parser = durability)]
    durability: Durability,
    /// Go on with an ingest of the same inputs that was interrupted, behind what it has written;
    /// what is skipped is compared with the log. If the last ingest of these inputs was complete,
    /// nothing is written twice
    #[arg(long)]
    resume: bool,
    /// Forget that an ingest was interrupted; what it has written stays in the log
    #[arg(long, conflicts_with = "resume")]
    forget_interrupted: bool,
    /// Append the last SeqId of each batch to this file, a line each, right after it was
    /// acknowledged: what must be in the log after a crash at any later moment
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    /// One JSON object at the end instead of text
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Summary {
    records: u64,
    /// Found in the log by `--resume`, and not written again.
    skipped_records: u64,
    batches: u64,
    /// As stored.
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    syncs: u64,
    /// From handing a batch over to its acknowledgement.
    ack_p50_micros: Option<f64>,
    ack_p99_micros: Option<f64>,
    last_seq_id: u64,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let inputs = inputs(&args.files)?;
    let list = args.acks.as_deref().map(open_list).transpose()?;
    let log = open(&args)?;

    let now = State::new(log.committed(), inputs, args.collection.clone());
    let names = now.names();
    let total = now.inputs.iter().map(|input| input.bytes).sum::<Option<u64>>();
    let read_bytes = Arc::new(AtomicU64::new(0));
    let progress = Progress::new(Arc::clone(&read_bytes), total);
    let mut lines = Lines::new(&names, read_bytes);
    let mut encoder = Encoder::new(args.collection.as_deref());
    let begun = begin(&args, &log, now, &mut lines, &mut encoder).inspect_err(|_| progress.end())?;

    let before = (log.committed(), log.counters());
    let clock = Instant::now();
    let mut chunks = Chunks::new(lines, args.batch as usize);
    let pipeline = Pipeline::new(&log, &args.dir, &progress, list);
    let (acked, ended) = pipeline.run(&mut chunks, &encoder, args.producers as usize);
    let ended = ended.and_then(|()| log.sync().map_err(|error| CliError::log(&error, &args.dir)));
    let taken = clock.elapsed();
    progress.end();
    if let Err(error) = ended {
        return Err(interrupted(&args.dir, &begun, &acked, error));
    }
    let summary = Summary::of(&log, before.1, &acked, begun.skipped_records, taken);
    // While the log is still ours, and all of it durable.
    begun.state.completed_at(log.committed()).write(&args.dir)?;
    log.close().map_err(|error| CliError::log(&error, &args.dir))?;
    if args.json {
        out.json(&summary)?
    } else {
        summary.tell(out, &args.dir, before.0)?
    }
    Ok(Exit::Fine)
}

/// The inputs by name and size; all of them are there.
fn inputs(files: &[String]) -> Result<Vec<InputState>, CliError> {
    let stdin = [STDIN.to_owned()];
    let names = if files.is_empty() { stdin.as_slice() } else { files };
    if names.iter().filter(|name| *name == STDIN).count() > 1 {
        return Err(
            CliError::new(Exit::Usage, "standard input is named twice").help("it can be read once only")
        );
    }
    names.iter().map(|name| Ok(InputState { name: name.clone(), bytes: input::check(name)? })).collect()
}

fn open_list(path: &Path) -> Result<File, CliError> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(|error| CliError::io("open", path, &error))
}

fn open(args: &Args) -> Result<Log, CliError> {
    let options = Options::new()
        .durability(args.durability)
        .max_record_bytes(encode::MAX_RECORD_BYTES as u64)
        .max_batch_bytes(256 << 20);
    let log = place::open_to_write(&args.dir, &options)?;
    if !log.recovery().clean {
        for line in recover::describe(log.recovery()) {
            output::note(line);
        }
    }
    Ok(log)
}

/// A run that may write.
struct Begun {
    /// As it stands in the log's directory.
    state: State,
    /// What stood there before.
    previous: Option<State>,
    /// In the log already; the lines have moved behind them.
    skipped_records: u64,
}

/// Finds out what is left to be done, and writes down that it is about to be.
fn begin(
    args: &Args,
    log: &Log,
    now: State,
    lines: &mut Lines,
    encoder: &mut Encoder,
) -> Result<Begun, CliError> {
    if args.forget_interrupted {
        State::remove(&args.dir)?;
    }
    let previous = State::load(&args.dir)?;
    let Some(left) = previous.clone() else {
        if args.resume {
            output::note("no ingest was interrupted here: this is a fresh one");
        }
        return fresh(args, now, previous);
    };
    let mut compare_upto =
        |upto| compare::compare(log, &args.dir, SeqId(left.committed), upto, lines, encoder);
    let (skipped_records, upto) = match left.complete {
        None if !args.resume => return Err(left.refuse(&args.dir)),
        None => {
            left.check_same(&now)?;
            note_sizes(&left, &now);
            (compare_upto(log.committed())?.same()?, log.committed())
        }
        // Killed when it was done, or never killed: to do it again would double all of it.
        Some(upto) if args.resume && left.check_same(&now).is_ok() => match compare_upto(SeqId(upto))? {
            Compared::Differs { records: 0, line, place, .. } => {
                lines.give_back(line, place);
                output::note("the last ingest was complete, and this is another input: a fresh one");
                return fresh(args, now, previous);
            }
            Compared::Ended { records: 0, .. } => return fresh(args, now, previous),
            compared => (compared.same()?, SeqId(upto)),
        },
        Some(_) => {
            if args.resume {
                output::note("the last ingest was complete, and had other inputs: this is a fresh one");
            }
            return fresh(args, now, previous);
        }
    };
    let mut rest = Vec::new();
    let more = lines.next_line(&mut rest)?.map(|place| lines.give_back(rest, place)).is_some();
    if more && upto < log.committed() {
        let message = format!(
            "the input has grown since it was ingested up to SeqId {upto}, and other records were appended since"
        );
        return Err(
            CliError::new(Exit::Usage, message).help("ingest what is new by itself, without --resume")
        );
    }
    let state = now.begun_at(left.committed);
    if more {
        state.write(&args.dir)?;
    }
    Ok(Begun { state, previous, skipped_records })
}

fn fresh(args: &Args, now: State, previous: Option<State>) -> Result<Begun, CliError> {
    now.write(&args.dir)?;
    Ok(Begun { state: now, previous, skipped_records: 0 })
}

fn note_sizes(left: &State, now: &State) {
    let shown = |bytes: Option<u64>| bytes.map_or("no known size".to_owned(), output::bytes);
    for (was, is) in left.inputs.iter().zip(&now.inputs).filter(|(was, is)| was.bytes != is.bytes) {
        let (name, was, is) = (&is.name, shown(was.bytes), shown(is.bytes));
        output::note(format!(
            "{name} had {was} when it was interrupted and has {is} now; what was written is compared with it"
        ));
    }
}

/// The run did not come to its end: what that means for the next one.
fn interrupted(dir: &Path, begun: &Begun, acked: &Acked, error: CliError) -> CliError {
    // What failed on its way to the disk may be found there by the next open.
    if begun.skipped_records == 0 && !acked.tried {
        let put_back = match &begun.previous {
            Some(previous) => previous.write(dir),
            None => State::remove(dir),
        };
        if put_back.is_ok() {
            return error;
        }
    }
    error.and_help(format!(
        "{} records of this run are in the log; the same command with --resume goes on behind them",
        output::count(acked.records)
    ))
}

impl Summary {
    fn of(log: &Log, before: CommitCounters, acked: &Acked, skipped_records: u64, taken: Duration) -> Self {
        let counters = log.counters();
        let micros = |share| acked.latencies.within(share).map(|taken| taken.as_secs_f64() * 1e6);
        Summary {
            records: acked.records,
            skipped_records,
            batches: acked.batches,
            bytes: counters.bytes - before.bytes,
            seconds: taken.as_secs_f64(),
            records_per_second: acked.records as f64 / taken.as_secs_f64().max(1e-9),
            syncs: counters.syncs - before.syncs,
            ack_p50_micros: micros(0.5),
            ack_p99_micros: micros(0.99),
            last_seq_id: log.committed().0,
        }
    }

    fn tell(&self, out: &mut Output, dir: &Path, before: SeqId) -> Result<(), CliError> {
        if self.skipped_records > 0 {
            out.line(format!(
                "{} records were in {} already, compared and found equal",
                output::count(self.skipped_records),
                dir.display()
            ))?;
        }
        if self.records == 0 {
            return out.line(format!(
                "nothing to append; {} ends at SeqId {}",
                dir.display(),
                self.last_seq_id
            ));
        }
        out.line(format!(
            "{} records in {} batches appended to {} as SeqId {} to {}",
            output::count(self.records),
            output::count(self.batches),
            dir.display(),
            before.next(),
            self.last_seq_id
        ))?;
        let millis = |micros: Option<f64>| format!("{:.2} ms", micros.unwrap_or_default() / 1e3);
        out.line(format!(
            "{} in {:.2} s: {} records/s, {}/s; {} syncs; acknowledged after {} (p50), {} (p99)",
            output::bytes(self.bytes),
            self.seconds,
            output::count(self.records_per_second as u64),
            output::bytes((self.bytes as f64 / self.seconds.max(1e-9)) as u64),
            output::count(self.syncs),
            millis(self.ack_p50_micros),
            millis(self.ack_p99_micros)
        ))
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    let expected = || "expected sync, buffered or every:TIME, as in every:200ms or every:2s".to_owned();
    match text {
        "sync" => return Ok(Durability::Sync),
        "buffered" => return Ok(Durability::Buffered),
        _ => {}
    }
    let time = text.strip_prefix("every:").ok_or_else(expected)?;
    time::parse(time).map(Durability::SyncEvery).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_read_or_refused() {
        assert_eq!(durability("sync"), Ok(Durability::Sync));
        assert_eq!(durability("every:200ms"), Ok(Durability::SyncEvery(Duration::from_millis(200))));
        assert_eq!(durability("every:2s"), Ok(Durability::SyncEvery(Duration::from_secs(2))));
        for bad in [
            "",
            "Sync",
            "every",
            "every:",
            "every:5",
            "every:0s",
            "every:ms",
            "every:-1s",
            "every:99999999999s",
        ] {
            assert!(durability(bad).is_err(), "{bad}");
        }
    }
}
