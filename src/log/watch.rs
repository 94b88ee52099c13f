//! Telling threads that something moved, at no cost when nobody waits.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Instant, Mutex};

/// Readers at the tail.
#[derive(Debug, Default)]
pub(super) struct Watch {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Watch {
    /// Called after the change that waiters look for.
    pub(super) fn notify(&self) {
        // Pairs with the fence in `wait`: either this load sees the waiter, or the waiter's look
        // at the condition sees the change.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock());
            self.moved.notify_all();
        }
    }

    /// Blocks until `done` or the time is over.
    pub(super) fn wait(&self, timeout: Option<Duration>, done: impl Fn() -> bool) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut guard = self.lock.lock();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while !done() {
            match deadline {
                None => self.moved.wait(&mut guard),
                Some(deadline) => {
                    if self.moved.wait_until(&mut guard, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wakes one background thread; a call while it is busy is not lost.
#[derive(Debug, Default)]
pub(super) struct Signal {
    called: Mutex<bool>,
    bell: Condvar,
    stopped: AtomicBool,
}

impl Signal {
    pub(super) fn notify(&self) {
        *self.called.lock() = true;
        self.bell.notify_one();
    }

    /// For good.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.notify();
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Blocks until called or until the time is over.
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        let mut called = self.called.lock();
        if !*called {
            match timeout {
                Some(timeout) => drop(self.bell.wait_for(&mut called, timeout)),
                None => self.bell.wait(&mut called),
            }
        }
        *called = false;
    }
}
