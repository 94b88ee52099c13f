//! What became of a group, told once to all who wait for it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use crate::error::{Error, Result};
use crate::sync::{Gate, thread_local};

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

/// One for a group, however many wait: threads are woken by one call, and appending allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Decision {
    state: Gate<State>,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    sleepers: usize,
    /// Each at the place that its ticket was given.
    wakers: Vec<Option<Waker>>,
}

/// SeqIds below `next_seq` are committed; what keeps the others from it.
#[derive(Debug)]
struct Outcome {
    next_seq: u64,
    error: Option<Error>,
}

impl Outcome {
    fn of(&self, seq: u64) -> Result<()> {
        match &self.error {
            Some(error) if seq >= self.next_seq => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Decision {
    /// Wakes all who wait. The first decision stays.
    pub(super) fn leave(&self, next_seq: u64, error: Option<Error>) {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(Outcome { next_seq, error });
        let (sleepers, mut wakers) = (state.sleepers, std::mem::take(&mut state.wakers));
        drop(state);
        if sleepers > 0 {
            self.state.notify_all();
        }
        wakers.drain(..).flatten().for_each(wake);
    }

    /// As new, if nobody holds it but the caller.
    pub(super) fn renewed(mut this: Arc<Self>) -> Arc<Self> {
        match Arc::get_mut(&mut this) {
            Some(decision) => {
                *decision.state.get_mut() = State::default();
                this
            }
            None => Arc::default(),
        }
    }
}

/// The right to hear whether one SeqId was committed.
#[derive(Debug)]
pub(super) struct Ticket {
    decision: Arc<Decision>,
    seq: u64,
    waker: Option<usize>,
}

impl Ticket {
    pub(super) fn new(decision: &Arc<Decision>, seq: u64) -> Self {
        Ticket { decision: Arc::clone(decision), seq, waker: None }
    }

    pub(super) fn outcome(&self) -> Option<Result<()>> {
        self.decision.state.lock().outcome.as_ref().map(|outcome| outcome.of(self.seq))
    }

    /// Blocks until there is an outcome.
    pub(super) fn wait(&self) -> Result<()> {
        let mut state = self.decision.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.of(self.seq);
            }
            state.sleepers += 1;
            state = self.decision.state.wait(state);
            state.sleepers -= 1;
        }
    }

    /// The outcome, or `waker` is called when there is one; only the last one given is.
    pub(super) fn poll(&mut self, waker: &Waker) -> Option<Result<()>> {
        let mut state = self.decision.state.lock();
        if let Some(outcome) = &state.outcome {
            return Some(outcome.of(self.seq));
        }
        let place = *self.waker.get_or_insert(state.wakers.len());
        match state.wakers.get_mut(place) {
            Some(held) => *held = Some(waker.clone()),
            None => state.wakers.push(Some(waker.clone())),
        }
        None
    }
}
