//! `inspect`: what one file of a log holds, with positions, for people.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stratalog::check::{self, ControlFacts, FrameFacts, FrameKind, Inspected};
use stratalog::storage::DiskStorage;
use stratalog::{Cursor, Error, PurgePoint, StreamId};

use crate::failure::{CliError, Exit};
use crate::output::{self, Output};

/// Show what one file of a log holds: frames with positions, damage, headers.
///
/// What the file is, its first bytes tell: segments, indexes and checkpoints, also copies that a
/// repair put aside. The end of a segment that a crash left is shown as damage too; `verify` tells
/// the two apart.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file in the directory of a log
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The length of each record as well
    #[arg(long)]
    records: bool,
    /// One JSON object for each line, instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, out: &mut Output) -> Result<Exit, CliError> {
    let name = args.file.file_name().and_then(|name| name.to_str());
    let dir = args.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = name.filter(|_| !args.file.is_dir()) else {
        let message = format!("{} is no file", args.file.display());
        return Err(CliError::new(Exit::Usage, message).help("name a file in the directory of a log"));
    };
    let storage = match std::fs::metadata(&args.file) {
        Ok(_) => DiskStorage::existing(dir).map_err(|error| CliError::log(&error, dir))?,
        Err(error) => return Err(CliError::io("open", &args.file, &error)),
    };
    let mut failed = None;
    let shown = check::inspect(&storage, name, &mut |item| {
        let done =
            if args.json { out.json(&object(&item, args.records)) } else { text(&item, args.records, out) };
        done.map_err(|error| {
            failed = Some(error);
            Error::Closed
        })
    });
    match (shown, failed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(CliError::log(&error, dir)),
        (Ok(()), None) => Ok(Exit::Fine),
    }
}

fn text(item: &Inspected, records: bool, out: &mut Output) -> Result<(), CliError> {
    match item {
        Inspected::Segment(facts) => {
            let what =
                if facts.rewritten { "segment, rewritten without some of its records" } else { "segment" };
            out.line(format_args!(
                "{what} of log {}: from SeqId {}, durable up to {} when it was begun, {}, salt {:08x}, {}",
                hex(&facts.log_id),
                facts.first_seq_id,
                facts.durable_upto,
                utc(facts.unix_micros),
                facts.salt,
                output::bytes(facts.file_bytes)
            ))?;
            facts.end_seq_id.map_or(Ok(()), |end| out.line(format_args!("its SeqIds end before {end}")))
        }
        Inspected::Frame(facts) => frame(facts, records, out),
        Inspected::Damage { position, expected, found, next_valid } => {
            let next = next_valid
                .map_or("no good frame follows".to_owned(), |at| format!("the next good frame is at {at}"));
            out.line(format_args!("{position:>12}  DAMAGED: expected {expected}, found {found}; {next}"))
        }
        Inspected::Unused { position, bytes, written } => {
            let what = if *written == 0 {
                "zeros".to_owned()
            } else {
                format!("{written} of them written, no frames")
            };
            out.line(format_args!("{position:>12}  {bytes} unused bytes, {what}"))
        }
        Inspected::Index(facts) => out.line(format_args!(
            "index of log {}: SeqIds {} to before {}, frames up to {}, salt {:08x}, {} streams",
            hex(&facts.log_id),
            facts.first_seq_id,
            facts.end_seq_id,
            facts.data_end,
            facts.salt,
            output::count(facts.streams)
        )),
        Inspected::IndexStream { stream, first_log_offset, frames } => {
            let places: Vec<String> = frames.iter().map(u64::to_string).collect();
            out.line(format_args!(
                "stream {stream} from log_offset {first_log_offset}, frames at {}",
                places.join(" ")
            ))
        }
        Inspected::Checkpoint(facts) => out.line(format_args!(
            "checkpoint {} of log {}: next SeqId {}, recovery begins in segment {} at {}, {}, {}, {} streams, \
             {} cursors, purges, freed ranges and producers",
            facts.generation,
            hex(&facts.log_id),
            facts.next_seq_id,
            facts.scan_segment,
            facts.scan_position,
            if facts.clean { "closed" } else { "not closed" },
            utc(facts.unix_micros),
            output::count(facts.streams),
            output::count(facts.controls)
        )),
        Inspected::CheckpointControl(control) => out.line(format_args!("{control}")),
        Inspected::CheckpointSegment(base) => out.line(format_args!("segment from SeqId {base}")),
        Inspected::CheckpointStream(stream) => out.line(format_args!(
            "stream {} with next log_offset {}, SeqIds {} to {}",
            stream.stream, stream.next_log_offset, stream.first_seq_id, stream.last_seq_id
        )),
        Inspected::Other { bytes, written, head } => {
            out.line(format_args!("{bytes} bytes, {written} of them written; they begin with {}", hex(head)))
        }
        other => out.line(format_args!("{other:?}")),
    }
}

