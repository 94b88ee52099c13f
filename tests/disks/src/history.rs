//! What a load said it was about to do, and what the log acknowledged, line by line.
//!
//! Each line is one write, said before the call (lower case) or after it returned (upper case). So at
//! any moment a log may hold what was acknowledged by then, must hold it, and may hold nothing that was
//! not announced.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::payload::BatchName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The log is open; this is its newest SeqId.
    Open {
        last: u64,
    },
    /// The log was closed, and said that it was closed cleanly.
    Closed,
    /// A batch is about to be appended.
    Append {
        batch: BatchName,
        count: u32,
        stream: u128,
    },
    /// It is acknowledged under these numbers.
    Appended {
        batch: BatchName,
        first_seq: u64,
        first_offset: u64,
    },
    /// A call of the log failed.
    Failed {
        poisoned: bool,
        why: String,
    },
    Cursor {
        stream: u128,
        seq: u64,
    },
    CursorStands {
        stream: u128,
        seq: u64,
    },
    Purge {
        stream: u128,
        seq: u64,
    },
    Purged {
        stream: u128,
        seq: u64,
    },
    /// A reader got this record.
    Seen {
        seq: u64,
    },
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Open { last } => write!(f, "O {last}"),
            Said::Closed => write!(f, "X"),
            Said::Append { batch: BatchName { producer, number }, count, stream } => {
                write!(f, "a {producer} {number} {count} {stream}")
            }
            Said::Appended { batch: BatchName { producer, number }, first_seq, first_offset } => {
                write!(f, "A {producer} {number} {first_seq} {first_offset}")
            }
            Said::Failed { poisoned, why } => {
                write!(f, "F {} {}", u8::from(*poisoned), why.replace('\n', " "))
            }
            Said::Cursor { stream, seq } => write!(f, "c {stream} {seq}"),
            Said::CursorStands { stream, seq } => write!(f, "C {stream} {seq}"),
            Said::Purge { stream, seq } => write!(f, "p {stream} {seq}"),
            Said::Purged { stream, seq } => write!(f, "P {stream} {seq}"),
            Said::Seen { seq } => write!(f, "R {seq}"),
        }
    }
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Said> {
        fn word<'a, T: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Result<T> {
            let text = words.next().context("expected another word")?;
            text.parse().ok().with_context(|| format!("expected a number, found {text:?}"))
        }
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let words = &mut words;
        Ok(match kind {
            "O" => Said::Open { last: word(words)? },
            "X" => Said::Closed,
            "a" => Said::Append {
                batch: BatchName { producer: word(words)?, number: word(words)? },
                count: word(words)?,
                stream: word(words)?,
            },
            "A" => Said::Appended {
                batch: BatchName { producer: word(words)?, number: word(words)? },
                first_seq: word(words)?,
                first_offset: word(words)?,
            },
            "F" => Said::Failed {
                poisoned: word::<u8>(words)? == 1,
                why: rest.split_once(' ').map_or("", |(_, why)| why).to_owned(),
            },
            "c" => Said::Cursor { stream: word(words)?, seq: word(words)? },
            "C" => Said::CursorStands { stream: word(words)?, seq: word(words)? },
            "p" => Said::Purge { stream: word(words)?, seq: word(words)? },
            "P" => Said::Purged { stream: word(words)?, seq: word(words)? },
            "R" => Said::Seen { seq: word(words)? },
            other => bail!("expected a line of a load, found one that begins with {other:?}"),
        })
    }
}

/// Where a load writes its lines.
#[derive(Debug)]
pub(crate) struct Voice {
    file: File,
}

impl Voice {
    pub(crate) fn open(path: &Path) -> Result<Voice> {
        let file = File::options().append(true).create(true).open(path);
        Ok(Voice { file: file.with_context(|| format!("open {}", path.display()))? })
    }

    /// One system call, which is not one that the log itself makes: `writev`.
    pub(crate) fn say(&self, said: &Said) -> Result<()> {
        let line = format!("{said}\n");
        let written = (&self.file).write_vectored(&[io::IoSlice::new(line.as_bytes())]).context("say")?;
        if written != line.len() {
            bail!("expected to write {} bytes of what was done, wrote {written}", line.len());
        }
        Ok(())
    }
}

/// The whole lines of a file of a load; what a kill cut off is not there.
pub(crate) fn read(path: &Path) -> Result<Vec<Said>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::parse).collect()
}

/// Acknowledged, and announced: a log must stand at or between the two.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) acknowledged: u64,
    pub(crate) announced: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) batch: BatchName,
    pub(crate) first_offset: u64,
}

/// All that was said up to some moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) opened: bool,
    /// Count and stream.
    pub(crate) submitted: HashMap<BatchName, (u32, u128)>,
    /// By first SeqId.
    pub(crate) acknowledged: BTreeMap<u64, Acknowledged>,
    pub(crate) cursors: HashMap<u128, Span>,
    pub(crate) purges: HashMap<u128, Span>,
    pub(crate) seen: u64,
    pub(crate) failures: Vec<(bool, String)>,
}

impl Known {
    pub(crate) fn from(said: &[Said]) -> Known {
        let mut known = Known::default();
        said.iter().for_each(|said| known.hear(said));
        known
    }

    pub(crate) fn hear(&mut self, said: &Said) {
        match said {
            Said::Open { .. } => self.opened = true,
            Said::Closed => {}
            Said::Append { batch, count, stream } => {
                self.submitted.insert(*batch, (*count, *stream));
            }
            Said::Appended { batch, first_seq, first_offset } => {
                let acknowledged = Acknowledged { batch: *batch, first_offset: *first_offset };
                self.acknowledged.insert(*first_seq, acknowledged);
            }
            Said::Failed { poisoned, why } => self.failures.push((*poisoned, why.clone())),
            Said::Cursor { stream, seq } => announce(&mut self.cursors, *stream, *seq),
            Said::CursorStands { stream, seq } => acknowledge(&mut self.cursors, *stream, *seq),
            Said::Purge { stream, seq } => announce(&mut self.purges, *stream, *seq),
            Said::Purged { stream, seq } => acknowledge(&mut self.purges, *stream, *seq),
            Said::Seen { seq } => self.seen = self.seen.max(*seq),
        }
    }
}

fn announce(spans: &mut HashMap<u128, Span>, stream: u128, seq: u64) {
    let span = spans.entry(stream).or_default();
    span.announced = span.announced.max(seq);
}

fn acknowledge(spans: &mut HashMap<u128, Span>, stream: u128, seq: u64) {
    let span = spans.entry(stream).or_default();
    span.acknowledged = span.acknowledged.max(seq);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_said() {
        let batch = BatchName { producer: 3, number: 4 };
        for said in [
            Said::Open { last: 5 },
            Said::Closed,
            Said::Append { batch, count: 2, stream: u128::MAX },
            Said::Appended { batch, first_seq: 8, first_offset: 9 },
            Said::Failed { poisoned: true, why: "write x: no space".into() },
            Said::Cursor { stream: 1, seq: 2 },
            Said::CursorStands { stream: 1, seq: 2 },
            Said::Purge { stream: 1, seq: 2 },
            Said::Purged { stream: 1, seq: 2 },
            Said::Seen { seq: 7 },
        ] {
            assert_eq!(said.to_string().parse::<Said>().unwrap(), said);
        }
        assert!("Z 1".parse::<Said>().is_err());
    }
}
