//! `delete`: drops a collection.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stratalog::{Log, Options, StreamId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place::Space;
use crate::purge::Freed;
use crate::{collection, place};

/// Drop a collection: every record of it, and its cursors.
///
/// Its numbers are not given out again: they go on if it is written to later. Without --yes it
/// says what it would drop and changes nothing; with it, it takes the log's write lock.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The collection, by name or by UUID
    #[arg(long, value_name = "NAME|UUID")]
    collection: String,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// False: this is what would be dropped.
    done: bool,
    collection: String,
    records: u64,
    cursors: Vec<String>,
    last_seq_id: u64,
    #[serde(flatten)]
    freed: Option<Freed>,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    place::check_present(&args.dir)?;
    let failed = |error| CliError::log(&error, &args.dir);
    let stream = collection::stream(&args.collection);
    let before = Space::of(&args.dir)?;
    let log = match args.yes {
        true => place::open_to_write(&args.dir, &Options::new())?,
        false => place::open_to_read(&args.dir)?,
    };
    place::expect_collection(&log, &args.dir, &args.collection)?;
    let mut figures = Figures::of(&log, stream, &args)?;
    if args.yes {
        let deleted = log.delete_stream(stream);
        let closed = log.close();
        deleted.and(closed).map_err(failed)?;
        figures.freed = Some(Freed::between(&before, &Space::of(&args.dir)?));
    }
    if args.json {
        out.json(&figures)?
    } else {
        figures.tell(out, &args.collection, &args.dir)?
    }
    Ok(Exit::Fine)
}

impl Figures {
    fn of(log: &Log, stream: StreamId, args: &Args) -> Result<Self, CliError> {
        let known = log.committed_stream(stream).map_err(|error| CliError::log(&error, &args.dir))?;
        let purged = log.purge_point(stream).map_or(0, |point| point.log_offset.0);
        Ok(Figures {
            done: args.yes,
            collection: stream.to_string(),
            records: known.map_or(0, |known| known.next_log_offset.0 - 1).saturating_sub(purged),
            cursors: log.cursors_of(stream).into_iter().map(|cursor| cursor.name).collect(),
            last_seq_id: known.map_or(0, |known| known.last_seq_id.0),
            freed: None,
        })
    }

    fn tell(&self, out: &mut Output, name: &str, dir: &Path) -> Result<(), CliError> {
        let verb = if self.done { "dropped" } else { "would drop" };
        let cursors = match self.cursors.as_slice() {
            [] => "no cursor".to_owned(),
            cursors => format!("the cursors {}", cursors.join(", ")),
        };
        out.line(format_args!(
            "{verb}  {} records of {name}, up to SeqId {}, and {cursors}",
            output::count(self.records),
            output::count(self.last_seq_id)
        ))?;
        match &self.freed {
            Some(freed) => freed.tell(out, dir),
            None => out.line(format_args!(
                "nothing was changed: `stratalog delete --dir {} --collection {name} --yes` does it",
                dir.display()
            )),
        }
    }
}
