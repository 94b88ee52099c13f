//! How a hub and its subscriptions are set up.

use std::time::Duration;

use super::SubscriptionId;
use crate::error::{Error, Result};
use crate::ids::SeqId;

/// The most threads a hub may be given.
const MOST_THREADS: usize = 65_536;

/// Options of a hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    pub(super) max_threads: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        HubOptions { max_threads: 256 }
    }
}

impl HubOptions {
    /// The defaults, named at each method.
    #[must_use]
    pub fn new() -> Self {
        HubOptions::default()
    }

    /// The most threads that call back at the same time. Threads are started when callbacks are so
    /// slow that others would wait, and go when they are not needed; with all of them in slow
    /// callbacks, other subscriptions wait for their turn. One more thread keeps the time.
    /// Default: 256; from 1 to 65,536.
    #[must_use]
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads;
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        expect_range("max_threads", self.max_threads as u64, 1, MOST_THREADS as u64)
    }
}

/// Where a subscription begins. Delivered is what comes after that place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With what is committed after the call.
    Now,
    /// After this SeqId; 0 is before the first record.
    After(SeqId),
    /// Where the stream's durable cursor of this name stands. One that is not there yet is made, before
    /// what is left of the stream, so that from then on no purge passes it.
    Cursor(String),
}

/// On whose time a subscription is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// A thread of the hub calls back. Producers never wait.
    #[default]
    Threaded,
    /// [`Hub::append`](super::Hub::append) calls back before it returns, so that who appended
    /// finds its records applied. What was appended in any other way, and what has to be offered
    /// again after a failure, comes from a thread of the hub.
    Inline,
}

/// What a subscription delivers, and how.
///
/// ```
/// use stratalog::{SeqId, Start, SubscribeOptions};
/// let options = SubscribeOptions::new().id("indexer").start(Start::After(SeqId(0))).end(SeqId(1_000));
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    pub(super) start: Start,
    pub(super) end: Option<SeqId>,
    pub(super) id: Option<SubscriptionId>,
    pub(super) delivery: Delivery,
    pub(super) limits: BatchLimits,
    pub(super) patience: Patience,
    pub(super) advance_cursor: bool,
    pub(super) purge: bool,
}

/// How much is handed over at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) records: usize,
    pub(super) bytes: u64,
}

/// What is done about a callback that fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) max_tries: Option<u32>,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits { records: 1_024, bytes: 4 << 20 }
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        SubscribeOptions {
            start: Start::Now,
            end: None,
            id: None,
            delivery: Delivery::Threaded,
            limits: BatchLimits::default(),
            patience: Patience {
                max_tries: Some(10),
                first_pause: Duration::from_millis(10),
                longest_pause: Duration::from_secs(5),
            },
            advance_cursor: false,
            purge: false,
        }
    }
}

impl SubscribeOptions {
    /// The defaults, named at each method.
    #[must_use]
    pub fn new() -> Self {
        SubscribeOptions::default()
    }

    /// Where it begins. Default: [`Start::Now`].
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The last SeqId it delivers, if its stream has it. It ends by itself when everything of its
    /// stream up to there was delivered and the log has come that far, with records of whatever
    /// stream. Default: none, it never ends.
    #[must_use]
    pub fn end(mut self, end: SeqId) -> Self {
        self.end = Some(end);
        self
    }

    /// Its name, which must not be in use. Default: one that nobody has.
    #[must_use]
    pub fn id(mut self, id: impl Into<SubscriptionId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Who calls back. Default: [`Delivery::Threaded`].
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The most records handed over at once. Default: 1,024; at least 1.
    #[must_use]
    pub fn max_batch_records(mut self, records: usize) -> Self {
        self.limits.records = records;
        self
    }

    /// Bytes of payload after which a batch is full: the record that reaches them is its last.
    /// Default: 4 MiB; at least 1.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How often the same records are offered before the subscription stops; `None` for ever.
    /// Default: 10; at least 1.
    #[must_use]
    pub fn max_tries(mut self, tries: Option<u32>) -> Self {
        self.patience.max_tries = tries;
        self
    }

    /// The pause after a first failure. Each further one in a row doubles it. Default: 10 ms.
    #[must_use]
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.patience.first_pause = pause;
        self
    }

    /// The longest pause after a failure. Default: 5 s.
    #[must_use]
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.patience.longest_pause = pause;
        self
    }

    /// Advances the cursor of [`Start::Cursor`] after each success, so that a restart goes on behind
    /// it. Each batch then costs a commit of its own. A cursor that can't be advanced counts as a
    /// failure; the records are not offered again for it. Default: no.
    #[must_use]
    pub fn advance_cursor(mut self, advance: bool) -> Self {
        self.advance_cursor = advance;
        self
    }

    /// Purges what every cursor of the stream has passed, when that may free a segment; with
    /// [`advance_cursor`](SubscribeOptions::advance_cursor). A purge that fails counts as a failure and
    /// is tried again after the next batch. Default: no.
    #[must_use]
    pub fn purge(mut self, purge: bool) -> Self {
        self.purge = purge;
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.limits.validate()?;
        if self.advance_cursor && !matches!(self.start, Start::Cursor(_)) {
            return Err(Error::Invalid(format!(
                "advance_cursor: expected a start at a cursor, found {:?}",
                self.start
            )));
        }
        if self.purge && !self.advance_cursor {
            return Err(Error::Invalid("purge: expected advance_cursor beside it, found none".into()));
        }
        if self.patience.max_tries == Some(0) {
            return Err(Error::Invalid("max_tries: expected at least 1, or none for ever, found 0".into()));
        }
        let (first, longest) = (self.patience.first_pause, self.patience.longest_pause);
        if first > longest {
            return Err(Error::Invalid(format!(
                "first_pause: expected at most longest_pause, {longest:?}, found {first:?}"
            )));
        }
        Ok(())
    }
}

impl BatchLimits {
    pub(super) fn validate(&self) -> Result<()> {
        expect_range("max_batch_records", self.records as u64, 1, u64::MAX)?;
        expect_range("max_batch_bytes", self.bytes, 1, u64::MAX)
    }
}

impl Patience {
    /// The pause after so many failures in a row; `None`: no more tries.
    pub(super) fn pause_after(&self, failures: u32) -> Option<Duration> {
        if self.max_tries.is_some_and(|most| failures >= most) {
            return None;
        }
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        // Never none at all: who fails at once would keep a thread busy.
        Some(
            self.first_pause
                .max(Duration::from_millis(1))
                .saturating_mul(doubled)
                .min(self.longest_pause.max(Duration::from_millis(1))),
        )
    }
}

fn expect_range(name: &str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Invalid(match most {
        u64::MAX => format!("{name}: expected at least {least}, found {value}"),
        _ => format!("{name}: expected {least} to {most}, found {value}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_tries_are_counted() {
        let patience = Patience {
            max_tries: Some(4),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(35),
        };
        let pauses: Vec<_> = (1..=4).map(|n| patience.pause_after(n).map(|p| p.as_millis())).collect();
        assert_eq!(pauses, [Some(10), Some(20), Some(35), None]);
        let for_ever = Patience { max_tries: None, ..patience };
        assert_eq!(for_ever.pause_after(u32::MAX), Some(Duration::from_millis(35)));
    }
}
