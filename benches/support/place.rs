//! Where files are made: on a real disk, and said which.

use std::fmt;
use std::path::{Path, PathBuf};

/// Names the directory; without it, `bench-data` in Cargo's target directory.
pub(crate) const VARIABLE: &str = "STRATALOG_BENCH_DIR";

/// With any value: files in memory are meant.
const IN_MEMORY_IS_MEANT: &str = "STRATALOG_BENCH_IN_MEMORY";

/// What keeps files in memory, where a sync costs nothing and says nothing.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// A directory, and what is below it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) file_system: String,
    pub(crate) device: String,
    pub(crate) kernel: String,
}

impl Place {
    /// Made if it isn't there.
    ///
    /// # Errors
    /// A directory that can't be made, or one in memory that isn't said to be meant.
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Place, String> {
        let asked = given.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        let directory = asked.unwrap_or_else(|| target_directory().join("bench-data"));
        let directory = std::fs::create_dir_all(&directory)
            .and_then(|()| directory.canonicalize())
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let (file_system, device) = mounted_at(&directory).unwrap_or_else(|| ("?".into(), "?".into()));
        if IN_MEMORY.contains(&file_system.as_str()) && std::env::var_os(IN_MEMORY_IS_MEANT).is_none() {
            return Err(format!(
                "{}: expected a directory on a disk, found {file_system}, which is memory; \
                 name another one with {VARIABLE}, or say that this one is meant with {IN_MEMORY_IS_MEANT}=1",
                directory.display()
            ));
        }
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "?".into());
        Ok(Place { directory, file_system, device, kernel: kernel.trim().to_owned() })
    }

    /// A fresh directory in it, removed with the value.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn fresh(&self) -> std::io::Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.directory)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { directory, file_system, device, kernel } = self;
        write!(f, "in {}: {file_system} on {device}, kernel {kernel}", directory.display())
    }
}

/// The program lies in it; Cargo leaves a mark there.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|above| above.join("CACHEDIR.TAG").exists());
    marked.unwrap_or_else(|| Path::new("target")).to_owned()
}

/// File system and device of the innermost mount that holds `directory`.
fn mounted_at(directory: &Path) -> Option<(String, String)> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let parse = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        // Blanks in a name stand as octal numbers; such a mount is passed over for the one around it.
        let point = PathBuf::from(mount.split(' ').nth(4)?);
        let mut source = source.split(' ');
        let found = (source.next()?.to_owned(), source.next()?.to_owned());
        directory.starts_with(&point).then(|| (point.components().count(), found))
    };
    // Of several on one point the last one is seen.
    mounts.lines().filter_map(parse).max_by_key(|(depth, _)| *depth).map(|(_, found)| found)
}
