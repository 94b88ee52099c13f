//! A consumer that hands on what it is called with, and one that waits for leave to return.

use std::error::Error;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::Checked;
use crate::hub::{SubscriptionId, SubscriptionState, SubscriptionStatus};
use crate::ingest::{Consume, Ingest, LogRecord};

pub(super) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Longer than anything may take.
const LONGEST: Duration = Duration::from_secs(20);

/// What a consumer was called with, call by call.
pub(super) struct Seen {
    calls: Receiver<Vec<LogRecord>>,
    waiting: Vec<LogRecord>,
}

impl Seen {
    /// A consumer that takes everything.
    pub(super) fn consumer() -> (Consume, Seen) {
        let (tell, calls) = mpsc::channel();
        let consume = move |records: &[LogRecord]| {
            // Whoever no longer listens has what it wanted.
            let _ = tell.send(records.to_vec());
            Ok(())
        };
        (Box::new(consume), Seen::of(calls))
    }

    /// What a consumer that the check writes itself sends.
    pub(super) fn of(calls: Receiver<Vec<LogRecord>>) -> Seen {
        Seen { calls, waiting: Vec::new() }
    }

    /// The next call.
    pub(super) fn call(&mut self) -> Fallible<Vec<LogRecord>> {
        let called = self.calls.recv_timeout(LONGEST);
        called.map_err(|_| format!("expected a call within {LONGEST:?}, found none").into())
    }

    /// The next `count` records, whatever calls they come in.
    pub(super) fn take(&mut self, count: usize) -> Fallible<Vec<LogRecord>> {
        let until = Instant::now() + LONGEST;
        while self.waiting.len() < count {
            let Ok(call) = self.calls.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                let found = self.waiting.len();
                return Err(format!("expected {count} records within {LONGEST:?}, found {found}").into());
            };
            self.waiting.extend(call);
        }
        Ok(self.waiting.drain(..count).collect())
    }

    /// What has come by now and was not taken.
    pub(super) fn so_far(&mut self) -> Vec<LogRecord> {
        self.waiting.extend(self.calls.try_iter().flatten());
        std::mem::take(&mut self.waiting)
    }

    /// Waits until the subscription has ended by itself.
    pub(super) fn ended(&mut self, ingest: &dyn Ingest, id: &SubscriptionId) -> Checked {
        until(ingest, id, "the end", |status| status.is_none_or(|s| s.state == SubscriptionState::Ended))
    }
}

/// Waits until a subscription's status says so.
pub(super) fn until(
    ingest: &dyn Ingest,
    id: &SubscriptionId,
    what: &str,
    says: impl Fn(Option<&SubscriptionStatus>) -> bool,
) -> Checked {
    let over = Instant::now() + LONGEST;
    loop {
        let status = ingest.subscription(id)?;
        if says(status.as_ref()) {
            return Ok(());
        }
        if Instant::now() > over {
            return Err(format!("expected {what} within {LONGEST:?}, found {status:?}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A consumer that says that it was called, and returns when it is let go: for good once this is dropped.
pub(super) struct Gate {
    let_go: Sender<()>,
}

impl Gate {
    pub(super) fn consumer() -> (Consume, Seen, Gate) {
        let (tell, calls) = mpsc::channel();
        let (let_go, leave) = mpsc::channel();
        let consume = move |records: &[LogRecord]| {
            let _ = tell.send(records.to_vec());
            let _ = leave.recv_timeout(LONGEST);
            Ok(())
        };
        (Box::new(consume), Seen::of(calls), Gate { let_go })
    }

    /// Lets one call return.
    pub(super) fn open_once(&self) {
        let _ = self.let_go.send(());
    }
}
