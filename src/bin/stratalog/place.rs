//! The log a command works on.

use std::path::Path;
use std::time::Duration;

use stratalog::{Error, Log, Options};

use crate::failure::{CliError, Exit};
use crate::output;

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
