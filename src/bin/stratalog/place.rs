//! The log a command works on.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use stratalog::{Error, Log, Options, StreamId};

use crate::failure::{CliError, Exit};
use crate::{collection, output};

/// A writer that has nothing to do witnesses its last commit after 50 ms, unless told otherwise.
const WITNESS_PAUSE: Duration = Duration::from_millis(120);

/// There is a log in `dir`, or at least something that opening it will judge. Commands that read
/// make no log: an empty directory is most likely not the one that was meant.
pub(crate) fn check_present(dir: &Path) -> Result<(), CliError> {
    let mut entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(no_log(format!("{} does not exist", dir.display())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(no_log(format!("{} is a file; a log is a directory", dir.display())));
        }
        Err(error) => return Err(CliError::io("open directory", dir, &error)),
    };
    match entries.next() {
        None => Err(no_log(format!("{} is empty: there is no log in it", dir.display()))),
        Some(_) => Ok(()),
    }
}

/// Every file in `dir` may be read: what may not is no damage.
pub(crate) fn check_readable(dir: &Path) -> Result<(), CliError> {
    let entries = std::fs::read_dir(dir).map_err(|error| CliError::io("open directory", dir, &error))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(CliError::io("open", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn no_log(found: String) -> CliError {
    CliError::new(Exit::NotALog, found).help("check --dir; `stratalog ingest` makes a log")
}

/// Opens the log in `dir` for reading: beside its writer, and changing nothing.
pub(crate) fn open_to_read(dir: &Path) -> Result<Log, CliError> {
    check_present(dir)?;
    Options::new().open_read_only(dir).map_err(|error| of(&error, dir))
}

/// Opens the log in `dir` for writing, which recovers it.
pub(crate) fn open_to_write(dir: &Path, options: &Options) -> Result<Log, CliError> {
    if std::fs::metadata(dir).is_ok_and(|known| !known.is_dir()) {
        return Err(no_log(format!("{} is a file; a log is a directory", dir.display())));
    }
    options.open(dir).map_err(|error| of(&error, dir))
}

fn of(error: &Error, dir: &Path) -> CliError {
    CliError::log(error, dir)
}

/// Whether the collection ever got a record, be it purged since.
pub(crate) fn has_collection(log: &Log, dir: &Path, stream: StreamId) -> Result<bool, CliError> {
    Ok(log.committed_stream(stream).map_err(|error| of(&error, dir))?.is_some())
}

/// A collection that is to lose something is one that there is.
pub(crate) fn expect_collection(log: &Log, dir: &Path, name: &str) -> Result<(), CliError> {
    if has_collection(log, dir, collection::stream(name))? {
        return Ok(());
    }
    let help = format!("`stratalog stat --streams --dir {}` lists those there are", dir.display());
    Err(CliError::new(Exit::Failed, format!("there is no collection {name:?} in this log")).help(help))
}

/// The segments of a log as they lie on the disk, and the bytes of them and their indexes.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) segments: BTreeSet<OsString>,
    pub(crate) bytes: u64,
}

impl Space {
    pub(crate) fn of(dir: &Path) -> Result<Space, CliError> {
        let failed = |error: &std::io::Error| CliError::io("list", dir, error);
        let mut space = Space { segments: BTreeSet::new(), bytes: 0 };
        for entry in std::fs::read_dir(dir).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let path = entry.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            if !matches!(kind, Some("segment" | "index")) {
                continue;
            }
            // Names come and go while a writer is at work.
            let Ok(known) = entry.metadata() else { continue };
            space.bytes += known.len();
            if kind == Some("segment") {
                space.segments.insert(entry.file_name());
            }
        }
        Ok(space)
    }
}

/// After a log opened for reading was read to its end: gives a writer the moment it needs to
/// witness its last commit. True if there is more to be read now.
pub(crate) fn wait_for_witness(log: &Log, dir: &Path) -> Result<bool, CliError> {
    if log.unwitnessed().map_err(|error| of(&error, dir))? == 0 {
        return Ok(false);
    }
    std::thread::sleep(WITNESS_PAUSE);
    log.refresh().map_err(|error| of(&error, dir))
}

/// Says what a log opened for reading does not show, if there is anything.
pub(crate) fn note_unwitnessed(log: &Log, dir: &Path) -> Result<(), CliError> {
    let hidden = log.unwitnessed().map_err(|error| of(&error, dir))?;
    if hidden > 0 {
        output::note(format!(
            "{} more records stand behind SeqId {} with nothing to witness that they are durable: \
             if no process is writing, `stratalog recover --dir {}` brings them back",
            output::count(hidden),
            log.committed(),
            dir.display()
        ));
    }
    Ok(())
}
