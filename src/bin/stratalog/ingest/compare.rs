//! Whether the log holds what an input says: nothing is skipped on trust.

use std::path::Path;

use stratalog::{Log, Record, SeqId, StreamId};

use super::encode::Encoder;
use super::lines::{Lines, Place};
use super::resume::START_ANEW;
use crate::failure::{CliError, Exit};

/// How records of the log compare with the input.
#[derive(Debug)]
pub(crate) enum Compared {
    /// The input begins with all of them.
    Same { records: u64 },
    /// The input ended after so many, and the log has more.
    Ended { records: u64, next: SeqId },
    /// After so many, a line is not the record that the log has.
    Differs { records: u64, message: String, line: Vec<u8>, place: Place },
}

/// Compares the records of the log after `since` and up to `upto` with `lines`, which move behind
/// what was compared.
///
/// # Errors
/// A line that is no record, a record that can't be read.
pub(crate) fn compare(
    log: &Log,
    dir: &Path,
    since: SeqId,
    upto: SeqId,
    lines: &mut Lines,
    encoder: &mut Encoder,
) -> Result<Compared, CliError> {
    if log.committed() < upto || upto < since {
        let ends = log.committed();
        let message =
            format!("the last ingest wrote from SeqId {since} to {upto}, but the log ends at {ends}");
        return Err(CliError::new(Exit::Failed, message)
            .help("this is not the log it wrote to; start anew with --forget-interrupted"));
    }
    let (mut text, mut payload, mut records) = (Vec::new(), Vec::new(), 0);
    for record in log.reader(since.next()..=upto).map_err(|error| CliError::log(&error, dir))? {
        let record = record.map_err(|error| CliError::log(&error, dir))?;
        text.clear();
        payload.clear();
        let Some(place) = lines.next_line(&mut text)? else {
            return Ok(Compared::Ended { records, next: record.seq_id });
        };
        let stream = encoder.line(&text, &place, &mut payload)?;
        if stream != record.stream || payload != record.payload {
            let message = difference(&record, &place, stream);
            return Ok(Compared::Differs { records, message, line: text, place });
        }
        records += 1;
    }
    Ok(Compared::Same { records })
}

fn difference(record: &Record, place: &Place, stream: StreamId) -> String {
    let seq_id = record.seq_id;
    if stream == record.stream {
        format!("{place}: expected the record that the log has at SeqId {seq_id}, found another one")
    } else {
        format!(
            "{place}: expected a record of collection {}, as the log has at SeqId {seq_id}, found one of {stream}",
            record.stream
        )
    }
}

impl Compared {
    /// How many records were compared; all of them are the same.
    ///
    /// # Errors
    /// Names the first line that is not what the log has.
    pub(crate) fn same(self) -> Result<u64, CliError> {
        let message = match self {
            Compared::Same { records } => return Ok(records),
            Compared::Differs { message, .. } => message,
            Compared::Ended { records, next } => format!(
                "the input ends after {records} records, and the log has more since that run began, the first at SeqId {next}"
            ),
        };
        Err(CliError::new(Exit::BadInput, message).help(format!(
            "the input changed, or something else was written in between: resume with the input as it was, {START_ANEW}"
        )))
    }
}
