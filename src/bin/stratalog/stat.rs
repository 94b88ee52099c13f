//! `stat`: figures of a log, read from outside.

mod segments;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use stratalog::{DirectoryStats, Error, Log, LogStats, SegmentLife, StreamStats};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place;
use segments::SegmentFigures;

/// A purge beside it may take a file away between two looks.
const TRIES: u32 = 5;

/// Show streams, segments, watermarks, bytes, the checkpoint, and what holds the segments.
///
/// Live bytes are those of batches with a record that is not purged. Reads beside a writer, and
/// changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A line for each stream as well
    #[arg(long)]
    streams: bool,
    /// A line for each segment as well: its live and dead bytes, and what holds it
    #[arg(long)]
    segments: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    committed: u64,
    durable: u64,
    /// Whole in the files behind `committed`, with nothing to witness that they are durable.
    unwitnessed_records: u64,
    streams: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_list: Option<Vec<StreamFigures>>,
    segments: Vec<SegmentFigures>,
    segment_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    cursors: usize,
    purge_points: Vec<PurgeFigures>,
    checkpoint: Option<CheckpointFigures>,
    damaged_checkpoints: Vec<String>,
    bytes_since_checkpoint: u64,
    spare_bytes: u64,
    index_files: usize,
    index_bytes: u64,
    aside: Vec<FileFigures>,
    other_files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StreamFigures {
    stream: String,
    /// It ever got.
    records: u64,
    /// Of them, not purged.
    live_records: u64,
    first_seq_id: u64,
    last_seq_id: u64,
}

#[derive(Debug, Serialize)]
struct PurgeFigures {
    stream: String,
    seq_id: u64,
    log_offset: u64,
}

/// What was found in one look.
struct Found {
    stats: LogStats,
    life: Vec<SegmentLife>,
    directory: DirectoryStats,
    streams: Vec<StreamStats>,
}

