//! Where locks, atomics, threads and the monotonic clock come from: the one seam at which a scheduler
//! can take them over.
//!
//! They are parking_lot's and the standard library's. Built with `--cfg shuttle` they are those of
//! shuttle, which decides at each of them who goes on, so that `tests/schedules` can try thousands of
//! orders. A `static` keeps to the standard library's atomics: it outlives a schedule.

#[cfg(not(shuttle))]
mod gate;
#[cfg(shuttle)]
mod scheduled;

#[cfg(not(shuttle))]
pub(crate) use gate::Gate;
#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub(crate) use std::{sync::atomic, thread, thread_local, time::Instant};

#[cfg(shuttle)]
pub(crate) use scheduled::{Condvar, Gate, Instant, Mutex, MutexGuard, RwLock, thread};
#[cfg(shuttle)]
pub(crate) use shuttle::{sync::atomic, thread_local};
