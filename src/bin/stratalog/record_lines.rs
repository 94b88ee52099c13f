//! Records as lines: what `cat`, `tail` and `subscribe` print, and `ingest` reads back.

use serde::Serialize;
use stratalog::ingest::{Envelope, RecordView, write_line};
use stratalog::{Record, StreamId};

use crate::failure::{CliError, Exit};

/// Turns records into lines, one at a time.
#[derive(Debug)]
pub(crate) struct RecordLines {
    raw: bool,
    /// The stream of the last record, and its name.
    named: (StreamId, String),
    line: Vec<u8>,
}

/// A record whose payload is not looked into.
#[derive(Serialize)]
struct RawRecord<'a> {
    collection: &'a str,
    seq_id: u64,
    log_offset: u64,
    unix_micros: i64,
    payload_hex: String,
}

impl RecordLines {
    /// With `raw`, payloads are shown as hexadecimal, whatever they are.
    pub(crate) fn new(raw: bool) -> Self {
        let nil = StreamId::default();
        RecordLines { raw, named: (nil, nil.to_string()), line: Vec::new() }
    }

    /// The line of a record, with its newline.
    ///
    /// # Errors
    /// Its payload is no operation record, and that is what is to be shown.
    pub(crate) fn line(&mut self, record: &Record) -> Result<&[u8], CliError> {
        if self.named.0 != record.stream {
            self.named = (record.stream, record.stream.to_string());
        }
        let collection = &self.named.1;
        let failed = |why: String| {
            CliError::new(Exit::Failed, format!("SeqId {}: {why}", record.seq_id))
                .help("--raw prints payloads that are no operation records")
        };
        self.line.clear();
        if self.raw {
            let raw = RawRecord {
                collection,
                seq_id: record.seq_id.0,
                log_offset: record.log_offset.0,
                unix_micros: record.unix_micros,
                payload_hex: hex(&record.payload),
            };
            serde_json::to_writer(&mut self.line, &raw).map_err(|error| failed(error.to_string()))?;
            self.line.push(b'\n');
            return Ok(&self.line);
        }
        let view = RecordView::decode(record.payload.clone()).map_err(|error| failed(error.to_string()))?;
        let envelope = Envelope {
            collection: Some(collection),
            seq_id: Some(record.seq_id.0),
            log_offset: Some(record.log_offset.0),
        };
        write_line(&mut self.line, envelope, &view.to_record()).map_err(|error| failed(error.to_string()))?;
        Ok(&self.line)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| DIGITS.get(usize::from(n)).copied().map_or('?', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
