//! From lines to batches.

use stratalog::ingest::parse_line;
use stratalog::{Batch, StreamId};

use super::lines::{Chunk, Place};
use crate::collection;
use crate::failure::{CliError, Exit};

/// The largest record that is let into a log.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;

/// Consecutive records of one collection: they commit together.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stream: StreamId,
    pub(crate) batch: Batch,
    pub(crate) first: Place,
    pub(crate) last: Place,
}

/// Turns lines into records as the log stores them.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    /// Where all records go; otherwise each line says.
    fixed: Option<StreamId>,
    /// The name looked up last, and its stream.
    known: (String, StreamId),
}

impl Encoder {
    pub(crate) fn new(collection: Option<&str>) -> Self {
        let default = (collection::DEFAULT.to_owned(), collection::stream(collection::DEFAULT));
        Encoder { fixed: collection.map(collection::stream), known: default }
    }

    /// Appends the record of one line to `payload`; its stream.
    ///
    /// # Errors
    /// Names the line.
    pub(crate) fn line(
        &mut self,
        line: &[u8],
        place: &Place,
        payload: &mut Vec<u8>,
    ) -> Result<StreamId, CliError> {
        let bad = |why: String| {
            CliError::new(Exit::BadInput, format!("{place}: {why}"))
                .help("nothing of its batch was written; correct the line")
        };
        let parsed = parse_line(line).map_err(|error| bad(error.to_string()))?;
        let start = payload.len();
        parsed.record.encode_into(payload).map_err(|error| bad(error.to_string()))?;
        let size = payload.len() - start;
        if size > MAX_RECORD_BYTES {
            return Err(bad(format!("record bytes: expected at most {MAX_RECORD_BYTES}, found {size}")));
        }
        Ok(match (self.fixed, parsed.collection) {
            (Some(stream), _) => stream,
            (None, None) => self.named(collection::DEFAULT),
            (None, Some(name)) => self.named(&name),
        })
    }

    /// All lines of a chunk, cut where the collection changes, so that the order stays.
    ///
    /// # Errors
    /// Names the first line that is no record; nothing of the chunk is to be written then.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<Run>, CliError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut payload = Vec::new();
        for (line, place) in chunk.lines() {
            payload.clear();
            let stream = self.line(line, place, &mut payload)?;
            match runs.last_mut() {
                Some(run) if run.stream == stream => {
                    run.batch.push(&payload);
                    run.last = place.clone();
                }
                _ => {
                    let batch = Batch::one(&payload);
                    runs.push(Run { stream, batch, first: place.clone(), last: place.clone() });
                }
            }
        }
        Ok(runs)
    }

    fn named(&mut self, name: &str) -> StreamId {
        if self.known.0 != name {
            self.known = (name.to_owned(), collection::stream(name));
        }
        self.known.1
    }
}
