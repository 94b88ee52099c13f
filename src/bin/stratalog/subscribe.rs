//! `subscribe`: a collection's records from the first on, and then as they are committed.

mod consumer_file;

use std::ops::Bound;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stratalog::{Error, Log, Options, Reader, Record, SeqId, StreamId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::record_lines::RecordLines;
use crate::stop::Stop;
use crate::{collection, cursors, place, time};
use consumer_file::{ConsumerFile, Last};

/// How soon it sees that it was asked to stop.
const SLICE: Duration = Duration::from_millis(50);

/// Print a collection's records as JSON Lines: what is there, then what is committed, until stopped.
///
/// Without --cursor it follows beside a writer, and changes nothing in the log.
///
/// With --cursor it begins behind that cursor, which is made if it isn't there, and moves it each
/// time a batch was handed over: started again, it goes on where it was. A record may then come
/// twice, never not at all. It holds the log's write lock, so nothing is appended meanwhile, and
/// ends when it has handed over all there is.
///
/// With --output each record is in the file exactly once, however often this is killed and started
/// again, with a cursor or without: the file itself says how far it came.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The collection, by name or by UUID
    #[arg(long, value_name = "NAME|UUID")]
    collection: String,
    /// Begin behind this durable cursor, and advance it
    #[arg(long, value_name = "NAME", conflicts_with = "from", value_parser = cursors::name)]
    cursor: Option<String>,
    /// The first SeqId; otherwise the first there is
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// The last SeqId: it ends there
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Append to this file instead of standard output, and go on behind what it holds; what a kill
    /// left unfinished at its end is cut. Begin with a file of its own
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The most records that are handed over at a time: written, flushed, and only then passed by
    /// the cursor
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    batch: u32,
    /// End once nothing came for so long, as in 500ms
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until_idle: Option<Duration>,
    /// Payloads as hexadecimal, whatever they are
    #[arg(long)]
    raw: bool,
    /// Accepted like everywhere; the output is JSON Lines anyway
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(CliError::new(Exit::Usage, format!("expected --to from {from} on, found {to}"))
            .help("--from is the first SeqId, --to the last one"));
    }
    let stop = Stop::on_signals()?;
    place::check_present(&args.dir)?;
    let log = match args.cursor {
        Some(_) => place::open_to_write(&args.dir, &Options::new())?,
        None => place::open_to_read(&args.dir)?,
    };
    let subscribed = subscribe(&args, &log, &stop, out);
    if args.cursor.is_some() {
        let closed = log.close().map_err(|error| CliError::log(&error, &args.dir));
        subscribed.and(closed)?;
    } else {
        subscribed?;
        place::note_unwitnessed(&log, &args.dir)?;
    }
    Ok(Exit::Fine)
}

fn subscribe(args: &Args, log: &Log, stop: &Stop, out: &mut Output) -> Result<(), CliError> {
    let stream = collection::stream(&args.collection);
    if !place::has_collection(log, &args.dir, stream)? {
        output::note(collection::unknown(&args.collection, &args.dir));
        if args.cursor.is_some() {
            return Ok(());
        }
    }
    let failed = |error: Error| CliError::log(&error, &args.dir);
    let passed = args.cursor.as_deref().map(|name| cursor(log, stream, name)).transpose().map_err(failed)?;
    let (sink, last) = match &args.output {
        None => (Sink::Stdout(out), None),
        Some(path) => {
            let known = passed.as_ref().map(|cursor| cursor.seq_id);
            let (file, last) = ConsumerFile::open(path, stream, known)?;
            (Sink::File(file), last)
        }
    };
    let start = start(args, log, passed.as_ref(), last.as_ref())?;
    let end = args.to.map_or(Bound::Unbounded, |to| Bound::Included(SeqId(to)));
    let reader = log.stream_reader_by_seq_id(stream, (start, end)).map_err(failed)?;
    let lines = RecordLines::new(args.raw);
    Subscriber { args, log, stream, stop, reader, lines, sink, handed_over: None, in_batch: 0 }.run()
}

/// Where the consumer stands; the cursor is made if there is none, so that from here on no purge
/// gets ahead of it.
fn cursor(log: &Log, stream: StreamId, name: &str) -> stratalog::Result<stratalog::Cursor> {
    match log.cursor(stream, name) {
        Some(cursor) => Ok(cursor),
        None => {
            let first = log.purge_point(stream).map_or(SeqId(0), |point| point.seq_id);
            log.advance_cursor(stream, name, first)
        }
    }
}

