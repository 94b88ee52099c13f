//! A lock whose waiters are woken all at once.
//!
//! parking_lot's condition variable wakes one of them and lets each hand on to the next. Where 64 threads
//! wait for one sync they would come back one by one, and share fewer of the syncs to come.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Gate<T> {
    state: Mutex<T>,
    opened: Condvar,
}

pub(crate) type GateGuard<'a, T> = MutexGuard<'a, T>;

impl<T> Gate<T> {
    /// A holder that panicked changes nothing, as with parking_lot's locks.
    pub(crate) fn lock(&self) -> GateGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(&self, guard: GateGuard<'a, T>) -> GateGuard<'a, T> {
        self.opened.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_all(&self) {
        self.opened.notify_all();
    }
}
