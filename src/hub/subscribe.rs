//! The beginning of a subscription.

use std::sync::Arc;

use super::Core;
use super::board::Phase;
use super::options::{Start, SubscribeOptions};
use super::run::{self, Upto, discard};
use super::subscription::{Consume, Subscription, SubscriptionId};
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::sync::atomic::Ordering;
use crate::sync::thread;

impl Core {
    /// The SeqId after which delivery begins.
    pub(super) fn range(&self, stream: StreamId, start: &Start, end: Option<SeqId>) -> Result<SeqId> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let start = match start {
            Start::Now => self.log.committed(),
            Start::After(seq_id) => self.check_start(stream, *seq_id)?,
            Start::Cursor(name) => self.cursor_start(stream, name)?,
        };
        match end {
            Some(end) if start >= end => {
                Err(Error::Invalid(format!("end: expected a SeqId after the start, {start}, found {end}")))
            }
            _ => Ok(start),
        }
    }

    fn check_start(&self, stream: StreamId, start: SeqId) -> Result<SeqId> {
        let newest = self.log.committed();
        if start > newest {
            return Err(Error::Invalid(format!(
                "start: expected at most {newest}, the newest SeqId, found {start}"
            )));
        }
        match self.log.purge_point(stream) {
            Some(point) if start < point.seq_id => {
                Err(Error::Purged { stream, seq_id: point.seq_id, log_offset: point.log_offset })
            }
            _ => Ok(start),
        }
    }

    fn cursor_start(&self, stream: StreamId, name: &str) -> Result<SeqId> {
        loop {
            if let Some(cursor) = self.log.cursor(stream, name) {
                return Ok(cursor.seq_id);
            }
            if self.log.is_read_only() {
                return Err(Error::NoCursor { stream, name: name.to_owned() });
            }
            let before = self.log.purge_point(stream).map_or(SeqId(0), |point| point.seq_id);
            match self.log.advance_cursor(stream, name, before) {
                // Somebody purged meanwhile; its point is known by now. Or made it, and moved on.
                Err(Error::Purged { .. }) => {}
                Err(_) if self.log.cursor(stream, name).is_some() => {}
                made => return made.map(|cursor| cursor.seq_id),
            }
        }
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        stream: StreamId,
        options: SubscribeOptions,
        consume: Consume,
    ) -> Result<SubscriptionId> {
        options.validate()?;
        if options.advance_cursor && self.log.is_read_only() {
            return Err(Error::Invalid(
                "advance_cursor: expected a log that is open for writing, found one opened for reading only"
                    .into(),
            ));
        }
        let start = self.range(stream, &options.start, options.end)?;
        let key = self.new_key();
        let id = options.id.clone().unwrap_or_else(|| self.unused_name());
        let subscription = Arc::new(Subscription::new(key, id, stream, start, &options, consume));
        // Known before the first look: what is committed after that look calls.
        self.switchboard.join(&subscription);
        if let Err(error) = self.admit(&subscription) {
            self.switchboard.part(&subscription);
            let work = subscription.work.lock().take();
            discard(work);
            return Err(error);
        }
        self.begin(&subscription, start);
        Ok(subscription.id.clone())
    }

    fn unused_name(&self) -> SubscriptionId {
        loop {
            let name = SubscriptionId::from(format!("subscription-{}", self.new_key()));
            if !self.switchboard.board.lock().names.contains_key(&name) {
                return name;
            }
        }
    }

    fn admit(&self, subscription: &Arc<Subscription>) -> Result<()> {
        let switchboard = &self.switchboard;
        let mut board = switchboard.board.lock();
        if board.is_shut() {
            return Err(Error::Closed);
        }
        if !board.free_name(&subscription.id) {
            return Err(Error::Invalid(format!(
                "id: expected one that is not in use, found {:?}; unsubscribe that one first",
                subscription.id.as_str()
            )));
        }
        if !subscription.is_inline() || self.log.is_read_only() {
            switchboard.start_clock(&mut board)?;
        }
        board.seat(Arc::clone(subscription), Phase::Idle);
        Ok(())
    }

    /// The first look, unless there is nothing to see.
    fn begin(self: &Arc<Self>, subscription: &Arc<Subscription>, start: SeqId) {
        let switchboard = &self.switchboard;
        // Calls from before it had its seat found nobody; they are made good here. Once a commit has made
        // it run, a call is for that run to see, and not to be taken back.
        let board = switchboard.board.lock();
        if board.is_idle(subscription.key) {
            subscription.called.swap(false, Ordering::AcqRel);
        }
        drop(board);
        let newest = self.log.stream(subscription.stream);
        let nothing = newest.is_none_or(|stats| stats.last_seq_id <= start);
        if nothing && subscription.end.is_none() && !self.log.is_read_only() {
            let mut progress = subscription.progress.lock();
            progress.tailing |= progress.delivered == 0;
            let last = newest.map_or(LogOffset(0), |stats| LogOffset(stats.next_log_offset.0 - 1));
            progress.log_offset.get_or_insert(last);
            return;
        }
        let mut board = switchboard.board.lock();
        if subscription.is_inline() {
            let seized = board.seize(subscription.key, thread::current().id());
            drop(board);
            if seized {
                run::serve(self, subscription, Upto::SeqId(self.log.committed()));
            }
        } else if board.call(subscription.key) {
            switchboard.dispatch(&mut board);
        }
    }
}
