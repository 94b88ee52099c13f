//! How a command ends: its exit code, and where it failed one line that says what went wrong and
//! one that says what to do.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use stratalog::Error;

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Fine = 0,
    Failed = 1,
    Usage = 2,
    BadInput = 3,
    Damaged = 4,
    Locked = 5,
    NotALog = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

const CAUSE: &str = "run it again once the cause is gone; what was acknowledged is there";

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum CliError {
    Failed(Box<Failure>),
    /// Standard output was closed by the one who read it: an end like any other.
    NobodyReads,
}

/// What went wrong, in one line, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        CliError::Failed(Box::new(Failure { exit, message: message.into(), help: None }))
    }

    /// With what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        if let CliError::Failed(failure) = &mut self {
            failure.help = Some(help.into());
        }
        self
    }

    /// With more on what to do about it.
    pub(crate) fn and_help(mut self, more: impl Into<String>) -> Self {
        if let CliError::Failed(failure) = &mut self {
            let more = more.into();
            failure.help =
                Some(failure.help.take().map_or_else(|| more.clone(), |help| format!("{help}; {more}")));
        }
        self
    }

    /// With what it is about in front.
    pub(crate) fn about(mut self, what: impl std::fmt::Display) -> Self {
        if let CliError::Failed(failure) = &mut self {
            failure.message = format!("{what}: {}", failure.message);
        }
        self
    }

    /// A failed call of the system on a file that is not the log's.
    pub(crate) fn io(operation: &str, path: &Path, error: &io::Error) -> Self {
        let failed = CliError::new(Exit::Failed, format!("{operation} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => failed.help("check the path"),
            io::ErrorKind::PermissionDenied => failed.help("check who may read and write there"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failed.help("make room and run it again")
            }
            _ => failed.help(CAUSE),
        }
    }

    /// A failure of the log in `dir`.
    pub(crate) fn log(error: &Error, dir: &Path) -> Self {
        let shown = dir.display();
        match error {
            Error::Locked { directory, pid } => {
                let holder = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                CliError::new(Exit::Locked, format!("{directory} is open for writing in {holder}"))
                    .help("a log has one writer: stop that process, or only read (cat, tail, stat)")
            }
            Error::NotALog { directory, found } => CliError::new(
                Exit::NotALog,
                format!(
                    "{directory} is not a log: expected an empty directory or files of a log, found {found}"
                ),
            )
            .help("nothing was touched; name another directory with --dir"),
            Error::Version { file, found, supported } => CliError::new(
                Exit::NotALog,
                format!("{file} has format version {found}, this build reads up to {supported}"),
            )
            .help("nothing was touched; use a newer build"),
            Error::Corrupt(_) => CliError::new(Exit::Damaged, error.to_string())
                .help(format!("`stratalog verify --dir {shown}` lists all that is damaged")),
            Error::Poisoned(cause) => CliError::new(
                Exit::Failed,
                format!("the log stopped, and acknowledges nothing more: {cause}"),
            )
            .help(format!(
                "`stratalog recover --dir {shown}` shows what is on the disk, once the cause is gone"
            )),
            Error::Io { operation, file, source } => {
                let failed = CliError::new(Exit::Failed, format!("{operation} {file}: {source}"));
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        failed.help("make room; what was acknowledged is there")
                    }
                    io::ErrorKind::PermissionDenied => failed.help("check who may read and write there"),
                    _ => failed.help(CAUSE),
                }
            }
            Error::Limit { .. } => CliError::new(Exit::BadInput, error.to_string()),
            Error::Invalid(_) => CliError::new(Exit::Usage, error.to_string())
                .help(format!("`stratalog stat --dir {shown}` shows where the log stands")),
            Error::Held { .. } => CliError::new(Exit::Failed, error.to_string()).help(format!(
                "nothing was purged; `stratalog cursors --dir {shown}` shows every cursor, and what is behind it"
            )),
            Error::NoCursor { .. } => CliError::new(Exit::Failed, error.to_string())
                .help(format!("`stratalog cursors --dir {shown}` lists those there are")),
            Error::Purged { seq_id, .. } => CliError::new(Exit::Failed, error.to_string())
                .help(format!("begin at SeqId {} or behind it", seq_id.next())),
            _ => CliError::new(Exit::Failed, error.to_string()),
        }
    }
}
