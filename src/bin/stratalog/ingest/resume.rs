//! What an ingest leaves to the one that resumes it.
//!
//! Before the first batch a small file in the log's directory says where the log stood and what
//! was about to be read; when all of it is durable, the file says so. A run that was killed in
//! between, also right before it could tell that it was done, is told from a complete one by
//! this alone, so the file is not removed but replaced by the next run's. What was committed since
//! is a prefix of the input, as the pipeline submits in order; [`super::compare`] checks that.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use stratalog::SeqId;

use crate::failure::{CliError, Exit};

pub(crate) const FILE: &str = "ingest.resume";
const TEMPORARY: &str = "ingest.resume.tmp";
const VERSION: u32 = 1;
/// What the file can be at most; far more than any command line.
const MAX_BYTES: u64 = 16 << 20;

pub(super) const START_ANEW: &str = "or start anew with --forget-interrupted, which keeps what is in the log";

/// What is known of the last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    version: u32,
    /// The newest SeqId before the run.
    pub(crate) committed: u64,
    /// The newest SeqId after it, once all of it was written.
    pub(crate) complete: Option<u64>,
    /// The inputs, in order, as they were named.
    pub(crate) inputs: Vec<InputState>,
    /// `--collection`.
    pub(crate) collection: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputState {
    pub(crate) name: String,
    /// Of a regular file.
    pub(crate) bytes: Option<u64>,
}

impl State {
    pub(crate) fn new(committed: SeqId, inputs: Vec<InputState>, collection: Option<String>) -> Self {
        State { version: VERSION, committed: committed.0, complete: None, inputs, collection }
    }

    /// The same run, begun when the log stood at `committed`.
    pub(crate) fn begun_at(self, committed: u64) -> Self {
        State { committed, ..self }
    }

    /// The same run, all of it written.
    pub(crate) fn completed_at(&self, committed: SeqId) -> Self {
        State { complete: Some(committed.0), ..self.clone() }
    }

    /// What the last run left in `dir`, if there was one.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    pub(crate) fn load(dir: &Path) -> Result<Option<State>, CliError> {
        let path = dir.join(FILE);
        let bytes = match fs::metadata(&path) {
            Ok(known) if known.len() > MAX_BYTES => vec![],
            Ok(_) => fs::read(&path).map_err(|error| CliError::io("read", &path, &error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::io("read", &path, &error)),
        };
        let state: Result<State, _> = serde_json::from_slice(&bytes);
        match state {
            Ok(state) if state.version == VERSION => Ok(Some(state)),
            Ok(State { version, .. }) => Err(CliError::new(
                Exit::NotALog,
                format!("{} has version {version}, this build reads {VERSION}", path.display()),
            )
            .help("use the build that was interrupted")),
            Err(error) => {
                let message = format!("{} does not say what was interrupted: {error}", path.display());
                Err(CliError::new(Exit::Failed, message).help(
                    "look what is in the log with `stratalog cat`, then start with --forget-interrupted",
                ))
            }
        }
    }

    /// Makes the state durable in `dir`.
    ///
    /// # Errors
    /// The system's; nothing is left behind then.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), CliError> {
        let (temporary, path) = (dir.join(TEMPORARY), dir.join(FILE));
        let written = (|| {
            let mut text = serde_json::to_vec(self)?;
            text.push(b'\n');
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_directory(dir)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            CliError::io("write", &path, &error)
        })
    }

    /// Removes what a run left in `dir`, durably; nothing there is no error.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn remove(dir: &Path) -> Result<(), CliError> {
        let path = dir.join(FILE);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_directory(dir),
        };
        removed.map_err(|error| CliError::io("remove", &path, &error))
    }

    /// A run was interrupted and this one does not go on with it.
    pub(crate) fn refuse(&self, dir: &Path) -> CliError {
        let inputs = self.names().join(" ");
        CliError::new(Exit::Usage, format!("an ingest of {inputs} into {} was interrupted", dir.display()))
            .help(format!("give the same inputs with --resume to go on with it, {START_ANEW}"))
    }

    /// The command line of this run is the one of that other.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn check_same(&self, now: &State) -> Result<(), CliError> {
        let other = |what: &str, was: String, is: String| {
            CliError::new(Exit::Usage, format!("the interrupted run had {what} {was}, this one has {is}"))
                .help(format!("resume with what it had, {START_ANEW}"))
        };
        if self.names() != now.names() {
            return Err(other("the inputs", self.names().join(" "), now.names().join(" ")));
        }
        if self.collection != now.collection {
            let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
            return Err(other("--collection", shown(&self.collection), shown(&now.collection)));
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.name.clone()).collect()
    }
}

fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
