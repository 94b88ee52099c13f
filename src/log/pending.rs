//! An append on its way to its commit.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Inner;
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId};
use crate::sync::thread::{self, Thread};
use crate::sync::{Mutex, thread_local};

thread_local! {
    /// How many wakers of others this thread is calling, one inside the other.
    static WAKING: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is in a waker that a log called: others may wait for it to come back.
pub(super) fn in_a_waker() -> bool {
    WAKING.try_with(|waking| waking.get() > 0).unwrap_or(false)
}

/// An executor that panics is not to take the others of the group along.
fn wake(waker: Waker) {
    let _ = WAKING.try_with(|waking| waking.set(waking.get() + 1));
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    let _ = WAKING.try_with(|waking| waking.set(waking.get() - 1));
}

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

/// Where the outcome of one append is left for the one who waits for it.
#[derive(Debug)]
pub(super) struct Slot {
    state: Mutex<State>,
}

enum State {
    Waiting(Option<Waiter>),
    Done(Result<()>),
}

enum Waiter {
    Thread(Thread),
    Task(Waker),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Waiting(_) => f.write_str("Waiting"),
            State::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
        }
    }
}

impl Slot {
    pub(super) fn new() -> Self {
        Slot { state: Mutex::new(State::Waiting(None)) }
    }

    /// Leaves the outcome and wakes the one who waits. The first outcome stays.
    pub(super) fn complete(&self, outcome: Result<()>) {
        let waiter = {
            let mut state = self.state.lock();
            match &mut *state {
                State::Done(_) => None,
                State::Waiting(waiter) => {
                    let waiter = waiter.take();
                    *state = State::Done(outcome);
                    waiter
                }
            }
        };
        match waiter {
            Some(Waiter::Thread(thread)) => thread.unpark(),
            Some(Waiter::Task(waker)) => wake(waker),
            None => {}
        }
    }

    pub(super) fn outcome(&self) -> Option<Result<()>> {
        match &*self.state.lock() {
            State::Done(outcome) => Some(outcome.clone()),
            State::Waiting(_) => None,
        }
    }

    /// Blocks until there is an outcome.
    pub(super) fn wait(&self) -> Result<()> {
        loop {
            match &mut *self.state.lock() {
                State::Done(outcome) => return outcome.clone(),
                State::Waiting(waiter) => *waiter = Some(Waiter::Thread(thread::current())),
            }
            thread::park();
        }
    }

    fn poll(&self, waker: &Waker) -> Option<Result<()>> {
        match &mut *self.state.lock() {
            State::Done(outcome) => Some(outcome.clone()),
            State::Waiting(waiter) => {
                *waiter = Some(Waiter::Task(waker.clone()));
                None
            }
        }
    }
}

/// A submitted batch. Its numbers are known; whether it is committed is known when
/// [`wait`](Self::wait) returns, or when it is awaited: it is a `Future` for any executor.
///
/// Dropping it does not take the batch back.
#[must_use = "a batch is committed only when `wait` or `.await` says so"]
pub struct PendingAppend {
    pub(super) inner: Arc<Inner>,
    /// `None` for an empty batch, which is committed already.
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) appended: Appended,
}

impl PendingAppend {
    /// Blocks until the batch is committed.
    ///
    /// # Errors
    /// Why it is not. After [`Error::Poisoned`] nobody can say whether recovery will find it;
    /// after any other error it is not in the log as long as this log stays open.
    pub fn wait(self) -> Result<Appended> {
        if let Some(slot) = &self.slot {
            self.inner.lead_if_idle(slot);
            slot.wait()?;
        }
        Ok(self.appended)
    }

    /// The outcome, if there is one yet.
    #[must_use]
    pub fn try_outcome(&self) -> Option<Result<Appended>> {
        match &self.slot {
            None => Some(Ok(self.appended)),
            Some(slot) => slot.outcome().map(|outcome| outcome.map(|()| self.appended)),
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

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.slot {
            None => Poll::Ready(Ok(self.appended)),
            Some(slot) => match slot.poll(context.waker()) {
                Some(outcome) => Poll::Ready(outcome.map(|()| self.appended)),
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
