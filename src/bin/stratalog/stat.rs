//! `stat`: figures of a log, read from outside.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use stratalog::{DirectoryStats, LogStats, StreamStats};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};
use crate::place;

/// Show streams, segments, watermarks, bytes and the checkpoint.
///
/// Reads beside a writer, and changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A line for each stream as well
    #[arg(long)]
    streams: bool,
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
    records: u64,
    first_seq_id: u64,
    last_seq_id: u64,
}

#[derive(Debug, Serialize)]
struct SegmentFigures {
    file: String,
    first_seq_id: u64,
    end_seq_id: u64,
    file_bytes: u64,
    used_bytes: u64,
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
    let log = place::open_to_read(&args.dir)?;
    let failed = |error| CliError::log(&error, &args.dir);
    let stats = log.stats().map_err(failed)?;
    let directory = log.directory().map_err(failed)?;
    let streams = log.committed_streams().map_err(failed)?;
    let figures = Figures::of(&args, &stats, directory, &streams);
    if args.json {
        out.json(&figures)?;
    } else {
        figures.tell(out, &args.dir)?;
    }
    Ok(Exit::Fine)
}

impl Figures {
    fn of(args: &Args, stats: &LogStats, directory: DirectoryStats, streams: &[StreamStats]) -> Self {
        let segments = stats.segments.iter().map(|segment| SegmentFigures {
            file: segment.name.clone(),
            first_seq_id: segment.first_seq_id.0,
            end_seq_id: segment.end_seq_id.0,
            file_bytes: segment.file_bytes,
            used_bytes: segment.used_bytes,
        });
        Figures {
            committed: stats.committed.0,
            durable: stats.durable.0,
            unwitnessed_records: stats.appended.0.saturating_sub(stats.committed.0),
            streams: streams.len(),
            stream_list: args.streams.then(|| streams.iter().map(StreamFigures::of).collect()),
            segments: segments.collect(),
            segment_bytes: stats.segments.iter().map(|segment| segment.file_bytes).sum(),
            live_bytes: stats.segments.iter().map(|segment| segment.used_bytes).sum(),
            // Nothing drops records yet.
            dead_bytes: 0,
            checkpoint: directory.checkpoint.map(|checkpoint| CheckpointFigures {
                age_seconds: age_seconds(&args.dir.join(&checkpoint.file.name)),
                file: checkpoint.file.name,
                generation: checkpoint.generation,
                last_seq_id: checkpoint.last_seq_id.0,
                clean: checkpoint.clean,
            }),
            damaged_checkpoints: directory.damaged_checkpoints,
            bytes_since_checkpoint: stats.bytes_since_checkpoint,
            spare_bytes: directory.spare.map_or(0, |file| file.bytes),
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

    fn tell(&self, out: &mut Output, dir: &Path) -> Result<(), CliError> {
        let bytes = output::bytes;
        let row = |name: &str, value: String| format!("{name:<13}{value}");
        out.line(row("log", dir.display().to_string()))?;
        out.line(row(
            "watermarks",
            format!("committed {}, durable {}", output::count(self.committed), output::count(self.durable)),
        ))?;
        if self.unwitnessed_records > 0 {
            let hidden = output::count(self.unwitnessed_records);
            out.line(row("", format!("{hidden} records behind them wait for a witness, or for `recover`")))?;
        }
        out.line(row("streams", output::count(self.streams as u64)))?;
        out.line(row("segments", format!("{}, {}", self.segments.len(), bytes(self.segment_bytes))))?;
        out.line(row("bytes", format!("live {}, dead {}", bytes(self.live_bytes), bytes(self.dead_bytes))))?;
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
        if let Some(streams) = &self.stream_list {
            out.line("")?;
            out.line(format!(
                "{:<36} {:>12} {:>16} {:>16}",
                "stream", "records", "first SeqId", "last SeqId"
            ))?;
            for stream in streams {
                let StreamFigures { stream, records, first_seq_id, last_seq_id } = stream;
                out.line(format!("{stream:<36} {records:>12} {first_seq_id:>16} {last_seq_id:>16}"))?;
            }
        }
        Ok(())
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
    fn of(stream: &StreamStats) -> Self {
        StreamFigures {
            stream: stream.stream.to_string(),
            records: stream.next_log_offset.0.saturating_sub(1),
            first_seq_id: stream.first_seq_id.0,
            last_seq_id: stream.last_seq_id.0,
        }
    }
}

fn age_seconds(path: &Path) -> Option<f64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default().as_secs_f64())
}
