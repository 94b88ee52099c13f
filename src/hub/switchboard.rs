//! What the log tells when something was committed. Holds no log and no callback of its own, so the
//! thread that commits may be the last to let go of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::Core;
use super::board::{Board, Over, Phase};
use super::pool::STALL;
use super::pull::Bell;
use super::subscription::Subscription;
use crate::ids::StreamId;
use crate::log::CommitListener;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, RwLock};

/// How late it may be noticed that other streams' records took the log past an end.
const END_DELAY: Duration = Duration::from_millis(2);

pub(super) struct Switchboard {
    /// Tells this hub from others of the process.
    pub(super) hub: u64,
    interest: RwLock<HashMap<StreamId, Arc<Parties>>>,
    pub(super) board: Mutex<Board>,
    /// A run is over, a position moved while somebody watched, a thread left.
    pub(super) moved: Condvar,
    pub(super) clock_bell: Condvar,
    /// The hub or the log was closed.
    pub(super) shut: AtomicBool,
    /// Threads that wait for a position.
    pub(super) watchers: AtomicUsize,
    /// Somebody waits for the log to come to a SeqId.
    pub(super) ends_wanted: AtomicBool,
    /// Itself, and the core, for the threads it starts.
    pub(super) this: Weak<Switchboard>,
    pub(super) core: OnceLock<Weak<Core>>,
}

/// Who wants to know of a stream. Replaced as a whole, so that it is read without a lock.
#[derive(Debug, Clone, Default)]
pub(super) struct Parties {
    pub(super) threaded: Vec<Arc<Subscription>>,
    pub(super) inline: Vec<Arc<Subscription>>,
    bells: Vec<Arc<Bell>>,
}

impl Parties {
    fn is_empty(&self) -> bool {
        self.threaded.is_empty() && self.inline.is_empty() && self.bells.is_empty()
    }
}

impl Switchboard {
    pub(super) fn new(hub: u64) -> Arc<Self> {
        Arc::new_cyclic(|this| Switchboard {
            hub,
            this: Weak::clone(this),
            interest: RwLock::default(),
            board: Mutex::default(),
            moved: Condvar::new(),
            clock_bell: Condvar::new(),
            shut: AtomicBool::new(false),
            watchers: AtomicUsize::new(0),
            ends_wanted: AtomicBool::new(false),
            core: OnceLock::new(),
        })
    }

    /// Who wants to know of `stream`; `None`, mostly.
    pub(super) fn parties(&self, stream: StreamId) -> Option<Arc<Parties>> {
        self.interest.read().get(&stream).cloned()
    }

    fn change(&self, stream: StreamId, change: impl FnOnce(&mut Parties)) {
        let mut interest = self.interest.write();
        let parties = interest.entry(stream).or_default();
        change(Arc::make_mut(parties));
        if parties.is_empty() {
            interest.remove(&stream);
        }
    }

    pub(super) fn join(&self, subscription: &Arc<Subscription>) {
        self.change(subscription.stream, |parties| {
            let list = if subscription.is_inline() { &mut parties.inline } else { &mut parties.threaded };
            list.push(Arc::clone(subscription));
        });
    }

    pub(super) fn part(&self, subscription: &Subscription) {
        self.change(subscription.stream, |parties| {
            let list = if subscription.is_inline() { &mut parties.inline } else { &mut parties.threaded };
            list.retain(|held| held.key != subscription.key);
        });
    }

    pub(super) fn hang(&self, stream: StreamId, bell: &Arc<Bell>) {
        self.change(stream, |parties| parties.bells.push(Arc::clone(bell)));
    }

    pub(super) fn take_down(&self, stream: StreamId, bell: &Arc<Bell>) {
        self.change(stream, |parties| parties.bells.retain(|held| !Arc::ptr_eq(held, bell)));
    }

    pub(super) fn forget_all(&self) {
        let all = std::mem::take(&mut *self.interest.write());
        drop(all);
    }