/// Behind whichever has come furthest of what the consumer says of itself.
fn start(
    args: &Args,
    log: &Log,
    cursor: Option<&stratalog::Cursor>,
    last: Option<&Last>,
) -> Result<Bound<SeqId>, CliError> {
    let newest = log.committed();
    if let (Some(cursor), Some(last), Some(path)) = (cursor, last, &args.output)
        && cursor.log_offset > last.log_offset
    {
        let message = format!(
            "{} ends at SeqId {}, and cursor {:?} has passed SeqId {}: what lies between would be missing",
            path.display(),
            last.seq_id,
            cursor.name,
            cursor.seq_id
        );
        let help = format!(
            "`stratalog cursors --dir {} --collection {} --rollback {} --to {}` hands it over again; \
             or name a new file",
            args.dir.display(),
            args.collection,
            cursor.name,
            last.seq_id
        );
        return Err(CliError::new(Exit::Failed, message).help(help));
    }
    let passed = cursor.map(|cursor| cursor.seq_id).max(last.map(|last| last.seq_id));
    if let Some(last) = last.filter(|last| last.seq_id > newest) {
        let message = format!("the output ends at SeqId {}, the log at {newest}", last.seq_id);
        return Err(CliError::new(Exit::Failed, message).help(
            "it is another log's, or its writer was cut off and `stratalog recover` brings the rest back",
        ));
    }
    let asked = args.from.map(|from| SeqId(from - 1));
    if let Some(from) = args.from.filter(|from| *from > newest.0 + 1)
        && (!place::wait_for_witness(log, &args.dir)? || from > log.committed().0 + 1)
    {
        let message = format!("expected --from up to {}, found {from}", log.committed().next());
        return Err(CliError::new(Exit::Usage, message)
            .help("a subscription begins with a record that there is, or with the next one"));
    }
    Ok(passed.max(asked).map_or(Bound::Unbounded, Bound::Excluded))
}

enum Sink<'a> {
    Stdout(&'a mut Output),
    File(ConsumerFile),
}

struct Subscriber<'a> {
    args: &'a Args,
    log: &'a Log,
    stream: StreamId,
    stop: &'a Stop,
    reader: Reader,
    lines: RecordLines,
    sink: Sink<'a>,
    /// The last record that was written.
    handed_over: Option<SeqId>,
    in_batch: u32,
}

impl Subscriber<'_> {
    fn run(mut self) -> Result<(), CliError> {
        let mut busy = Instant::now();
        while !self.stop.asked() {
            // Before the look for records: what is committed by now was looked at.
            let committed = self.log.committed().0;
            let read = self.read_batch();
            let any = self.in_batch > 0;
            // Also before it fails: what was written is handed over.
            self.hand_over()?;
            read?;
            if any {
                busy = Instant::now();
                continue;
            }
            let ended = self.reader.is_finished() || self.args.to.is_some_and(|to| committed >= to);
            if ended || self.args.cursor.is_some() {
                break;
            }
            if let Sink::Stdout(_) = self.sink
                && output::nobody_reads()
            {
                return Err(CliError::NobodyReads);
            }
            if self.args.until_idle.is_some_and(|time| busy.elapsed() >= time) {
                break;
            }
            match self.reader.wait_record(Some(SLICE)) {
                Ok(Some(record)) => self.write(&record)?,
                Ok(None) => {}
                Err(error) => self.pass(&error)?,
            }
        }
        self.hand_over()
    }

    /// Writes what is there, up to a batch.
    fn read_batch(&mut self) -> Result<(), CliError> {
        while self.in_batch < self.args.batch && !self.stop.asked() {
            match self.reader.next_record() {
                Ok(Some(record)) => self.write(&record)?,
                Ok(None) => break,
                Err(error) => self.pass(&error)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), CliError> {
        let line = self.lines.line(record)?;
        match &mut self.sink {
            Sink::Stdout(out) => out.bytes(line)?,
            Sink::File(file) => file.write(line)?,
        }
        self.handed_over = Some(record.seq_id);
        self.in_batch += 1;
        Ok(())
    }

    /// First the consumer has it, then the cursor says so: cut off in between, it comes again.
    fn hand_over(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.in_batch) == 0 {
            return Ok(());
        }
        match &mut self.sink {
            Sink::Stdout(out) => out.flush()?,
            Sink::File(file) => file.commit()?,
        }
        if let (Some(name), Some(last)) = (&self.args.cursor, self.handed_over) {
            let advanced = self.log.advance_cursor(self.stream, name, last);
            advanced.map_err(|error| CliError::log(&error, &self.args.dir))?;
        }
        Ok(())
    }

    /// Goes on behind what a repair cut out. All else would be a gap nobody is told of.
    fn pass(&mut self, error: &Error) -> Result<(), CliError> {
        match error {
            Error::Gone { .. } => {
                output::note(error);
                Ok(())
            }
            Error::Purged { seq_id, .. } => Err(CliError::log(error, &self.args.dir).help(format!(
                "--from {} goes on behind what is gone; a cursor keeps a purge from getting ahead of its consumer",
                seq_id.next()
            ))),
            _ => Err(CliError::log(error, &self.args.dir)),
        }
    }
}
