//! The directory it all happens in.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{CliError, Exit};
use crate::output;

/// What all files together can come to.
const NEEDED_BYTES: u64 = 1 << 30;
const PREFIX: &str = "stratalog-bench-";

/// A directory of its own; removed when it is dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Ground {
    path: PathBuf,
    keep: bool,
}

/// `dir` is a directory, no log, and has room.
pub(super) fn check(dir: &Path) -> Result<(), CliError> {
    let usage = |found: String| {
        CliError::new(Exit::Usage, found).help("name a directory on the disk to measure with --dir")
    };
    let expected = |found| usage(format!("--dir: expected a directory, found {found}: {}", dir.display()));
    match fs::metadata(dir) {
        Ok(known) if known.is_dir() => {}
        Ok(_) => return Err(expected("a file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(expected("nothing")),
        Err(error) => return Err(CliError::io("open directory", dir, &error)),
    }
    for entry in fs::read_dir(dir).map_err(|error| CliError::io("open directory", dir, &error))? {
        let entry = entry.map_err(|error| CliError::io("list", dir, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".segment") || name == "LOCK" {
            return Err(usage(format!(
                "--dir: expected a directory without a log, found {name} in {}: a log has its directory to itself",
                dir.display()
            )));
        }
        if name.starts_with(PREFIX) {
            output::note(format!(
                "{} is of another run of this command; if none is at work, it was killed, and its files may go",
                entry.path().display()
            ));
        }
    }
    let room = rustix::fs::statvfs(dir)
        .map(|facts| facts.f_bavail.saturating_mul(facts.f_frsize))
        .map_err(|error| CliError::io("look for room in", dir, &error.into()))?;
    if room < NEEDED_BYTES {
        let (needed, room) = (output::bytes(NEEDED_BYTES), output::bytes(room));
        let found = format!("expected {needed} free in {}, found {room}", dir.display());
        return Err(
            CliError::new(Exit::Failed, found).help("make room, or name another directory with --dir")
        );
    }
    Ok(())
}

impl Ground {
    pub(super) fn new(dir: &Path, keep: bool) -> Result<Ground, CliError> {
        let failed = |path: &Path, error: std::io::Error| CliError::io("create directory", path, &error);
        for number in 0u32.. {
            let path = dir.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Ground { path, keep }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Err(failed(dir, std::io::ErrorKind::AlreadyExists.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All is measured.
    pub(super) fn leave(self) {
        if self.keep {
            output::note(format!("the files are in {}", self.path.display()));
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            output::note(format!("remove {} by hand: {error}", self.path.display()));
        }
    }
}