fn frame(facts: &FrameFacts, records: bool, out: &mut Output) -> Result<(), CliError> {
    let count = facts.record_bytes.len() as u64;
    let (seq, offset) = (facts.first_seq_id.0, facts.first_log_offset.0);
    match facts.kind {
        FrameKind::Witness => out.line(format_args!(
            "{:>12}  witness: all before SeqId {seq} is durable, {}",
            facts.position,
            utc(facts.unix_micros)
        ))?,
        FrameKind::Control => out.line(format_args!(
            "{:>12}  control: {} from SeqId {seq} on, durable up to {}, {}, {} bytes{}",
            facts.position,
            if count == 1 { "1 record".to_owned() } else { format!("{count} records") },
            facts.durable_upto,
            utc(facts.unix_micros),
            facts.bytes,
            if facts.committed_when_written { ", committed when written" } else { "" }
        ))?,
        _ => out.line(format_args!(
            "{:>12}  batch: SeqIds {seq} to {}, stream {} log_offsets {offset} to {}, durable up to {}, {}, {} bytes{}",
            facts.position,
            seq + count.saturating_sub(1),
            facts.stream,
            offset + count.saturating_sub(1),
            facts.durable_upto,
            utc(facts.unix_micros),
            facts.bytes,
            if facts.committed_when_written { ", committed when written" } else { "" }
        ))?,
    }
    for (seq_id, control) in &facts.controls {
        out.line(format_args!("{:>12}  SeqId {seq_id}: {control}", ""))?;
    }
    if let Some(note) = &facts.note {
        out.line(format_args!("{:>12}  {note}", ""))?;
    }
    if records {
        for (k, len) in (0u64..).zip(&facts.record_bytes) {
            out.line(format_args!("{:>12}  record: SeqId {}, {len} bytes", "", seq + k))?;
        }
    }
    for bad in &facts.damaged {
        out.line(format_args!(
            "{:>12}  DAMAGED record: SeqId {}, expected {}, found {}",
            bad.position,
            seq + u64::from(bad.number),
            bad.expected,
            bad.found
        ))?;
    }
    if let Some(bad) = &facts.damaged_note {
        out.line(format_args!(
            "{:>12}  DAMAGED note of who appended it: expected {}, found {}",
            bad.position, bad.expected, bad.found
        ))?;
    }
    Ok(())
}

