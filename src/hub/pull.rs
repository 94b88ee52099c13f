//! A stream's records for a caller who asks for them in its own time: blocking, or as a future.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Core;
use super::board::Ender;
use super::options::BatchLimits;
use super::source::{SharedShelf, Source};
use crate::error::{Error, Result};
use crate::ids::{SeqId, StreamId};
use crate::log::Record;
use crate::sync::{Condvar, Instant, Mutex};

/// Reads a stream batch by batch, backfill and live tail alike, and waits only for its own stream.
/// Made by [`Hub::pull`](super::Hub::pull).
///
/// It holds a position and no records: what [`next_batch`](Pull::next_batch) returned is taken, what a
/// dropped future did not return is not. It does not keep its hub from being closed.
///
/// ```
/// # use stratalog::{Batch, Hub, HubOptions, Log, SeqId, Start, StreamId};
/// # let dir = tempfile::tempdir()?;
/// # let hub = Hub::new(Log::open(dir.path())?, HubOptions::new())?;
/// # let stream = StreamId::from_u128(1);
/// hub.append(stream, &Batch::one(b"hello"))?;
/// let mut pull = hub.pull(stream, Start::After(SeqId(0)), None)?;
/// assert_eq!(pull.next_batch(None)?[0].payload, &b"hello"[..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pull {
    core: Arc<Core>,
    stream: StreamId,
    end: Option<SeqId>,
    limits: BatchLimits,
    position: SeqId,
    finished: bool,
    source: Source,
    shelf: SharedShelf,
    bell: Arc<Bell>,
}

impl Pull {
    pub(super) fn new(core: &Arc<Core>, stream: StreamId, start: SeqId, end: Option<SeqId>) -> Self {
        let pull = Pull {
            core: Arc::clone(core),
            stream,
            end,
            limits: BatchLimits::default(),
            position: start,
            finished: false,
            source: Source::new(stream, start, end),
            shelf: SharedShelf::default(),
            bell: Arc::new(Bell { key: core.new_key(), state: Mutex::default(), rung: Condvar::new() }),
        };
        core.switchboard.hang(stream, &pull.bell);
        pull
    }

    /// The most records in a batch. Default: 1,024; 0 counts as 1.
    #[must_use]
    pub fn max_batch_records(mut self, records: usize) -> Self {
        self.limits.records = records.max(1);
        self
    }