    fn call(&self, parties: &Parties) {
        let mut board: Option<MutexGuard<'_, Board>> = None;
        for subscription in parties.threaded.iter().chain(&parties.inline) {
            // Both sides exchange, so one of the two sees the other: the one who runs sees this call
            // or the records, and who was the first to call since its last look goes on to the board.
            if subscription.called.swap(true, Ordering::AcqRel) {
                continue;
            }
            board.get_or_insert_with(|| self.board.lock()).call(subscription.key);
        }
        if let Some(mut board) = board {
            self.dispatch(&mut board);
        }
        for bell in &parties.bells {
            bell.ring();
        }
    }

    /// Calls everybody; for a log that does not tell what was committed.
    pub(super) fn call_all(&self) {
        let all: Vec<_> = self.interest.read().values().cloned().collect();
        for parties in all {
            self.call(&parties);
        }
    }

    pub(super) fn ring_all(&self) {
        let all: Vec<_> = self.interest.read().values().cloned().collect();
        for bell in all.iter().flat_map(|parties| &parties.bells) {
            bell.ring();
        }
    }

    /// One wake-up at most, if something is queued: who takes a job calls the next worker.
    pub(super) fn dispatch(&self, board: &mut Board) {
        let Some(since) = board.queued_since() else { return };
        if let Some(berth) = board.idle.pop() {
            berth.call();
            return;
        }
        let now = Instant::now();
        // Without any worker the clock is to start one at once, otherwise if nobody comes free soon.
        let due = if board.workers == 0 { now } else { board.last_taken.unwrap_or(since).max(since) + STALL };
        self.call_clock(board, due);
    }

    /// The clock will look at `due` or before.
    pub(super) fn call_clock(&self, board: &mut Board, due: Instant) {
        if !board.clock_runs {
            // A failure to start it leaves the job in the queue; the next call tries again.
            let _ = self.start_clock(board);
        }
        if board.clock_due.is_none_or(|planned| due < planned) {
            board.clock_due = Some(due);
            self.clock_bell.notify_one();
        }
    }

    /// Tells those who wait for a position or for the end of a run.
    pub(super) fn tell_watchers(&self) {
        // Pairs with the fence of who waits: either this load sees the watcher or it sees the position.
        fence(Ordering::SeqCst);
        if self.watchers.load(Ordering::Relaxed) > 0 {
            drop(self.board.lock());
            self.moved.notify_all();
        }
    }
}

impl CommitListener for Switchboard {
    fn committed(&self, stream: StreamId) {
        if let Some(parties) = self.parties(stream) {
            self.call(&parties);
        }
    }

    fn moved(&self) {
        // Pairs with the fence of who begins to wait for an end.
        fence(Ordering::SeqCst);
        if self.ends_wanted.load(Ordering::Relaxed) && self.ends_wanted.swap(false, Ordering::AcqRel) {
            let mut board = self.board.lock();
            let due = Instant::now() + END_DELAY;
            board.ends_due = Some(due);
            self.call_clock(&mut board, due);
        }
    }

    fn closed(&self) {
        let mut board = self.board.lock();
        if board.is_shut() {
            return;
        }
        board.log_closed = true;
        self.shut.store(true, Ordering::SeqCst);
        board.shut();
        drop(board);
        self.clock_bell.notify_all();
        self.moved.notify_all();
        self.ring_all();
    }
}

impl Board {
    /// Nobody is called back any more: who runs leaves after the call it is in, all others now. Their
    /// callbacks stay where they are.
    pub(super) fn shut(&mut self) {
        for seat in self.seats.values_mut() {
            match seat.phase {
                Phase::Over(_) => continue,
                Phase::Running(_) => {
                    seat.leave.get_or_insert(Over::Closed);
                }
                Phase::Idle | Phase::Queued | Phase::Pausing(_) => seat.phase = Phase::Over(Over::Closed),
            }
            seat.subscription.leaving.store(true, Ordering::SeqCst);
        }
        self.timers.clear();
        self.enders.clear();
        self.empty_queue();
        for berth in self.idle.drain(..) {
            berth.call();
        }
    }
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").field("hub", &self.hub).finish_non_exhaustive()
    }
}
