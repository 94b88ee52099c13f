//! What is live in each segment, and what holds it.

use serde::Serialize;
use stratalog::{DirectoryStats, Holder, Log, LogStats, SegmentLife};

use crate::failure::CliError;
use crate::output::{self, Output};

#[derive(Debug, Serialize)]
pub(super) struct SegmentFigures {
    pub(super) file: String,
    first_seq_id: u64,
    end_seq_id: u64,
    file_bytes: u64,
    used_bytes: u64,
    /// Of its used bytes, those of batches that are not purged, and those of batches that are.
    pub(super) live_bytes: u64,
    pub(super) dead_bytes: u64,
    /// Streams with a record in it that is not purged.
    live_streams: u64,
    /// One of them.
    holder: Option<HolderFigures>,
    /// The file of its index, once it has one.
    index: Option<String>,
}

#[derive(Debug, Serialize)]
struct HolderFigures {
    stream: String,
    /// The stream's cursor that stands furthest back.
    cursor: Option<String>,
    cursor_seq_id: Option<u64>,
}

pub(super) fn figures(
    log: &Log,
    stats: &LogStats,
    life: Vec<SegmentLife>,
    directory: &DirectoryStats,
) -> Vec<SegmentFigures> {
    let figures = stats.segments.iter().map(|segment| {
        let life = life.iter().find(|life| life.name == segment.name);
        let index = segment.name.strip_suffix(".segment").map(|base| format!("{base}.index"));
        SegmentFigures {
            file: segment.name.clone(),
            first_seq_id: segment.first_seq_id.0,
            end_seq_id: segment.end_seq_id.0,
            file_bytes: segment.file_bytes,
            used_bytes: segment.used_bytes,
            live_bytes: life.map_or(0, |life| life.live_bytes),
            dead_bytes: life.map_or(0, |life| life.dead_bytes),
            live_streams: life.map_or(0, |life| life.live_streams),
            holder: life.and_then(|life| life.holder.as_ref()).map(|holder| HolderFigures::of(log, holder)),
            index: index.filter(|index| directory.indexes.iter().any(|file| file.name == *index)),
        }
    });
    figures.collect()
}

impl HolderFigures {
    fn of(log: &Log, holder: &Holder) -> Self {
        let cursor = holder.cursor.as_ref().and_then(|name| log.cursor(holder.stream, name));
        HolderFigures {
            stream: holder.stream.to_string(),
            cursor: holder.cursor.clone(),
            cursor_seq_id: cursor.map(|cursor| cursor.seq_id.0),
        }
    }
}

impl SegmentFigures {
    /// A part of it is dead, and something keeps it.
    pub(super) fn is_held(&self) -> bool {
        self.dead_bytes > 0 && self.holder.is_some()
    }

    /// What holds it, in words.
    pub(super) fn held(&self) -> String {
        let Some(holder) = &self.holder else {
            return "nothing; it goes with a later purge, once it is not the newest".to_owned();
        };
        let others = match self.live_streams.saturating_sub(1) {
            0 => String::new(),
            1 => " and another stream".to_owned(),
            others => format!(" and {} other streams", output::count(others)),
        };
        let cursor = match (&holder.cursor, holder.cursor_seq_id) {
            (Some(cursor), Some(at)) => format!("cursor {cursor} at SeqId {}", output::count(at)),
            _ => "without a cursor".to_owned(),
        };
        format!("stream {} ({cursor}){others}", holder.stream)
    }
}

pub(super) fn tell(segments: &[SegmentFigures], out: &mut Output) -> Result<(), CliError> {
    out.line("")?;
    out.line(format!("{:<28} {:>10} {:>10} {:>10}  held by", "segment", "file", "live", "dead"))?;
    for segment in segments {
        let [file, live, dead] =
            [segment.file_bytes, segment.live_bytes, segment.dead_bytes].map(output::bytes);
        out.line(format!("{:<28} {file:>10} {live:>10} {dead:>10}  {}", segment.file, segment.held()))?;
    }
    Ok(())
}
