//! Standard output for results, standard error for everything else.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use crate::failure::{CliError, Exit, Failure};

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Output { stdout: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), CliError> {
        writeln!(self.stdout, "{text}").map_err(failed)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.stdout.write_all(bytes).map_err(failed)
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.stdout, value).map_err(|error| failed(error.into()))?;
        self.bytes(b"\n")
    }

    /// Hands over what was written so far.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.stdout.flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::NobodyReads,
        _ => CliError::new(Exit::Failed, format!("write to standard output: {error}")),
    }
}

/// Something worth knowing that is no result.
pub(crate) fn note(text: impl fmt::Display) {
    // Standard error may be closed; there is nobody to be told of that.
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Why it failed, and what to do.
pub(crate) fn error(failure: &Failure) {
    let mut text = format!("error: {}\n", failure.message.replace('\n', " "));
    if let Some(help) = &failure.help {
        text.push_str(&format!("help: {help}\n"));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Somebody looks on: progress may be shown.
pub(crate) fn on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Bytes for people: `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = count as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"")),
    }
}

/// A count for people: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Standard output is a pipe whose other end was closed: what is written from now on goes nowhere.
pub(crate) fn nobody_reads() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut watched, Some(&at_once)).is_ok() && watched.iter().any(|fd| fd.revents().intersects(gone))
}
