//! An append on its way to its commit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Inner;
use super::decision::Ticket;
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId};

/// The numbers a batch got: dense, in the order of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// SeqId of the first record.
    pub first_seq_id: SeqId,
    /// log_offset of the first record in its stream.
    pub first_log_offset: LogOffset,
    /// Records in the batch; 0 for an empty one, whose numbers mean nothing.
    pub count: u32,
}

impl Appended {
    /// The SeqId of every record, in the order of the batch.
    pub fn seq_ids(&self) -> impl ExactSizeIterator<Item = SeqId> + use<> {
        let first = self.first_seq_id.0;
        (0..self.count).map(move |k| SeqId(first + u64::from(k)))
    }

    /// The log_offset of every record, in the order of the batch.
    pub fn log_offsets(&self) -> impl ExactSizeIterator<Item = LogOffset> + use<> {
        let first = self.first_log_offset.0;
        (0..self.count).map(move |k| LogOffset(first + u64::from(k)))
    }

    /// The SeqId of the last record, if there is one.
    #[must_use]
    pub fn last_seq_id(&self) -> Option<SeqId> {
        self.seq_ids().last()
    }
}

/// A submitted batch. Its numbers are known; whether it is committed is known when
/// [`wait`](Self::wait) returns, or when it is awaited: it is a `Future` for any executor.
///
/// Dropping it does not take the batch back.
#[must_use = "a batch is committed only when `wait` or `.await` says so"]
pub struct PendingAppend {
    pub(super) inner: Arc<Inner>,
    /// `None` for a batch that is committed already.
    pub(super) ticket: Option<Ticket>,
    pub(super) appended: Appended,
}

impl PendingAppend {
    /// Blocks until the batch is committed.
    ///
    /// # Errors
    /// Why it is not. After [`Error::Poisoned`] nobody can say whether recovery will find it;
    /// after any other error it is not in the log as long as this log stays open.
    pub fn wait(self) -> Result<Appended> {
        if let Some(ticket) = &self.ticket {
            self.inner.lead_if_idle(ticket);
            ticket.wait()?;
        }
        Ok(self.appended)
    }

    /// The outcome, if there is one yet.
    #[must_use]
    pub fn try_outcome(&self) -> Option<Result<Appended>> {
        match &self.ticket {
            None => Some(Ok(self.appended)),
            Some(ticket) => ticket.outcome().map(|outcome| outcome.map(|()| self.appended)),
        }
    }

    /// The numbers the batch will have if it is committed.
    #[must_use]
    pub fn tentative(&self) -> Appended {
        self.appended
    }
}

impl Future for PendingAppend {
    type Output = Result<Appended, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let appended = self.appended;
        match &mut self.ticket {
            None => Poll::Ready(Ok(appended)),
            Some(ticket) => match ticket.poll(context.waker()) {
                Some(outcome) => Poll::Ready(outcome.map(|()| appended)),
                None => Poll::Pending,
            },
        }
    }
}

impl fmt::Debug for PendingAppend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAppend").field("appended", &self.appended).finish_non_exhaustive()
    }
}
