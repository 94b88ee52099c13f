//! The same names over shuttle, for `tests/schedules`.
//!
//! Time is part of the schedule. It stands still but for waits and sleeps that run out: those take it
//! to their end. A wait with an end may run out whenever the scheduler likes, early or late, as it may
//! on a busy machine, but one of more than a day never does: who wants to see a wake-up that is lost,
//! and not the timeout that makes it good, sets such a time.

use std::cell::Cell;
use std::ops::Add;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};
use shuttle::rand::{RngCore, thread_rng};
pub(crate) use shuttle_parking_lot::{Mutex, MutexGuard, RwLock};

/// A wait that is longer has no end.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

std::thread_local! {
    /// All tasks of a schedule run on one thread of the system. It goes on from schedule to schedule;
    /// only differences count.
    static NOW: Cell<Duration> = const { Cell::new(LONGEST) };
}

/// Others may come first. Not a yield, which tells the scheduler that who calls has nothing to do.
fn switch() {
    shuttle::thread::sleep(Duration::ZERO);
}

fn pass(until: Duration) {
    NOW.set(NOW.get().max(until));
}

/// A moment of the schedule's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Instant(NOW.get())
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Instant)
    }

    pub(crate) fn checked_sub(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(time).map(Instant)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Instant(self.0.saturating_add(time))
    }
}

pub(crate) mod thread {
    pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, ThreadId, current, park, yield_now};

    use super::{Duration, NOW, pass};

    pub(crate) fn sleep(time: Duration) {
        yield_now();
        pass(NOW.get().saturating_add(time));
    }
}

/// parking_lot's, for the mutex above, which shuttle's own does not fit.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    /// Never contended and never held across a switch.
    waiters: std::sync::Mutex<Vec<Arc<Waiter>>>,
}

/// Blocks on a permit of its own rather than parks: a call that came too late would leave its mark
/// for whoever parks next, and hide that nobody called him.
#[derive(Debug)]
struct Waiter {
    call: BatchSemaphore,
}

#[derive(Debug)]
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Condvar { waiters: std::sync::Mutex::new(Vec::new()) }
    }

    pub(crate) fn notify_one(&self) {
        switch();
        let called = self.with(|waiters| {
            let one = (!waiters.is_empty()).then(|| thread_rng().next_u64() as usize % waiters.len());
            one.map(|one| waiters.swap_remove(one))
        });
        if let Some(waiter) = called {
            waiter.call.release(1);
        }
    }

    pub(crate) fn notify_all(&self) {
        switch();
        for waiter in self.with(std::mem::take) {
            waiter.call.release(1);
        }
    }

    pub(crate) fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        // Between the last look at what is waited for and the wait.
        switch();
        let waiter = self.enlist();
        MutexGuard::unlocked(guard, || drop(waiter.call.acquire_blocking(1)));
    }

    pub(crate) fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        if deadline.saturating_duration_since(Instant::now()) > LONGEST {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        switch();
        let waiter = self.enlist();
        let timed_out = MutexGuard::unlocked(guard, || {
            // Now and then very patient, so that other waits run out before this one.
            let patience = (1_u64 << (thread_rng().next_u64() % 8)) - 1;
            for _ in 0..patience {
                if self.has_called(&waiter) {
                    return false;
                }
                shuttle::thread::yield_now();
            }
            if self.has_called(&waiter) {
                return false;
            }
            self.with(|waiters| waiters.retain(|other| !Arc::ptr_eq(other, &waiter)));
            pass(deadline.0);
            true
        });
        WaitTimeoutResult(timed_out)
    }

    pub(crate) fn wait_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        time: Duration,
    ) -> WaitTimeoutResult {
        self.wait_until(guard, Instant::now() + time)
    }

    fn enlist(&self) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter { call: BatchSemaphore::new(0, Fairness::StrictlyFair) });
        self.with(|waiters| waiters.push(Arc::clone(&waiter)));
        waiter
    }

    fn has_called(&self, waiter: &Arc<Waiter>) -> bool {
        self.with(|waiters| !waiters.iter().any(|other| Arc::ptr_eq(other, waiter)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Arc<Waiter>>) -> T) -> T {
        act(&mut self.waiters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A lock whose waiters are woken all at once.
#[derive(Debug, Default)]
pub(crate) struct Gate<T> {
    state: Mutex<T>,
    opened: Condvar,
}

impl<T> Gate<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.state.get_mut()
    }

    pub(crate) fn wait<'a>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.opened.wait(&mut guard);
        guard
    }

    pub(crate) fn notify_all(&self) {
        self.opened.notify_all();
    }
}