fn object(item: &Inspected, records: bool) -> Value {
    match item {
        Inspected::Segment(facts) => json!({
            "type": "segment", "log_id": hex(&facts.log_id), "first_seq_id": facts.first_seq_id.0,
            "durable_upto": facts.durable_upto.0, "unix_micros": facts.unix_micros, "salt": facts.salt,
            "rewritten": facts.rewritten, "end_seq_id": facts.end_seq_id.map(|end| end.0),
            "file_bytes": facts.file_bytes,
        }),
        Inspected::Frame(facts) => {
            let damaged: Vec<Value> = facts
                .damaged
                .iter()
                .map(|bad| {
                    json!({
                        "seq_id": facts.first_seq_id.0 + u64::from(bad.number), "position": bad.position,
                        "expected": bad.expected, "found": bad.found,
                    })
                })
                .collect();
            let batch = facts.kind == FrameKind::Batch;
            let kind = match facts.kind {
                FrameKind::Witness => "witness",
                FrameKind::Control => "control",
                _ => "batch",
            };
            let stream = batch.then(|| StreamId::to_string(&facts.stream));
            let mut object = json!({
                "type": kind, "position": facts.position, "bytes": facts.bytes,
                "stream": stream, "first_seq_id": facts.first_seq_id.0, "records": facts.record_bytes.len(),
                "first_log_offset": batch.then_some(facts.first_log_offset.0), "durable_upto": facts.durable_upto.0,
                "committed_when_written": facts.committed_when_written, "unix_micros": facts.unix_micros,
                "damaged": damaged,
            });
            let Some(fields) = object.as_object_mut() else { return object };
            if records {
                fields.insert("record_bytes".into(), json!(facts.record_bytes));
            }
            if facts.kind == FrameKind::Control {
                let controls = facts.controls.iter().map(|(seq_id, control)| {
                    let mut control = control_object(control);
                    if let Some(fields) = control.as_object_mut() {
                        fields.insert("seq_id".into(), json!(seq_id.0));
                    }
                    control
                });
                fields.insert("controls".into(), controls.collect());
            }
            if let Some(note) = &facts.note {
                fields.insert("producer".into(), json!(note.producer.to_string()));
                fields.insert("sequence".into(), json!(note.sequence));
            }
            if let Some(bad) = &facts.damaged_note {
                let damage =
                    json!({ "position": bad.position, "expected": bad.expected, "found": bad.found });
                fields.insert("damaged_note".into(), damage);
            }
            object
        }
        Inspected::Damage { position, expected, found, next_valid } => json!({
            "type": "damage", "position": position, "expected": expected, "found": found, "next_valid": next_valid,
        }),
        Inspected::Unused { position, bytes, written } => json!({
            "type": "unused", "position": position, "bytes": bytes, "written": written,
        }),
        Inspected::Index(facts) => json!({
            "type": "index", "log_id": hex(&facts.log_id), "first_seq_id": facts.first_seq_id.0,
            "end_seq_id": facts.end_seq_id.0, "data_end": facts.data_end, "salt": facts.salt,
            "streams": facts.streams,
        }),
        Inspected::IndexStream { stream, first_log_offset, frames } => json!({
            "type": "index_stream", "stream": stream.to_string(), "first_log_offset": first_log_offset.0,
            "frames": frames,
        }),
        Inspected::Checkpoint(facts) => json!({
            "type": "checkpoint", "log_id": hex(&facts.log_id), "generation": facts.generation,
            "next_seq_id": facts.next_seq_id.0, "scan_segment": facts.scan_segment.0,
            "scan_position": facts.scan_position, "unix_micros": facts.unix_micros, "clean": facts.clean,
            "streams": facts.streams, "controls": facts.controls,
        }),
        Inspected::CheckpointControl(control) => {
            let mut object = control_object(control);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("type".into(), json!("checkpoint_control"));
            }
            object
        }
        Inspected::CheckpointSegment(base) => json!({ "type": "checkpoint_segment", "first_seq_id": base.0 }),
        Inspected::CheckpointStream(stream) => json!({
            "type": "checkpoint_stream", "stream": stream.stream.to_string(),
            "next_log_offset": stream.next_log_offset.0, "first_seq_id": stream.first_seq_id.0,
            "last_seq_id": stream.last_seq_id.0,
        }),
        Inspected::Other { bytes, written, head } => json!({
            "type": "other", "bytes": bytes, "written": written, "head": hex(head),
        }),
        other => json!({ "type": "other", "shown": format!("{other:?}") }),
    }
}

fn control_object(control: &ControlFacts) -> Value {
    let cursor = |what: &str, cursor: &Cursor| {
        json!({
            "what": what, "stream": cursor.stream.to_string(), "cursor": cursor.name,
            "at_seq_id": cursor.seq_id.0, "at_log_offset": cursor.log_offset.0,
        })
    };
    let purge = |what: &str, stream: &StreamId, upto: &PurgePoint| {
        json!({
            "what": what, "stream": stream.to_string(), "upto_seq_id": upto.seq_id.0,
            "upto_log_offset": upto.log_offset.0,
        })
    };
    match control {
        ControlFacts::Advanced(at) => cursor("advanced", at),
        ControlFacts::RolledBack(at) => cursor("rolled back", at),
        ControlFacts::Dropped { stream, name } => {
            json!({ "what": "dropped", "stream": stream.to_string(), "cursor": name })
        }
        ControlFacts::Purged { stream, upto } => purge("purged", stream, upto),
        ControlFacts::Deleted { stream, upto } => purge("deleted", stream, upto),
        ControlFacts::Freed(freed) => {
            json!({ "what": "freed", "first_seq_id": freed.start().0, "last_seq_id": freed.end().0 })
        }
        ControlFacts::Produced { note, stream, first_seq_id, first_log_offset, records } => json!({
            "what": "produced", "producer": note.producer.to_string(), "sequence": note.sequence,
            "stream": stream.to_string(), "first_seq_id": first_seq_id.0,
            "first_log_offset": first_log_offset.0, "records": records,
        }),
        other => json!({ "what": other.to_string() }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Microseconds since 1970 as people write a time: `2024-02-29T12:00:00.000001Z`.
pub(crate) fn utc(unix_micros: i64) -> String {
    let (seconds, micros) = (unix_micros.div_euclid(1_000_000), unix_micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March put the leap day last; 146,097 days are 400 of them.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_shown_as_people_write_them() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(utc(1_709_208_000_000_001), "2024-02-29T12:00:00.000001Z");
        assert_eq!(utc(4_102_444_799_000_000), "2099-12-31T23:59:59.000000Z");
    }
}
