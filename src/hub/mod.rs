//! In-memory fan-out over a log: subscriptions, backfill and live tail.
//!
//! The log is the queue. A subscription is a position, a callback and a state; it never holds records
//! between two calls, so a slow one costs no memory and holds up nobody.
//!
//! Lock order, outermost first: the map of who wants to know of which stream (held for a look-up or a
//! change, never while another one is taken) | `Switchboard::board` | what belongs to one subscription
//! (`work`, `shelf`, `progress`) or one pull. The log's own locks are taken under none but `board`, and
//! there only its watermarks are read, which takes the lock of the list of segments for a look. No
//! callback, waker or destructor of anybody's is run under any of them.
//!
//! Who waits for what: `unsubscribe` and `close` for the end of a run; `append` for the position of
//! inline subscriptions, but never from inside a callback. A wait inside a callback that would close a
//! circle is not begun.

mod board;
mod clock;
mod cursor;
mod inline;
mod inside;
mod leave;
mod options;
mod pool;
mod pull;
mod run;
mod source;
mod status;
mod subscribe;
mod subscription;
mod switchboard;

use std::fmt;
use std::sync::{self, Arc, Weak};

pub use options::{Delivery, HubOptions, Start, SubscribeOptions};
pub use pull::Pull;
pub use status::{SubscriptionState, SubscriptionStatus};
pub use subscription::{ConsumeError, GiveUp, SubscriptionId};

use crate::batch::Batch;
use crate::error::Result;
use crate::ids::{SeqId, StreamId};
use crate::log::{Appended, CommitListener, Log, Record, Terms};
use crate::sync::atomic::{AtomicU64, Ordering};
use switchboard::Switchboard;

/// Serves subscriptions over a [`Log`].
///
/// Clones are handles on the same hub; it is closed when [`close`](Hub::close) is called or the last
/// handle goes. A callback that holds a handle keeps it from going. The log may be appended to
/// through the hub or past it; subscribers see the same.
///
/// Threads are started when they are needed, and none for what is delivered inline.
///
/// ```
/// use std::sync::mpsc;
/// use stratalog::{Batch, Hub, HubOptions, Log, SeqId, Start, StreamId, SubscribeOptions};
/// # let dir = tempfile::tempdir()?;
/// let hub = Hub::new(Log::open(dir.path())?, HubOptions::new())?;
/// let stream = StreamId::from_u128(1);
/// hub.append(stream, &Batch::one(b"before"))?;
///
/// let (seen, records) = mpsc::channel();
/// let options = SubscribeOptions::new().start(Start::After(SeqId(0)));
/// let id = hub.subscribe(stream, options, move |batch| {
///     for record in batch {
///         seen.send(record.payload.clone())?;
///     }
///     Ok(())
/// })?;
///
/// hub.append(stream, &Batch::one(b"after"))?;
/// assert_eq!(records.recv()?, &b"before"[..]);
/// assert_eq!(records.recv()?, &b"after"[..]);
/// hub.unsubscribe(&id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    handle: Arc<Handle>,
}

/// Owned by the hub's handles alone, so that the last one to go closes it.
struct Handle {
    core: Arc<Core>,
}

/// Held by handles, pulls and the hub's own threads.
struct Core {
    log: Log,
    options: HubOptions,
    switchboard: Arc<Switchboard>,
    next_key: AtomicU64,
}

/// Hubs of this process are told apart by a number.
static HUBS: sync::atomic::AtomicU64 = sync::atomic::AtomicU64::new(1);

impl Hub {
    /// A hub over `log`, which stays open for as long as the hub does, unless it is closed.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if an option is out of its range.
    pub fn new(log: Log, options: HubOptions) -> Result<Hub> {
        options.validate()?;
        let switchboard = Switchboard::new(HUBS.fetch_add(1, Ordering::Relaxed));
        let listener: Weak<dyn CommitListener> =
            Arc::downgrade(&(Arc::clone(&switchboard) as Arc<dyn CommitListener>));
        let core = Arc::new(Core { log, options, switchboard, next_key: AtomicU64::new(1) });
        let _ = core.switchboard.core.set(Arc::downgrade(&core));
        core.log.listen(listener);
        Ok(Hub { handle: Arc::new(Handle { core }) })
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.core().log
    }

