//! The beginning of a subscription.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use super::Core;
use super::board::Phase;
use super::options::{Start, SubscribeOptions};
use super::run::{self, Upto, discard};
use super::subscription::{Consume, Subscription, SubscriptionId};
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId, StreamId};

impl Core {
    /// The SeqId after which delivery begins.
    pub(super) fn range(&self, start: &Start, end: Option<SeqId>) -> Result<SeqId> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let newest = self.log.committed();
        let start = match start {
            Start::Now => newest,
            Start::After(seq_id) => *seq_id,
        };
        if start > newest {
            return Err(Error::Invalid(format!(
                "start: expected at most {newest}, the newest SeqId, found {start}"
            )));
        }
        match end {
            Some(end) if start >= end => {
                Err(Error::Invalid(format!("end: expected a SeqId after the start, {start}, found {end}")))
            }
            _ => Ok(start),
        }
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        stream: StreamId,
        options: SubscribeOptions,
        consume: Consume,
    ) -> Result<SubscriptionId> {
        options.validate()?;
        let start = self.range(&options.start, options.end)?;
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
        // Calls from before it had its seat found nobody; they are made good here.
        subscription.called.swap(false, Ordering::AcqRel);
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
