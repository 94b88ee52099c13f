//! Threads that call back: as many as slow callbacks make necessary.
//!
//! A worker takes a job and wakes the next one if more is queued. When all of them are in callbacks
//! and a job waits, the clock starts another; who had nothing to do for a while goes.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::inside::Inside;
use super::switchboard::Switchboard;
use super::{Core, run};
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Instant, thread};

/// No job was taken for so long: whoever is busy will stay so.
pub(super) const STALL: Duration = Duration::from_millis(2);

/// A job that waits longer than this, times a quarter of the workers, calls for another one although
/// jobs are being taken. Many workers that are merely busy need no further ones.
const PATIENCE: Duration = Duration::from_millis(4);

/// A worker without work stays so long.
const IDLE: Duration = Duration::from_secs(5);

/// Where one worker is woken; used with the board's lock.
#[derive(Debug, Default)]
pub(super) struct Berth {
    called: AtomicBool,
    bell: Condvar,
}

impl Berth {
    /// Only for one that was taken off the board's list.
    pub(super) fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

impl Switchboard {
    /// Starts a worker.
    pub(super) fn start_worker(&self, board: &mut Board) -> Result<()> {
        self.spawn("stratalog-call", board, work)?;
        board.workers += 1;
        Ok(())
    }

    /// Starts the clock, unless it runs. A new one looks at once.
    pub(super) fn start_clock(&self, board: &mut Board) -> Result<()> {
        if board.clock_runs || board.is_shut() {
            return Ok(());
        }
        self.spawn("stratalog-clock", board, super::clock::run)?;
        board.clock_runs = true;
        board.clock_due = Some(Instant::now());
        Ok(())
    }

    /// The thread takes the hub's core itself: whoever starts it may be the one who commits, and must
    /// not come to be the last to hold the log.
    fn spawn(&self, name: &str, board: &mut Board, body: fn(&Arc<Core>)) -> Result<()> {
        let Some((core, switchboard)) = self.core.get().cloned().zip(self.this.upgrade()) else {
            return Err(Error::Closed);
        };
        let run = move || {
            if let Some(core) = core.upgrade() {
                let _inside = Inside::thread(switchboard.hub);
                body(&core);
                drop(core);
            }
            let mut board = switchboard.board.lock();
            board.threads -= 1;
            drop(board);
            switchboard.moved.notify_all();
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        started.map_err(|error| Error::io("start thread", name, error))?;
        board.threads += 1;
        Ok(())
    }
}

impl Board {
    /// When the next worker is due, if a job waits and nobody is free.
    pub(super) fn worker_due(&self, most: usize) -> Option<Instant> {
        let since = self.queued_since()?;
        if !self.idle.is_empty() || self.workers >= most {
            return None;
        }
        if self.workers == 0 {
            return Some(since);
        }
        let stalled = self.last_taken.map_or(since, |taken| taken.max(since)) + STALL;
        let late = since + PATIENCE.saturating_mul(1 + self.workers as u32 / 4);
        Some(stalled.min(late))
    }
}

/// A worker's life.
fn work(core: &Arc<Core>) {
    let switchboard = &core.switchboard;
    let me = thread::current().id();
    let berth = Arc::new(Berth::default());
    let mut board = switchboard.board.lock();
    while !board.is_shut() {
        if let Some(subscription) = board.take_job(me) {
            switchboard.dispatch(&mut board);
            drop(board);
            run::serve(core, &subscription, run::Upto::Dry);
            drop(subscription);
            board = switchboard.board.lock();
            continue;
        }
        berth.called.store(false, Ordering::Relaxed);
        board.idle.push(Arc::clone(&berth));
        let deadline = Instant::now() + IDLE;
        while !berth.called.load(Ordering::Relaxed) {
            if berth.bell.wait_until(&mut board, deadline).timed_out() {
                break;
            }
        }
        if !berth.called.load(Ordering::Relaxed) {
            board.idle.retain(|other| !Arc::ptr_eq(other, &berth));
            break;
        }
    }
    board.workers -= 1;
    // A job may have come for this one while it left.
    switchboard.dispatch(&mut board);
}
