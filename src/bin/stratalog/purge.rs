//! `purge`: gives back the space of what nobody needs any more.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stratalog::{Options, PurgePoint, SeqId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place::Space;
use crate::{collection, place};

/// Drop a collection's records up to a SeqId, and give back the segments in which nothing is left.
///
/// Never beyond a cursor of the collection. A segment goes when no collection has anything left in
/// it; `stat --segments` shows what holds each. Takes the log's write lock.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("upto").required(true))]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The collection, by name or by UUID
    #[arg(long, value_name = "NAME|UUID")]
    collection: String,
    /// The last SeqId that goes
    #[arg(long, value_name = "SEQ", group = "upto")]
    to: Option<u64>,
    /// What every cursor of the collection has passed; nothing if it has none
    #[arg(long, group = "upto")]
    passed: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    collection: String,
    /// Everything up to here is gone; `null` if nothing ever was purged.
    purged_to_seq_id: Option<u64>,
    purged_to_log_offset: Option<u64>,
    /// By this call.
    purged_records: u64,
    #[serde(flatten)]
    freed: Freed,
}

/// What became of the segments, with their indexes.
#[derive(Debug, Serialize)]
pub(crate) struct Freed {
    freed_segments: u64,
    segments_before: usize,
    segments_after: usize,
    bytes_before: u64,
    bytes_after: u64,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    place::check_present(&args.dir)?;
    let failed = |error| CliError::log(&error, &args.dir);
    let stream = collection::stream(&args.collection);
    let before = Space::of(&args.dir)?;
    let log = place::open_to_write(&args.dir, &Options::new())?;
    place::expect_collection(&log, &args.dir, &args.collection)?;
    let known = log.purge_point(stream);
    if args.passed && log.cursors_of(stream).is_empty() {
        output::note(format!("collection {} has no cursor, so nothing is passed", args.collection));
    }
    let purged = match args.to {
        Some(to) => log.purge(stream, SeqId(to)).map(|_| ()),
        None => log.purge_passed(stream).map(|_| ()),
    };
    let point = purged.map(|()| log.purge_point(stream));
    // It gives up the lock and settles the log, also if it was not purged.
    let closed = log.close();
    let point = point.map_err(failed)?;
    closed.map_err(failed)?;
    let offset = |point: Option<PurgePoint>| point.map_or(0, |point| point.log_offset.0);
    let figures = Figures {
        collection: stream.to_string(),
        purged_to_seq_id: point.map(|point| point.seq_id.0),
        purged_to_log_offset: point.map(|point| point.log_offset.0),
        purged_records: offset(point).saturating_sub(offset(known)),
        freed: Freed::between(&before, &Space::of(&args.dir)?),
    };
    if args.json {
        out.json(&figures)?
    } else {
        figures.tell(out, &args.collection, &args.dir)?
    }
    Ok(Exit::Fine)
}

impl Figures {
    fn tell(&self, out: &mut Output, name: &str, dir: &Path) -> Result<(), CliError> {
        match self.purged_to_seq_id {
            None => out.line(format_args!("purged   nothing of {name}")),
            Some(seq_id) => out.line(format_args!(
                "purged   {name} up to SeqId {}: {} records more are gone, {} in all",
                output::count(seq_id),
                output::count(self.purged_records),
                output::count(self.purged_to_log_offset.unwrap_or_default())
            )),
        }?;
        self.freed.tell(out, dir)
    }
}

impl Freed {
    pub(crate) fn between(before: &Space, after: &Space) -> Self {
        Freed {
            freed_segments: before.segments.difference(&after.segments).count() as u64,
            segments_before: before.segments.len(),
            segments_after: after.segments.len(),
            bytes_before: before.bytes,
            bytes_after: after.bytes,
        }
    }

    pub(crate) fn tell(&self, out: &mut Output, dir: &Path) -> Result<(), CliError> {
        let Freed { freed_segments, segments_before, segments_after, .. } = self;
        let (before, after) = (output::bytes(self.bytes_before), output::bytes(self.bytes_after));
        if *freed_segments == 0 {
            return out.line(format_args!(
                "freed    no segment: `stratalog stat --segments --dir {}` shows what holds each",
                dir.display()
            ));
        }
        out.line(format_args!(
            "freed    {freed_segments} segments: {before} in {segments_before} of them before, {after} in {segments_after} now"
        ))
    }
}