    /// Bytes of payload after which a batch is full: the record that reaches them is its last.
    /// Default: 4 MiB; 0 counts as 1.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes.max(1);
        self
    }

    /// The next records, waiting for them up to `timeout`, or for ever. An empty list means that the
    /// time is over, or the end of the range is reached: see [`is_finished`](Pull::is_finished).
    ///
    /// # Errors
    /// [`Error::Closed`] once hub or log are closed; and as reading: the records before the damage
    /// came with an earlier call, and the next call goes on behind it.
    pub fn next_batch(&mut self, timeout: Option<Duration>) -> Result<Vec<Record>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.bell.reset();
            if let Some(batch) = self.take()? {
                return Ok(batch);
            }
            if timeout == Some(Duration::ZERO) {
                return Ok(Vec::new());
            }
            if self.rest() && !self.bell.wait(deadline) {
                return Ok(Vec::new());
            }
        }
    }

    /// As [`next_batch`](Pull::next_batch) without a timeout, for any executor. The future may be
    /// dropped at any time: what it did not return comes with the next call.
    pub fn next_batch_async(&mut self) -> impl Future<Output = Result<Vec<Record>>> + Send + '_ {
        NextBatch { pull: self }
    }

    /// Everything of the stream up to here was returned.
    #[must_use]
    pub fn position(&self) -> SeqId {
        self.position
    }

    /// True once everything up to the end of the range was returned.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What there is now; an empty list at the end of the range, `None` if it is to be waited for.
    fn take(&mut self) -> Result<Option<Vec<Record>>> {
        if self.finished {
            return Ok(Some(Vec::new()));
        }
        if self.core.is_closed() {
            return Err(Error::Closed);
        }
        self.source.resume(&self.shelf);
        let log = &self.core.log;
        let mut visible = log.committed();
        let mut records = Vec::new();
        self.source.fill(log, self.limits, None, &mut records)?;
        if records.is_empty() && log.is_read_only() {
            log.refresh()?;
            visible = log.committed();
            self.source.fill(log, self.limits, None, &mut records)?;
        }
        if let Some(last) = records.last() {
            self.position = last.seq_id;
            self.source.took(last.seq_id);
            self.finished = self.end == Some(last.seq_id);
            return Ok(Some(records));
        }
        if self.end.is_some_and(|end| visible >= end) {
            self.finished = true;
            return Ok(Some(records));
        }
        Ok(None)
    }

    /// Before a wait. False if there is something to look at already.
    fn rest(&mut self) -> bool {
        let switchboard = &self.core.switchboard;
        let mut board = switchboard.board.lock();
        if self.core.log.is_read_only() || self.end.is_some() {
            // Nobody else would tell; without a thread for it the wait may last longer than it has to.
            let _ = switchboard.start_clock(&mut board);
        }
        if let Some(end) = self.end {
            let ender = Ender::Pull(Arc::clone(&self.bell));
            if switchboard.await_end(&mut board, &self.core, end.0, self.bell.key, ender) {
                return false;
            }
        }
        self.source.rest(&self.shelf);
        let stale = if switchboard.shelve(&mut board, &self.shelf) { None } else { self.shelf.take() };
        drop(board);
        drop(stale);
        true
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.core.switchboard.take_down(self.stream, &self.bell);
        if let Some(end) = self.end {
            self.core.switchboard.board.lock().enders.remove(&(end.0, self.bell.key));
        }
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull")
            .field("stream", &self.stream)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

struct NextBatch<'a> {
    pull: &'a mut Pull,
}

impl Future for NextBatch<'_> {
    type Output = Result<Vec<Record>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let pull = &mut *self.pull;
        loop {
            pull.bell.reset();
            match pull.take() {
                Ok(Some(batch)) => return Poll::Ready(Ok(batch)),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(None) => {}
            }
            if pull.rest() && pull.bell.leave_waker(context.waker()) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for NextBatch<'_> {
    fn drop(&mut self) {
        // Nobody is to be woken for what is not awaited any more.
        let waker = self.pull.bell.state.lock().waker.take();
        drop(waker);
    }
}

/// Where a pull that waits is told that its stream, or the log, moved.
#[derive(Debug)]
pub(super) struct Bell {
    key: u64,
    state: Mutex<Ringing>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Ringing {
    /// Since the last look into the log began.
    called: bool,
    waker: Option<Waker>,
}

impl Bell {
    pub(super) fn ring(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.called = true;
            state.waker.take()
        };
        self.rung.notify_all();
        if let Some(waker) = waker {
            // An executor that panics is not to take the one who commits along.
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }

    /// Before a look: who rings from here on makes for another one.
    fn reset(&self) {
        self.state.lock().called = false;
    }

    /// False if the time is over.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while !state.called {
            match deadline {
                None => self.rung.wait(&mut state),
                Some(deadline) => {
                    if self.rung.wait_until(&mut state, deadline).timed_out() {
                        return state.called;
                    }
                }
            }
        }
        true
    }

    /// False if it rang since the look, so that there is no need to wait.
    fn leave_waker(&self, waker: &Waker) -> bool {
        // Copied and dropped where no lock is held: both are an executor's code.
        let waker = waker.clone();
        let mut state = self.state.lock();
        if state.called {
            return false;
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_since_the_last_look_ends_a_wait_before_it_begins() {
        let bell = Bell { key: 1, state: Mutex::default(), rung: Condvar::new() };
        bell.reset();
        bell.ring();
        assert!(!bell.leave_waker(Waker::noop()));
        assert!(bell.wait(Some(Instant::now())));
        bell.reset();
        assert!(bell.leave_waker(Waker::noop()));
        assert!(!bell.wait(Some(Instant::now())));
    }
}
