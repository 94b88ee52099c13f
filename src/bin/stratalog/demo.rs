//! `demo`: ingests real records, kills the process in the middle, and shows that nothing
//! acknowledged was lost; then the same with one that consumes them.

mod consumer;

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stratalog::storage::DiskStorage;
use stratalog::{Log, Options, SeqId, check};

use crate::failure::{CliError, Exit};
use crate::ingest::encode::Encoder;
use crate::ingest::lines::Lines;
use crate::output::{self, Output, count};
use crate::{place, recover};
use consumer::Consumer;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/debian-packages-minilm-1000.jsonl.gz");
const COLLECTION: &str = "demo";
const BATCH: u64 = 10;
const FEWEST_RECORDS: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// See it work: ingest real records, kill -9 in the middle, recover, resume; consume them, kill -9 in
/// the middle, go on; purge, verify.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// JSON Lines to use instead of the sample that comes with the source
    #[arg(long, value_name = "FILE")]
    records: Option<String>,
    /// Where to put the log, which then stays there; otherwise a temporary directory is used
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let records = match args.records {
        Some(records) => records,
        None if Path::new(SAMPLE).is_file() => SAMPLE.to_owned(),
        None => {
            return Err(CliError::new(Exit::Failed, format!("the sample is not there: {SAMPLE}"))
                .help("run it in a checkout of the source, or name a file with --records"));
        }
    };
    let input = Sample::read(&records)?;
    let (dir, temporary) = match args.dir {
        Some(dir) => (dir, false),
        None => (temporary_directory()?, true),
    };
    check_empty(&dir)?;
    let demo = Demo { log: dir.join("log"), acks: dir.join("acks"), consumed: dir.join("consumed"), input };
    let shown = demo.show(out);
    match (&shown, temporary) {
        (Ok(()) | Err(CliError::NobodyReads), true) => {
            let _ = fs::remove_dir_all(&dir);
        }
        _ => out.line(format!("the log is in {}", demo.log.display()))?,
    }
    shown.map(|()| Exit::Fine)
}

/// What is to be ingested: lines as they were read, and as the log stores them.
struct Sample {
    lines: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
}

struct Demo {
    log: PathBuf,
    acks: PathBuf,
    consumed: PathBuf,
    input: Sample,
}

impl Sample {
    fn read(file: &str) -> Result<Sample, CliError> {
        let mut sample = Sample { lines: Vec::new(), payloads: Vec::new() };
        let mut lines = Lines::new(&[file.to_owned()], Default::default());
        let mut encoder = Encoder::new(Some(COLLECTION));
        loop {
            let (mut line, mut payload) = (Vec::new(), Vec::new());
            let Some(place) = lines.next_line(&mut line)? else { break };
            encoder.line(&line, &place, &mut payload)?;
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            sample.lines.push(line);
            sample.payloads.push(payload);
        }
        if sample.count() < FEWEST_RECORDS {
            let message =
                format!("expected at least {FEWEST_RECORDS} records in {file}, found {}", sample.count());
            return Err(
                CliError::new(Exit::BadInput, message).help("to be killed in the middle takes a while")
            );
        }
        Ok(sample)
    }

    fn count(&self) -> u64 {
        self.lines.len() as u64
    }
}

impl Demo {
    fn show(&self, out: &mut Output) -> Result<(), CliError> {
        let total = self.input.count();
        out.line(format!(
            "ingest   {} records through a pipe, {BATCH} a batch, each batch synced before it is acknowledged",
            count(total)
        ))?;
        out.flush()?;
        let acked = self.ingest_and_kill()?;
        out.line(format!("kill -9  in mid-ingest, {} records acknowledged", count(acked)))?;

        let log = place::open_to_write(&self.log, &Options::new())?;
        for (k, line) in recover::describe(log.recovery()).iter().enumerate() {
            out.line(format!("{}{line}", if k == 0 { "reopen   " } else { "         " }))?;
        }
        let found = self.compare(&log)?;
        expect(found >= acked, "every acknowledged record in the log", format!("{found} of {acked}"))?;
        expect(found.is_multiple_of(BATCH) || found == total, "whole batches", format!("{found} records"))?;
        let more = match found - acked {
            0 => "nothing else is".to_owned(),
            more => format!("so are {} of whole batches on their way to it", count(more)),
        };
        out.line(format!("         all {} acknowledged records are there, identical; {more}", count(acked)))?;
        log.close().map_err(|error| CliError::log(&error, &self.log))?;
        out.flush()?;

        self.ingest_the_rest()?;
        let log = place::open_to_read(&self.log)?;
        let found_in_the_end = self.compare(&log)?;
        expect(
            found_in_the_end == total,
            &format!("{total} records in the end"),
            found_in_the_end.to_string(),
        )?;
        drop(log);
        out.line(format!(
            "resume   {} records found in the log and compared, {} appended",
            count(found),
            count(total - found)
        ))?;
        out.line(format!(
            "         {} records in, {} in the log, identical",
            count(total),
            count(found_in_the_end)
        ))?;
        Consumer { log: &self.log, file: self.consumed.clone(), total }.show(out)?;
        out.line(format!("verify   {}", self.verify()?))
    }

