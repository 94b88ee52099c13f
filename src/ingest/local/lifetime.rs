//! Status, reset and close.

use std::collections::BTreeSet;

use super::LocalIngest;
use crate::error::{Error, Result};
use crate::ingest::contract::{Ingest, IngestStatus};

impl Ingest for LocalIngest {
    fn status(&self) -> Result<IngestStatus> {
        self.check_open()?;
        Ok(IngestStatus {
            newest_seq_id: self.log().committed(),
            subscriptions: self.hub.statuses(),
            cursors: self.log().cursors(),
        })
    }

    fn reset(&self) -> Result<()> {
        self.check_open()?;
        if self.log().is_read_only() {
            let why = "reset: expected a log that is open for writing, found one opened for reading only";
            return Err(Error::Invalid(why.into()));
        }
        for subscription in self.hub.statuses() {
            self.hub.unsubscribe(&subscription.id);
        }
        let of_records = self.log().streams().into_iter().map(|stream| stream.stream);
        // A cursor may stand in a collection that never got a record.
        let of_cursors = self.log().cursors().into_iter().map(|cursor| cursor.stream);
        let every: BTreeSet<_> = of_records.chain(of_cursors).collect();
        every.into_iter().try_for_each(|stream| self.log().delete_stream(stream))
    }

    fn close(&self) -> Result<()> {
        self.hub.close();
        self.log().close()
    }
}
