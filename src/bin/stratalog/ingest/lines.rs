//! Inputs as lines, lines as chunks: what one batch is made of.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::input::Input;
use crate::failure::{CliError, Exit};

/// The longest line there may be.
pub(crate) const MAX_LINE_BYTES: u64 = 64 << 20;
/// A chunk ends before it grows beyond this, unless a single line does.
const CHUNK_BYTES: usize = 16 << 20;

/// The records of some inputs, line by line, one input after the other.
pub(crate) struct Lines {
    names: VecDeque<String>,
    read_bytes: Arc<AtomicU64>,
    at: Option<At>,
    /// Read, and given back.
    given_back: Option<(Vec<u8>, Place)>,
}

struct At {
    input: Input,
    /// Lines read so far.
    number: u64,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    /// Counted from 1.
    pub(crate) line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Consecutive lines of one input.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Chunks are numbered in the order of the input, from 0.
    pub(crate) ticket: u64,
    text: Vec<u8>,
    /// Where each line ends in `text`, and which it is.
    ends: Vec<(usize, Place)>,
}

impl Chunk {
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &Place)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, place)| {
            let line = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            (line, place)
        })
    }
}

impl Lines {
    pub(crate) fn new(names: &[String], read_bytes: Arc<AtomicU64>) -> Self {
        Lines { names: names.iter().cloned().collect(), read_bytes, at: None, given_back: None }
    }

    /// Appends the next line that is not blank to `text`; `None` at the end of the last input.
    ///
    /// # Errors
    /// An input that can't be read, isn't what its first bytes say, or has a line over the limit.
    pub(crate) fn next_line(&mut self, text: &mut Vec<u8>) -> Result<Option<Place>, CliError> {
        if let Some((line, place)) = self.given_back.take() {
            text.extend_from_slice(&line);
            return Ok(Some(place));
        }
        let start = text.len();
        loop {
            let at = match &mut self.at {
                Some(at) => at,
                None => match self.names.pop_front() {
                    None => return Ok(None),
                    Some(name) => {
                        let input = Input::open(&name, Arc::clone(&self.read_bytes))?;
                        self.at.insert(At { input, number: 0 })
                    }
                },
            };
            let read = at.input.reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', text);
            if read.map_err(|error| at.failed(&error))? == 0 {
                self.at = None;
                continue;
            }
            at.number += 1;
            let place = Place { file: Arc::clone(&at.input.name), line: at.number };
            let line = text.get(start..).unwrap_or_default();
            if line.len() as u64 > MAX_LINE_BYTES {
                return Err(CliError::new(
                    Exit::BadInput,
                    format!(
                        "{place}: expected a line of at most {} MiB, found a longer one",
                        MAX_LINE_BYTES >> 20
                    ),
                )
                .help("the input must be JSON Lines: one record a line"));
            }
            if at.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
                text.drain(start..start + 3);
            }
            if text.get(start..).is_some_and(|line| !line.trim_ascii().is_empty()) {
                return Ok(Some(place));
            }
            text.truncate(start);
        }
    }

    /// Makes a line that was just read the next one again.
    pub(crate) fn give_back(&mut self, line: Vec<u8>, place: Place) {
        self.given_back = Some((line, place));
    }
}

impl At {
    fn failed(&self, error: &io::Error) -> CliError {
        let (name, form, number) = (&self.input.name, self.input.form, self.number);
        let message = match number {
            0 => format!("read {name}: {form} input: {error}"),
            _ => format!("read {name}: {form} input, after line {number}: {error}"),
        };
        // The system says no, or what it gave is not what it seemed to be.
        match error.raw_os_error() {
            Some(_) => CliError::new(Exit::Failed, message),
            None => CliError::new(Exit::BadInput, message).help("the input is damaged or cut short"),
        }
    }
}

/// Lines, a batch's worth at a time.
pub(crate) struct Chunks {
    lines: Lines,
    batch: usize,
    next_ticket: u64,
    /// Read, and not part of a chunk yet.
    carried: Option<(Vec<u8>, Place)>,
}

impl Chunks {
    pub(crate) fn new(lines: Lines, batch: usize) -> Self {
        Chunks { lines, batch, next_ticket: 0, carried: None }
    }

    /// The next chunk: up to `batch` lines of one input. `None` at the end of the last.
    ///
    /// # Errors
    /// As [`Lines::next_line`]; the lines read for this chunk are then lost.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk>, CliError> {
        let mut chunk = Chunk { ticket: self.next_ticket, ..Chunk::default() };
        if let Some((line, place)) = self.carried.take() {
            chunk.text = line;
            chunk.ends.push((chunk.text.len(), place));
        }
        while chunk.ends.len() < self.batch {
            let start = chunk.text.len();
            let Some(place) = self.lines.next_line(&mut chunk.text)? else { break };
            let fits = chunk.text.len() <= CHUNK_BYTES
                && chunk.ends.last().is_none_or(|(_, last)| Arc::ptr_eq(&last.file, &place.file));
            if !fits && !chunk.ends.is_empty() {
                self.carried = Some((chunk.text.split_off(start), place));
                break;
            }
            chunk.ends.push((chunk.text.len(), place));
        }
        self.next_ticket += 1;
        Ok(Some(chunk).filter(|chunk| !chunk.ends.is_empty()))
    }
}
