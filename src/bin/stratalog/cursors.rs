//! `cursors`: how far the consumers of a log have come.

use std::path::PathBuf;

use serde::Serialize;
use stratalog::{Cursor, Log, Options, SeqId, StreamId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::{collection, place};

const MAX_NAME_BYTES: usize = 255;

/// List the durable cursors of consumers, or move one.
///
/// A cursor at a SeqId says that its consumer has applied everything up to there; what no cursor of
/// a collection has still before it, `purge --passed` drops. The list reads beside a writer and
/// changes nothing; to move or drop a cursor takes the log's write lock.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Only this collection, by name or by UUID
    #[arg(long, value_name = "NAME|UUID")]
    collection: Option<String>,
    #[command(flatten)]
    change: Change,
    /// Where the cursor is to stand: all up to this SeqId is applied; 0 is before the first record
    #[arg(long, value_name = "SEQ", requires = "moved")]
    to: Option<u64>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Move a cursor forward, or make it
    #[arg(long, value_name = "NAME", group = "moved", value_parser = name, requires_all = ["to", "collection"])]
    advance: Option<String>,
    /// Set a cursor back
    #[arg(long, value_name = "NAME", group = "moved", value_parser = name, requires_all = ["to", "collection"])]
    rollback: Option<String>,
    /// Drop a cursor, which then holds up no purge any more
    #[arg(long, value_name = "NAME", value_parser = name, requires = "collection", conflicts_with = "moved")]
    drop: Option<String>,
}

/// The name of a cursor.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MAX_NAME_BYTES => Ok(text.to_owned()),
        found => Err(format!("expected a name of 1 to {MAX_NAME_BYTES} bytes, found {found}")),
    }
}

#[derive(Debug, Serialize)]
struct Figures {
    cursors: Vec<CursorFigures>,
}

#[derive(Debug, Serialize)]
struct CursorFigures {
    collection: String,
    name: String,
    seq_id: u64,
    log_offset: u64,
    records_behind: u64,
}

#[derive(Debug, Serialize)]
struct Dropped<'a> {
    collection: String,
    dropped: &'a str,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let Change { advance, rollback, drop } = &args.change;
    let stream = args.collection.as_deref().map(collection::stream);
    match (stream, advance, rollback, drop) {
        (Some(stream), Some(name), _, _) => {
            args.moved(out, stream, |log, to| log.advance_cursor(stream, name, to))
        }
        (Some(stream), _, Some(name), _) => {
            args.moved(out, stream, |log, to| log.rollback_cursor(stream, name, to))
        }
        (Some(stream), _, _, Some(name)) => args.dropped(out, stream, name),
        (stream, ..) => args.list(out, stream),
    }?;
    Ok(Exit::Fine)
}

impl Args {
    fn list(&self, out: &mut Output, stream: Option<StreamId>) -> Result<(), CliError> {
        let log = place::open_to_read(&self.dir)?;
        let found = stream.map_or_else(|| log.cursors(), |stream| log.cursors_of(stream));
        let mut cursors: Vec<CursorFigures> = Vec::new();
        let mut newest = (None, 0);
        for cursor in found {
            // They are sorted by stream, and one look at each is enough.
            if newest.0 != Some(cursor.stream) {
                newest = (Some(cursor.stream), self.newest(&log, cursor.stream)?);
            }
            cursors.push(CursorFigures::of(cursor, newest.1));
        }
        if cursors.is_empty()
            && let (Some(name), Some(stream)) = (&self.collection, stream)
            && !place::has_collection(&log, &self.dir, stream)?
        {
            output::note(collection::unknown(name, &self.dir));
        }
        let figures = Figures { cursors };
        if self.json {
            out.json(&figures)?
        } else {
            figures.tell(out)?
        }
        out.flush()?;
        place::note_unwitnessed(&log, &self.dir)
    }

    fn moved(
        &self,
        out: &mut Output,
        stream: StreamId,
        act: impl FnOnce(&Log, SeqId) -> stratalog::Result<Cursor>,
    ) -> Result<(), CliError> {
        let log = self.open_to_write()?;
        let cursor = act(&log, SeqId(self.to.unwrap_or_default()));
        let cursor = cursor.map_err(|error| CliError::log(&error, &self.dir))?;
        let figures = CursorFigures::of(cursor, self.newest(&log, stream)?);
        log.close().map_err(|error| CliError::log(&error, &self.dir))?;
        if self.json {
            return out.json(&figures);
        }
        out.line(format_args!(
            "cursor {} stands at SeqId {} (log_offset {}), {} records behind",
            figures.name,
            output::count(figures.seq_id),
            output::count(figures.log_offset),
            output::count(figures.records_behind)
        ))
    }

    fn dropped(&self, out: &mut Output, stream: StreamId, name: &str) -> Result<(), CliError> {
        let failed = |error| CliError::log(&error, &self.dir);
        let log = self.open_to_write()?;
        let existed = log.drop_cursor(stream, name).map_err(failed)?;
        log.close().map_err(failed)?;
        if !existed {
            return Err(failed(stratalog::Error::NoCursor { stream, name: name.to_owned() }));
        }
        match self.json {
            true => out.json(&Dropped { collection: stream.to_string(), dropped: name }),
            false => out.line(format_args!("cursor {name} is dropped")),
        }
    }

    fn open_to_write(&self) -> Result<Log, CliError> {
        place::check_present(&self.dir)?;
        place::open_to_write(&self.dir, &Options::new())
    }

    /// The newest log_offset of a stream.
    fn newest(&self, log: &Log, stream: StreamId) -> Result<u64, CliError> {
        let known = log.committed_stream(stream).map_err(|error| CliError::log(&error, &self.dir))?;
        Ok(known.map_or(0, |known| known.next_log_offset.0.saturating_sub(1)))
    }
}

impl Figures {
    fn tell(&self, out: &mut Output) -> Result<(), CliError> {
        if self.cursors.is_empty() {
            return out.line("there is no cursor");
        }
        out.line(format_args!(
            "{:<36}  {:<20} {:>14} {:>14} {:>15}",
            "collection", "cursor", "SeqId", "log_offset", "records behind"
        ))?;
        for CursorFigures { collection, name, seq_id, log_offset, records_behind } in &self.cursors {
            out.line(format_args!(
                "{collection:<36}  {name:<20} {seq_id:>14} {log_offset:>14} {records_behind:>15}"
            ))?;
        }
        Ok(())
    }
}

impl CursorFigures {
    fn of(cursor: Cursor, newest: u64) -> Self {
        CursorFigures {
            collection: cursor.stream.to_string(),
            name: cursor.name,
            seq_id: cursor.seq_id.0,
            log_offset: cursor.log_offset.0,
            records_behind: newest.saturating_sub(cursor.log_offset.0),
        }
    }
}