    /// Starts an ingest, waits until a good part is acknowledged, and kills it. How many records
    /// it had acknowledged by then.
    fn ingest_and_kill(&self) -> Result<u64, CliError> {
        let total = self.input.count();
        let mut child = self.start(false)?;
        // The input stalls at three quarters, so that the end can't be reached before the kill.
        let stall = (total * 3 / 4) as usize;
        let target = total / 4 + total / 4 * u64::from(clock_nanos() % 100) / 100;
        let stdin = child.stdin.take();
        let (killed, until_killed) = mpsc::channel::<()>();
        let outcome = thread::scope(|scope| {
            scope.spawn(move || {
                if let Some(mut stdin) = stdin {
                    // Fails when the child is killed, as it shall be.
                    let _ = self.input.lines.iter().take(stall).try_for_each(|line| stdin.write_all(line));
                    let _ = until_killed.recv();
                }
            });
            let waited = self.wait_for_acks(&mut child, target);
            let _ = child.kill();
            let status = child.wait();
            drop(killed);
            waited.and(
                status.map_err(|error| CliError::new(Exit::Failed, format!("wait for the ingest: {error}"))),
            )
        })?;
        expect(outcome.signal() == Some(9), "an ingest that was killed by signal 9", outcome.to_string())?;
        self.acknowledged()
    }

    fn wait_for_acks(&self, child: &mut Child, target: u64) -> Result<(), CliError> {
        let begun = Instant::now();
        while self.acknowledged()? < target {
            let ended = child.try_wait().ok().flatten();
            if let Some(status) = ended {
                return Err(unexpected("an ingest that runs until it is killed", status.to_string()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(unexpected(
                    &format!("{target} acknowledged records in a minute"),
                    "fewer".into(),
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The newest SeqId that was acknowledged.
    fn acknowledged(&self) -> Result<u64, CliError> {
        let text = match fs::read_to_string(&self.acks) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(CliError::io("read", &self.acks, &error)),
        };
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(whole.filter_map(|line| line.parse().ok()).max().unwrap_or(0))
    }

    fn ingest_the_rest(&self) -> Result<(), CliError> {
        let mut child = self.start(true)?;
        let fed = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| self.input.lines.iter().try_for_each(|line| stdin.write_all(line)));
        let status = child
            .wait()
            .map_err(|error| CliError::new(Exit::Failed, format!("wait for the ingest: {error}")))?;
        expect(status.success() && fed.is_ok(), "an ingest that resumes", status.to_string())
    }

    fn start(&self, resume: bool) -> Result<Child, CliError> {
        let mut command = this_program()?;
        command.args(["ingest", "-", "--collection", COLLECTION, "--batch", &BATCH.to_string()]);
        command.arg("--dir").arg(&self.log).arg("--acks").arg(&self.acks);
        if resume {
            command.arg("--resume");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().map_err(|error| CliError::new(Exit::Failed, format!("start an ingest: {error}")))
    }

    /// Reads every byte of every file; what was read.
    fn verify(&self) -> Result<String, CliError> {
        let failed = |error| CliError::log(&error, &self.log);
        let storage = DiskStorage::existing(&self.log).map_err(failed)?;
        let report = check::verify(&storage, &mut |_| {}).map_err(failed)?;
        let first = report.findings.first().map_or_else(String::new, |finding| format!(": {finding}"));
        expect(report.is_clean(), "no damage", format!("{} findings{first}", report.findings.len()))?;
        Ok(format!("every byte of {} files read ({}): no damage", report.files, output::bytes(report.bytes)))
    }

    /// How many records the log holds, each the same as in the input, in its order.
    fn compare(&self, log: &Log) -> Result<u64, CliError> {
        let failed = |error| CliError::log(&error, &self.log);
        let mut found = 0;
        for record in log.reader(SeqId(1)..).map_err(failed)? {
            let record = record.map_err(failed)?;
            let same =
                self.input.payloads.get(found as usize).is_some_and(|payload| *payload == record.payload);
            expect(
                same,
                &format!("line {} of the input", found + 1),
                format!("another record at SeqId {}", record.seq_id),
            )?;
            found += 1;
        }
        Ok(found)
    }
}

fn this_program() -> Result<Command, CliError> {
    let exe = std::env::current_exe()
        .map_err(|error| CliError::new(Exit::Failed, format!("find the path of this program: {error}")))?;
    Ok(Command::new(exe))
}

fn expect(held: bool, expected: &str, found: String) -> Result<(), CliError> {
    if held { Ok(()) } else { Err(unexpected(expected, found)) }
}

fn unexpected(expected: &str, found: String) -> CliError {
    CliError::new(Exit::Failed, format!("expected {expected}, found {found}"))
}

fn temporary_directory() -> Result<PathBuf, CliError> {
    let dir = std::env::temp_dir().join(format!("stratalog-demo-{}-{}", std::process::id(), clock_nanos()));
    fs::create_dir(&dir).map_err(|error| CliError::io("create directory", &dir, &error))?;
    Ok(dir)
}

/// The demo begins with nothing, so that all it finds is its own.
fn check_empty(dir: &Path) -> Result<(), CliError> {
    fs::create_dir_all(dir).map_err(|error| CliError::io("create directory", dir, &error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| CliError::io("open directory", dir, &error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(CliError::new(Exit::Usage, format!("{} is not empty", dir.display()))
            .help("name a new directory with --dir, or none at all")),
    }
}

fn clock_nanos() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
}