#[derive(Debug, Serialize)]
struct CheckpointFigures {
    file: String,
    generation: u64,
    last_seq_id: u64,
    clean: bool,
    /// Since the file was written, by its time of modification.
    age_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct FileFigures {
    file: String,
    bytes: u64,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let mut tries = 1;
    let (log, found) = loop {
        let log = place::open_to_read(&args.dir)?;
        match Found::of(&log) {
            Ok(found) => break (log, found),
            Err(Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES =>
            {
                tries += 1;
            }
            Err(error) => return Err(CliError::log(&error, &args.dir)),
        }
    };
    let figures = Figures::of(&args, &log, found);
    if args.json {
        out.json(&figures)?;
    } else {
        figures.tell(out, &args)?;
    }
    Ok(Exit::Fine)
}

impl Found {
    fn of(log: &Log) -> stratalog::Result<Found> {
        Ok(Found {
            stats: log.stats()?,
            life: log.segment_life()?,
            directory: log.directory()?,
            streams: log.committed_streams()?,
        })
    }
}

impl Figures {
    fn of(args: &Args, log: &Log, found: Found) -> Self {
        let Found { stats, life, directory, streams } = found;
        let segments = segments::figures(log, &stats, life, &directory);
        let purged = streams.iter().filter_map(|stream| {
            let point = log.purge_point(stream.stream)?;
            let (seq_id, log_offset) = (point.seq_id.0, point.log_offset.0);
            Some(PurgeFigures { stream: stream.stream.to_string(), seq_id, log_offset })
        });
        Figures {
            committed: stats.committed.0,
            durable: stats.durable.0,
            unwitnessed_records: stats.appended.0.saturating_sub(stats.committed.0),
            streams: streams.len(),
            purge_points: purged.collect(),
            stream_list: args
                .streams
                .then(|| streams.iter().map(|stream| StreamFigures::of(stream, log)).collect()),
            segment_bytes: stats.segments.iter().map(|segment| segment.file_bytes).sum(),
            live_bytes: segments.iter().map(|segment| segment.live_bytes).sum(),
            dead_bytes: segments.iter().map(|segment| segment.dead_bytes).sum(),
            segments,
            cursors: log.cursors().len(),
            checkpoint: directory.checkpoint.map(|checkpoint| CheckpointFigures {
                age_seconds: age_seconds(&args.dir.join(&checkpoint.file.name)),
                file: checkpoint.file.name,
                generation: checkpoint.generation,
                last_seq_id: checkpoint.last_seq_id.0,
                clean: checkpoint.clean,
            }),
            damaged_checkpoints: directory.damaged_checkpoints,
            bytes_since_checkpoint: stats.bytes_since_checkpoint,
            spare_bytes: directory.spare.iter().chain(&directory.free).map(|file| file.bytes).sum(),
            index_files: directory.indexes.len(),
            index_bytes: directory.indexes.iter().map(|file| file.bytes).sum(),
            aside: directory
                .aside
                .into_iter()
                .map(|f| FileFigures { file: f.name, bytes: f.bytes })
                .collect(),
            other_files: directory.foreign,
        }
    }

    fn tell(&self, out: &mut Output, args: &Args) -> Result<(), CliError> {
        let bytes = output::bytes;
        let row = |name: &str, value: String| format!("{name:<13}{value}");
        out.line(row("log", args.dir.display().to_string()))?;
        out.line(row(
            "watermarks",
            format!("committed {}, durable {}", output::count(self.committed), output::count(self.durable)),
        ))?;
        if self.unwitnessed_records > 0 {
            let hidden = output::count(self.unwitnessed_records);
            out.line(row("", format!("{hidden} records behind them wait for a witness, or for `recover`")))?;
        }
        let purged = match self.purge_points.len() {
            0 => String::new(),
            purged => format!(", {} of them purged", output::count(purged as u64)),
        };
        out.line(row("streams", format!("{}{purged}", output::count(self.streams as u64))))?;
        out.line(row("cursors", output::count(self.cursors as u64)))?;
        out.line(row("segments", format!("{}, {}", self.segments.len(), bytes(self.segment_bytes))))?;
        out.line(row("bytes", format!("live {}, dead {}", bytes(self.live_bytes), bytes(self.dead_bytes))))?;
        if let Some(oldest) = self.segments.iter().find(|segment| segment.is_held()) {
            out.line(row("held", format!("{}: {}", oldest.file, oldest.held())))?;
        }
        out.line(row(
            "checkpoint",
            self.checkpoint.as_ref().map_or("none yet".into(), CheckpointFigures::words),
        ))?;
        for damaged in &self.damaged_checkpoints {
            out.line(row("", format!("damaged: {damaged}")))?;
        }
        let scan = bytes(self.bytes_since_checkpoint);
        out.line(row("recovery", format!("would scan {scan} behind the checkpoint")))?;
        out.line(row("indexes", format!("{}, {}", self.index_files, bytes(self.index_bytes))))?;
        let spare = if self.spare_bytes > 0 { bytes(self.spare_bytes) } else { "none".into() };
        out.line(row("spare", spare))?;
        let none = if self.aside.is_empty() { "nothing" } else { "" };
        let aside: Vec<String> =
            self.aside.iter().map(|f| format!("{} ({})", f.file, bytes(f.bytes))).collect();
        out.line(row("set aside", format!("{none}{}", aside.join(", "))))?;
        if !self.other_files.is_empty() {
            out.line(row("other files", self.other_files.join(", ")))?;
        }
        if args.segments {
            segments::tell(&self.segments, out)?;
        }
        self.stream_list.as_ref().map_or(Ok(()), |streams| StreamFigures::tell(streams, out))
    }
}

impl CheckpointFigures {
    fn words(&self) -> String {
        let age = self.age_seconds.map_or("at an unknown time".to_owned(), |age| format!("{age:.0} s ago"));
        let clean = if self.clean { ", at a clean close" } else { "" };
        let last = output::count(self.last_seq_id);
        format!("generation {}, up to SeqId {last}, written {age}{clean}", self.generation)
    }
}

impl StreamFigures {
    fn of(stream: &StreamStats, log: &Log) -> Self {
        let point = log.purge_point(stream.stream);
        let newest = stream.next_log_offset.0.saturating_sub(1);
        StreamFigures {
            stream: stream.stream.to_string(),
            records: newest,
            live_records: newest.saturating_sub(point.map_or(0, |point| point.log_offset.0)),
            first_seq_id: stream.first_seq_id.0,
            last_seq_id: stream.last_seq_id.0,
        }
    }

    fn tell(streams: &[StreamFigures], out: &mut Output) -> Result<(), CliError> {
        out.line("")?;
        out.line(format!(
            "{:<36} {:>12} {:>12} {:>16} {:>16}",
            "stream", "records", "not purged", "first SeqId", "last SeqId"
        ))?;
        for StreamFigures { stream, records, live_records, first_seq_id, last_seq_id } in streams {
            out.line(format!(
                "{stream:<36} {records:>12} {live_records:>12} {first_seq_id:>16} {last_seq_id:>16}"
            ))?;
        }
        Ok(())
    }
}

fn age_seconds(path: &Path) -> Option<f64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default().as_secs_f64())
}
