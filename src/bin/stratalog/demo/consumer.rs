//! The second half of the demo: a consumer that is killed, goes on, and lets go of what it passed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use stratalog::{Log, Options, SeqId};

use super::{BATCH, COLLECTION, PATIENCE, expect, this_program, unexpected};
use crate::collection;
use crate::failure::{CliError, Exit};
use crate::output::{self, Output, count};
use crate::place::{self, Space};

const CURSOR: &str = "demo-consumer";
/// It may be done before it can be killed, on a machine that is busy otherwise.
const TRIES: u32 = 10;

pub(super) struct Consumer<'a> {
    pub(super) log: &'a Path,
    /// Where it writes what it gets.
    pub(super) file: PathBuf,
    pub(super) total: u64,
}

impl Consumer<'_> {
    pub(super) fn show(&self, out: &mut Output) -> Result<(), CliError> {
        out.line(format!(
            "consume  the records into a file, {BATCH} at a time; a durable cursor follows behind"
        ))?;
        out.flush()?;
        self.consume_and_kill()?;
        let written = self.text()?.iter().filter(|byte| **byte == b'\n').count() as u64;
        let log = place::open_to_write(self.log, &Options::new())?;
        let passed =
            log.cursor(collection::stream(COLLECTION), CURSOR).map_or(0, |cursor| cursor.log_offset.0);
        self.close(&log)?;
        expect(passed <= written, "a cursor behind its consumer", format!("{passed}, {written} written"))?;
        out.line(format!(
            "kill -9  in the middle: {} records in the file, the cursor has passed {}",
            count(written),
            count(passed)
        ))?;
        out.flush()?;

        let status = self.start()?.wait().map_err(waited)?;
        expect(status.success(), "a consumer that goes on", status.to_string())?;
        let printed = this_program()?.args(["cat", "--dir"]).arg(self.log).output().map_err(waited)?;
        expect(printed.stdout == self.text()?, "in the file what cat prints", "something else".to_owned())?;
        out.line(format!(
            "restart  all {} in the file as `cat` prints them: no gap, none twice",
            count(self.total)
        ))?;
        self.purge(out)
    }

    /// Starts the consumer and kills it when it has written a good part, but not all.
    fn consume_and_kill(&self) -> Result<(), CliError> {
        let whole = this_program()?.args(["cat", "--dir"]).arg(self.log).output().map_err(waited)?;
        let target = whole.stdout.len() as u64 / 3;
        for _ in 0..TRIES {
            let mut child = self.start()?;
            let begun = Instant::now();
            while self.written() < target && child.try_wait().map_err(waited)?.is_none() {
                if begun.elapsed() > PATIENCE {
                    let _ = child.kill();
                    break;
                }
                std::thread::sleep(Duration::from_micros(100));
            }
            let _ = child.kill();
            let status = child.wait().map_err(waited)?;
            if status.signal() == Some(9) {
                return Ok(());
            }
            expect(status.success(), "a consumer that is killed by signal 9", status.to_string())?;
            self.forget()?;
        }
        Err(unexpected(
            "a consumer that is killed in the middle",
            "one that is always done before".to_owned(),
        ))
    }

    /// As if it had never been.
    fn forget(&self) -> Result<(), CliError> {
        let log = place::open_to_write(self.log, &Options::new())?;
        let back = log.rollback_cursor(collection::stream(COLLECTION), CURSOR, SeqId(0));
        back.map_err(|error| CliError::log(&error, self.log))?;
        self.close(&log)?;
        fs::remove_file(&self.file).map_err(|error| CliError::io("remove", &self.file, &error))
    }

    fn start(&self) -> Result<Child, CliError> {
        let mut command = this_program()?;
        command.args(["subscribe", "--collection", COLLECTION, "--cursor", CURSOR]);
        command.args(["--batch", &BATCH.to_string()]);
        command.arg("--dir").arg(self.log).arg("--output").arg(&self.file);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map_err(|error| CliError::new(Exit::Failed, format!("start a consumer: {error}")))
    }

    fn purge(&self, out: &mut Output) -> Result<(), CliError> {
        let failed = |error| CliError::log(&error, self.log);
        let before = Space::of(self.log)?;
        let log = place::open_to_write(self.log, &Options::new())?;
        let point = log.purge_passed(collection::stream(COLLECTION)).map_err(failed)?;
        self.close(&log)?;
        let after = Space::of(self.log)?;
        let purged = point.map_or(0, |point| point.log_offset.0);
        expect(purged == self.total, "all of it purged", purged.to_string())?;
        expect(after.bytes < before.bytes, "space given back", format!("{} bytes", after.bytes))?;
        out.line(format!(
            "purge    what the cursor has passed: {} in {} segments before, {} in {} now",
            output::bytes(before.bytes),
            before.segments.len(),
            output::bytes(after.bytes),
            after.segments.len()
        ))
    }

    fn close(&self, log: &Log) -> Result<(), CliError> {
        log.close().map_err(|error| CliError::log(&error, self.log))
    }

    fn written(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |known| known.len())
    }

    fn text(&self) -> Result<Vec<u8>, CliError> {
        fs::read(&self.file).map_err(|error| CliError::io("read", &self.file, &error))
    }
}

fn waited(error: std::io::Error) -> CliError {
    CliError::new(Exit::Failed, format!("wait for a command: {error}"))
}
