//! One subscription: what it is to deliver, how far it came, and who is called.

use std::fmt;
use std::sync::Arc;

use super::options::{BatchLimits, Delivery, Patience, Start};
use super::source::{Shelf, Source};
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::log::Record;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a callback may fail with.
pub type ConsumeError = Box<dyn std::error::Error + Send + Sync>;

/// A callback's failure that trying again would not mend: the subscription stops at once, whatever
/// tries are left, with the error kept.
#[derive(Debug)]
pub struct GiveUp {
    why: ConsumeError,
}

impl GiveUp {
    /// With what it fails.
    pub fn new(why: impl Into<ConsumeError>) -> Self {
        GiveUp { why: why.into() }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for GiveUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.why.source()
    }
}

pub(super) type Consume = Box<dyn FnMut(&[Record]) -> Result<(), ConsumeError> + Send>;

/// The name of a subscription in its hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(Arc<str>);

impl SubscriptionId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SubscriptionId {
    fn from(name: &str) -> Self {
        SubscriptionId(name.into())
    }
}

impl From<String> for SubscriptionId {
    fn from(name: String) -> Self {
        SubscriptionId(name.into())
    }
}

impl AsRef<str> for SubscriptionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What listeners, queue and status share. The callback is taken out of it before the hub lets go of
/// it: the thread that commits may drop the last reference, and must not run anybody's destructor.
pub(super) struct Subscription {
    pub(super) key: u64,
    pub(super) id: SubscriptionId,
    pub(super) stream: StreamId,
    pub(super) end: Option<SeqId>,
    pub(super) delivery: Delivery,
    pub(super) limits: BatchLimits,
    pub(super) patience: Patience,
    /// The cursor to be advanced, and whether to purge behind it.
    pub(super) cursor: Option<(String, bool)>,
    /// Something was committed since the last look into the log began.
    pub(super) called: AtomicBool,
    /// No further call is to follow.
    pub(super) leaving: AtomicBool,
    /// Everything of the stream up to this SeqId was taken.
    position: AtomicU64,
    pub(super) progress: Mutex<Progress>,
    /// `None` while it runs and when it is over. Only who made it run touches it.
    pub(super) work: Mutex<Option<Work>>,
    pub(super) shelf: Arc<Shelf>,
}

/// What only the one who runs it has.
pub(super) struct Work {
    pub(super) consume: Consume,
    pub(super) source: Source,
    /// The last record that was refused: what is offered again ends there.
    pub(super) refused: Option<SeqId>,
    /// What was taken and the cursor does not say yet.
    pub(super) owed: Option<SeqId>,
}

/// Figures for the status, and the count of failures in a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The log_offset up to which all was taken, where that is known: it is from the first record on.
    pub(super) log_offset: Option<LogOffset>,
    pub(super) delivered: u64,
    pub(super) failures: u64,
    pub(super) in_a_row: u32,
    pub(super) tailing: bool,
    pub(super) last_error: Option<String>,
}

impl Subscription {
    pub(super) fn new(
        key: u64,
        id: SubscriptionId,
        stream: StreamId,
        start: SeqId,
        options: &super::SubscribeOptions,
        consume: Consume,
    ) -> Self {
        let source = Source::new(stream, start, options.end);
        Subscription {
            key,
            id,
            stream,
            end: options.end,
            delivery: options.delivery,
            limits: options.limits,
            patience: options.patience,
            cursor: match &options.start {
                Start::Cursor(name) if options.advance_cursor => Some((name.clone(), options.purge)),
                _ => None,
            },
            called: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            position: AtomicU64::new(start.0),
            progress: Mutex::default(),
            work: Mutex::new(Some(Work { consume, source, refused: None, owed: None })),
            shelf: Arc::default(),
        }
    }

    pub(super) fn position(&self) -> SeqId {
        SeqId(self.position.load(Ordering::SeqCst))
    }

    pub(super) fn is_inline(&self) -> bool {
        self.delivery == Delivery::Inline
    }

    /// False while it runs and once it is over.
    pub(super) fn has_callback(&self) -> bool {
        self.work.lock().is_some()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Records up to `last` were taken; `full` if there may be more behind them.
    pub(super) fn took(&self, records: usize, last: &Record, full: bool) {
        let mut progress = self.progress.lock();
        progress.delivered += records as u64;
        progress.log_offset = Some(last.log_offset);
        progress.in_a_row = 0;
        progress.tailing &= !full;
        // Before the position shows it: who waits for that finds all of it.
        self.position.store(last.seq_id.0, Ordering::SeqCst);
    }

    /// Something failed that is no reason to stop.
    pub(super) fn note(&self, why: String) {
        let mut progress = self.progress.lock();
        progress.failures += 1;
        progress.last_error = Some(why);
    }

    pub(super) fn failed(&self, why: String) -> u32 {
        let mut progress = self.progress.lock();
        progress.failures += 1;
        progress.in_a_row = progress.in_a_row.saturating_add(1);
        progress.last_error = Some(why);
        progress.in_a_row
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .field("stream", &self.stream)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
