//! Whether certain ids were written to a collection since.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::{LogOffset, StreamId};
use crate::ingest::codec::RecordView;
use crate::log::{Log, Reader, Record};

/// How long to wait for a batch that is on its way. If it fails, its log_offset never comes.
const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// Reads a collection forward and remembers where one of the ids occurred last.
pub(super) struct Written<'a> {
    collection: StreamId,
    ids: HashSet<&'a str>,
    reader: Reader,
    /// Everything up to here was looked at.
    seen: LogOffset,
    found: Option<Error>,
}

impl<'a> Written<'a> {
    pub(super) fn since(
        log: &Log,
        collection: StreamId,
        ids: &'a [String],
        since: LogOffset,
    ) -> Result<Self> {
        let newest =
            log.stream(collection).map_or(LogOffset(0), |stream| LogOffset(stream.next_log_offset.0 - 1));
        if since > newest {
            return Err(Error::Invalid(format!(
                "none written since log_offset {since}: expected one up to {newest}, the newest of stream \
                 {collection}"
            )));
        }
        Ok(Written {
            collection,
            ids: ids.iter().map(String::as_str).collect(),
            reader: log.stream_reader(collection, LogOffset(since.0 + 1)..)?,
            seen: since,
            found: None,
        })
    }

    /// Looks at everything that is committed by now, and returns how far that is.
    pub(super) fn look(&mut self) -> Result<LogOffset> {
        while let Some(record) = self.reader.next_record()? {
            self.check(&record)?;
        }
        match self.found.take() {
            Some(found) => Err(found),
            None => Ok(self.seen),
        }
    }

    /// Waits a little for what others have on their way.
    pub(super) fn wait(&mut self) -> Result<()> {
        match self.reader.wait_record(Some(LONGEST_WAIT))? {
            Some(record) => self.check(&record),
            None => Ok(()),
        }
    }

    fn check(&mut self, record: &Record) -> Result<()> {
        self.seen = record.log_offset;
        let view = RecordView::decode(record.payload.clone()).map_err(|error| {
            Error::Invalid(format!(
                "none written since: expected operation records in stream {}, found at log_offset {} \
                 (SeqId {}) what is none: {error}",
                self.collection, record.log_offset, record.seq_id
            ))
        })?;
        if self.ids.contains(view.id()) {
            self.found = Some(Error::IdConflict {
                stream: self.collection,
                id: view.id().to_owned(),
                log_offset: record.log_offset,
                seq_id: record.seq_id,
            });
        }
        Ok(())
    }
}