    /// Calls `consume` with the records of a stream: those after the start and up to the end, in
    /// order, each at least once, in batches, one call at a time. What is committed while earlier
    /// records are delivered follows them without a gap. It sees only committed records.
    ///
    /// An error or a panic of `consume` counts as a failure: the same records are offered again after
    /// a pause, and others are not held up. A subscription that fails too often, gives up ([`GiveUp`]),
    /// or meets damaged or missing records, stops with its error kept in its [`status`](Hub::status);
    /// it never skips any.
    ///
    /// `consume` may call anything of hub and log. It is dropped when the subscription is over.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a start that is not before the end or lies beyond
    /// the newest SeqId, for an id in use, for an option out of its range;
    /// [`Error::Purged`](crate::Error::Purged) for a start before the stream's purge point;
    /// [`Error::NoCursor`](crate::Error::NoCursor) for a cursor that is not there, where none can be made;
    /// [`Error::Closed`](crate::Error::Closed); [`Error::Io`](crate::Error::Io) if no thread can be
    /// started.
    pub fn subscribe<F>(
        &self,
        stream: StreamId,
        options: SubscribeOptions,
        consume: F,
    ) -> Result<SubscriptionId>
    where
        F: FnMut(&[Record]) -> Result<(), ConsumeError> + Send + 'static,
    {
        self.core().subscribe(stream, options, Box::new(consume))
    }

    /// Ends a subscription. When this returns its callback does not run, will not run again and was
    /// dropped; its name is free. An unknown id is no error.
    ///
    /// From inside that very callback it returns at once, and no further call follows. The same holds
    /// where waiting would never end, because the callback in turn waits, through `unsubscribe`, for
    /// one that the caller is inside of.
    pub fn unsubscribe(&self, id: &SubscriptionId) {
        self.core().unsubscribe(id);
    }

    /// Appends as [`Log::append`] does, and returns after the [`Delivery::Inline`] subscriptions of the
    /// stream were called with the batch. A subscription whose callback fails has been called, and
    /// costs the append neither its success nor time.
    ///
    /// From inside a callback it does not wait for subscriptions that are being called on other
    /// threads, or whose callback it was called from: they get the batch next.
    ///
    /// # Errors
    /// As [`Log::append`], and [`Error::Closed`](crate::Error::Closed) once the hub is closed.
    pub fn append(&self, stream: StreamId, batch: &Batch) -> Result<Appended> {
        let core = self.core();
        core.append(stream, || core.log.append(stream, batch))
    }

    /// As [`append`](Hub::append), on [`Terms`].
    ///
    /// # Errors
    /// As [`Log::append_on`], and [`Error::Closed`](crate::Error::Closed) once the hub is closed.
    pub fn append_on(&self, terms: &Terms, stream: StreamId, batch: &Batch) -> Result<Appended> {
        let core = self.core();
        core.append(stream, || core.log.append_on(terms, stream, batch))
    }

    /// The inline part of [`append`](Hub::append), for who appended past the hub: returns after the
    /// inline subscriptions of the stream were called with what it has up to `upto`, which must be
    /// committed.
    pub fn deliver(&self, stream: StreamId, upto: SeqId) {
        let core = self.core();
        core.deliver(stream, upto.min(core.log.committed()));
    }

    /// How a subscription stands; `None` if nobody has that name. The last 1,024 that ended, stopped
    /// or were closed can be asked for until their name is used again. See
    /// [`SubscriptionStatus::lag_bytes`] for the cost.
    #[must_use]
    pub fn status(&self, id: &SubscriptionId) -> Option<SubscriptionStatus> {
        self.core().status(id)
    }

    /// How all subscriptions stand, sorted by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<SubscriptionStatus> {
        self.core().statuses()
    }

    /// A stream's records for a caller who asks for them: those after `start` and up to `end`.
    ///
    /// # Errors
    /// As [`subscribe`](Hub::subscribe), as far as it applies.
    pub fn pull(&self, stream: StreamId, start: Start, end: Option<SeqId>) -> Result<Pull> {
        let core = self.core();
        let start = core.range(stream, &start, end)?;
        Ok(Pull::new(core, stream, start, end))
    }

    /// Ends all subscriptions and lets the threads go. When this returns no callback runs, and none
    /// will; from inside a callback it returns at once, and no further calls follow. The log stays
    /// open. Every later call that needs the hub fails with [`Error::Closed`](crate::Error::Closed).
    /// Closing twice is no error.
    pub fn close(&self) {
        self.core().close();
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl Core {
    fn new_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("log", self.log()).finish_non_exhaustive()
    }
}
