//! A file of records that is its consumer's whole state: how far it came is what its last line says.

use std::fs::{File, TryLockError};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stratalog::{LogOffset, SeqId, StreamId};

use crate::failure::{CliError, Exit};
use crate::output;

/// How much of the end is looked at, at first.
const WINDOW_BYTES: u64 = 1 << 20;

/// Appended to, a batch at a time.
pub(super) struct ConsumerFile {
    path: PathBuf,
    /// Locked as long as it is open.
    file: BufWriter<File>,
}

/// The last record of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) seq_id: SeqId,
    pub(super) log_offset: LogOffset,
}

/// What its lines say of themselves.
#[derive(Deserialize)]
struct Line {
    collection: String,
    seq_id: u64,
    log_offset: u64,
}

/// What stands at the end of a file.
#[derive(Debug, PartialEq, Eq)]
struct Tail {
    last: Option<Last>,
    /// Where the last whole record ends.
    end: u64,
}

impl ConsumerFile {
    /// Opens or makes the file, and cuts what is unfinished at its end. Everything up to `synced`
    /// was synced by an earlier run, so what is no record behind that was on its way when the
    /// process or the machine went down.
    ///
    /// # Errors
    /// The system's; another process has it open; it holds something else than records of `stream`.
    pub(super) fn open(
        path: &Path,
        stream: StreamId,
        synced: Option<SeqId>,
    ) -> Result<(Self, Option<Last>), CliError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| CliError::io(&what, path, &error)
        };
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(failed("open"))?;
        if !file.metadata().map_err(failed("stat"))?.is_file() {
            return Err(CliError::new(Exit::Usage, format!("{} is no regular file", path.display()))
                .help("leave --output away to write to standard output, a pipe or a terminal"));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::new(
                    Exit::Failed,
                    format!("{} is being written by another process", path.display()),
                )
                .help("give each subscriber a file of its own"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let size = file.metadata().map_err(failed("stat"))?.len();
        let tail = tail(&mut file, size, stream, synced.unwrap_or_default())
            .map_err(failed("read"))?
            .map_err(|found| {
                let expected = format!("records of collection {stream} as `subscribe` writes them");
                CliError::new(Exit::Failed, format!("{}: expected {expected}, found {found}", path.display()))
                    .help("nothing was changed; name a file of its own with --output")
            })?;
        if tail.end < size {
            let cut = output::bytes(size - tail.end);
            output::note(format!("{cut} of an unfinished write were cut from {}", path.display()));
            file.set_len(tail.end).map_err(failed("cut"))?;
        }
        file.seek(SeekFrom::Start(tail.end)).map_err(failed("seek in"))?;
        // The file itself must be as durable as what a cursor will say of it.
        file.sync_all().map_err(failed("sync"))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new(".")));
        parent.and_then(|parent| parent.sync_all()).map_err(failed("sync the directory of"))?;
        Ok((
            ConsumerFile { path: path.to_owned(), file: BufWriter::with_capacity(64 << 10, file) },
            tail.last,
        ))
    }

    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), CliError> {
        self.file.write_all(line).map_err(|error| CliError::io("write", &self.path, &error))
    }

    /// Makes what was written durable.
    pub(super) fn commit(&mut self) -> Result<(), CliError> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        flushed.map_err(|error| CliError::io("write", &self.path, &error))
    }
}

/// Finds the last whole record. The inner error says what stands there instead.
fn tail(
    file: &mut (impl Read + Seek),
    size: u64,
    stream: StreamId,
    synced: SeqId,
) -> std::io::Result<Result<Tail, String>> {
    let mut window = WINDOW_BYTES;
    loop {
        let from = size.saturating_sub(window);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(size - from).read_to_end(&mut bytes)?;
        let enough = |first: &Line| from == 0 || first.seq_id <= synced.0 || synced.0 == 0;
        match read_lines(&bytes, from, stream, synced, enough) {
            Some(found) => return Ok(found),
            None => window = window.saturating_mul(4),
        }
    }
}

/// Goes through the lines of the file's end, which is at `from`; `None` if more of it is needed.
fn read_lines(
    bytes: &[u8],
    from: u64,
    stream: StreamId,
    synced: SeqId,
    enough: impl Fn(&Line) -> bool,
) -> Option<Result<Tail, String>> {
    let mut tail = Tail { last: None, end: from };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    if from > 0 {
        tail.end += lines.next()?.len() as u64;
    }
    for text in lines {
        let line: Option<Line> = text.strip_suffix(b"\n").and_then(|text| serde_json::from_slice(text).ok());
        match (line, tail.last) {
            (Some(line), _) if line.collection != stream.to_string() => {
                return Some(Err(format!("a record of collection {}", line.collection)));
            }
            (Some(line), None) if !enough(&line) => return None,
            (Some(line), last) if last.is_none_or(|last| last.seq_id.0 < line.seq_id) => {
                tail.last = Some(Last { seq_id: SeqId(line.seq_id), log_offset: LogOffset(line.log_offset) });
                tail.end += text.len() as u64;
            }
            // What is no record was never synced as one.
            (_, Some(last)) if last.seq_id >= synced || !text.ends_with(b"\n") => return Some(Ok(tail)),
            (_, None) if from > 0 => return None,
            (_, None) if unfinished(text) => return Some(Ok(tail)),
            _ => return Some(Err(format!("something else at position {}", tail.end))),
        }
    }
    match tail.last {
        None if from > 0 => None,
        _ => Some(Ok(tail)),
    }
}

/// The first line there ever was, cut off; or what a file system shows of a write that never came.
fn unfinished(text: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"collection\":";
    !text.ends_with(b"\n")
        && (text.starts_with(BEGINNING) || BEGINNING.starts_with(text) || text.iter().all(|byte| *byte == 0))
}
