//! Who is to run, who runs, and who waits for whom: what the hub's one lock protects.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};

use super::pool::Berth;
use super::pull::Bell;
use super::source::Shelf;
use super::subscription::{Subscription, SubscriptionId};
use crate::sync::Instant;
use crate::sync::atomic::Ordering;
use crate::sync::thread::ThreadId;

/// Subscriptions that are over and can still be asked for; older ones are forgotten.
const REMEMBERED: usize = 1_024;

/// A subscription's way: idle -> queued -> running -> idle, queued, pausing or over.
///
/// A call that comes while it runs is kept in `Subscription::called`. It goes idle only if, under the
/// board's lock, nobody called since its last look into the log began; so no call is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Queued,
    /// By this thread, which alone may touch its `Work`.
    Running(ThreadId),
    /// After a failure; a timer ends it.
    Pausing(Instant),
    Over(Over),
}

/// How a subscription came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Ended,
    Stopped,
    Closed,
    /// Unsubscribed: not even remembered.
    Gone,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) subscription: Arc<Subscription>,
    pub(super) phase: Phase,
    /// What becomes of it when its run is over, once it is told to leave.
    pub(super) leave: Option<Over>,
    /// It has an entry in the queue, maybe a stale one.
    in_queue: bool,
    /// Inline: threads on their way to run it, so that nobody else needs to be called.
    pub(super) helpers: usize,
}

/// Who is to be told when the log has come to a SeqId, with records of whatever stream.
#[derive(Debug, Clone)]
pub(super) enum Ender {
    Subscription,
    Pull(Arc<Bell>),
}

#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) seats: HashMap<u64, Seat>,
    pub(super) names: HashMap<SubscriptionId, u64>,
    /// Who is called, oldest first, and since when.
    queue: VecDeque<(u64, Instant)>,
    /// Workers with nothing to do; the last one in is the first to be woken.
    pub(super) idle: Vec<Arc<Berth>>,
    pub(super) workers: usize,
    /// Workers and the clock.
    pub(super) threads: usize,
    pub(super) last_taken: Option<Instant>,
    pub(super) clock_runs: bool,
    /// When the clock will look next; `None`: only when it is called.
    pub(super) clock_due: Option<Instant>,
    pub(super) timers: BTreeSet<(Instant, u64)>,
    /// By the SeqId at which they end.
    pub(super) enders: BTreeMap<(u64, u64), Ender>,
    pub(super) ends_due: Option<Instant>,
    pub(super) shelved: VecDeque<(Instant, Weak<Shelf>)>,
    /// Which subscription a thread waits for, to be no longer running.
    waits: HashMap<ThreadId, u64>,
    over: VecDeque<u64>,
    /// The hub was closed: its threads leave.
    pub(super) closed: bool,
    /// The log was.
    pub(super) log_closed: bool,
}

impl Board {
    pub(super) fn seat(&mut self, subscription: Arc<Subscription>, phase: Phase) {
        self.names.insert(subscription.id.clone(), subscription.key);
        let seat = Seat { phase, leave: None, in_queue: false, helpers: 0, subscription };
        self.seats.insert(seat.subscription.key, seat);
    }

    /// True if nobody is called back any more.
    pub(super) fn is_shut(&self) -> bool {
        self.closed || self.log_closed
    }

    /// Something was committed. True if it was put into the queue.
    pub(super) fn call(&mut self, key: u64) -> bool {
        match self.seats.get(&key) {
            Some(seat) if seat.phase == Phase::Idle && seat.helpers == 0 => self.enqueue(key),
            _ => false,
        }
    }

    pub(super) fn enqueue(&mut self, key: u64) -> bool {
        let Some(seat) = self.seats.get_mut(&key) else { return false };
        seat.phase = Phase::Queued;
        self.forget_end(key);
        let Some(seat) = self.seats.get_mut(&key) else { return false };
        if !seat.in_queue {
            seat.in_queue = true;
            self.queue.push_back((key, Instant::now()));
        }
        true
    }

    /// The next one in the queue, now running on `thread`.
    pub(super) fn take_job(&mut self, thread: ThreadId) -> Option<Arc<Subscription>> {
        while let Some((key, _)) = self.queue.pop_front() {
            let Some(seat) = self.seats.get_mut(&key) else { continue };
            seat.in_queue = false;
            // Somebody else may have run it meanwhile.
            if seat.phase == Phase::Queued {
                seat.phase = Phase::Running(thread);
                self.last_taken = Some(Instant::now());
                return Some(Arc::clone(&seat.subscription));
            }
        }
        None
    }

    pub(super) fn empty_queue(&mut self) {
        self.queue.clear();
    }

    pub(super) fn queued_since(&self) -> Option<Instant> {
        self.queue.front().map(|(_, since)| *since)
    }

    /// Made to run on `thread`, if it is not at it or at rest. It may be in the queue.
    pub(super) fn seize(&mut self, key: u64, thread: ThreadId) -> bool {
        let Some(seat) = self.seats.get_mut(&key) else { return false };
        let free = matches!(seat.phase, Phase::Idle | Phase::Queued);
        if free {
            seat.phase = Phase::Running(thread);
            self.forget_end(key);
        }
        free
    }

    /// The end of a run on `thread`.
    pub(super) fn set_phase(&mut self, key: u64, thread: ThreadId, phase: Phase) {
        if let Some(seat) = self.seats.get_mut(&key)
            && seat.phase == Phase::Running(thread)
        {
            seat.phase = phase;
        }
    }

    /// From a pause, without a run.
    pub(super) fn resume(&mut self, key: u64) {
        if let Some(seat) = self.seats.get_mut(&key)
            && let Phase::Pausing(_) = seat.phase
        {
            seat.phase = Phase::Idle;
        }
    }

    /// Tells a subscription that runs to leave after the call it is in. False if it does not run.
    pub(super) fn dismiss(&mut self, key: u64, how: Over) -> bool {
        let Some(seat) = self.seats.get_mut(&key) else { return false };
        if !matches!(seat.phase, Phase::Running(_)) {
            return false;
        }
        if seat.leave.is_none() || how == Over::Gone {
            seat.leave = Some(how);
        }
        seat.subscription.leaving.store(true, Ordering::SeqCst);
        true
    }

    pub(super) fn is_idle(&self, key: u64) -> bool {
        self.seats.get(&key).is_some_and(|seat| seat.phase == Phase::Idle)
    }

    pub(super) fn is_running(&self, key: u64) -> bool {
        self.seats.get(&key).is_some_and(|seat| matches!(seat.phase, Phase::Running(_)))
    }

    fn forget_end(&mut self, key: u64) {
        let end = self.seats.get(&key).and_then(|seat| seat.subscription.end);
        if let Some(end) = end {
            self.enders.remove(&(end.0, key));
        }
    }

    /// Makes one that does not run count as running on `thread`, which is about to drop its callback and
    /// to [`retire`](Self::retire) it.
    pub(super) fn hold(&mut self, key: u64, thread: ThreadId, how: Over) {
        self.forget_end(key);
        let Some(seat) = self.seats.get_mut(&key) else { return };
        if let Phase::Pausing(until) = seat.phase {
            self.timers.remove(&(until, key));
        }
        seat.phase = Phase::Running(thread);
        seat.leave = Some(how);
        seat.subscription.leaving.store(true, Ordering::SeqCst);
    }

    /// Takes a subscription whose callback is gone out of service, for good.
    pub(super) fn retire(&mut self, key: u64, how: Over) {
        self.forget_end(key);
        let Some(seat) = self.seats.get_mut(&key) else { return };
        if let Phase::Pausing(until) = seat.phase {
            self.timers.remove(&(until, key));
        }
        let known = matches!(seat.phase, Phase::Over(_));
        seat.phase = Phase::Over(how);
        seat.subscription.leaving.store(true, Ordering::SeqCst);
        if how == Over::Gone {
            self.forget(key);
        } else if !known {
            self.over.push_back(key);
            if self.over.len() > REMEMBERED
                && let Some(oldest) = self.over.pop_front()
            {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, key: u64) {
        let Some(seat) = self.seats.remove(&key) else { return };
        if self.names.get(&seat.subscription.id) == Some(&key) {
            self.names.remove(&seat.subscription.id);
        }
    }

    /// Frees the name of a subscription that is over; false if it is in use.
    pub(super) fn free_name(&mut self, id: &SubscriptionId) -> bool {
        let Some(key) = self.names.get(id).copied() else { return true };
        let over = self.seats.get(&key).is_none_or(|seat| matches!(seat.phase, Phase::Over(_)));
        if over {
            self.over.retain(|held| *held != key);
            self.forget(key);
            self.names.remove(id);
        }
        over
    }

    /// `thread` is about to wait until `key` no longer runs. False if that would never be, because
    /// the one who runs it waits, through others maybe, for something that `thread` runs.
    pub(super) fn begin_wait(&mut self, thread: ThreadId, key: u64) -> bool {
        let mut awaited = key;
        while let Some(Phase::Running(runner)) = self.seats.get(&awaited).map(|seat| seat.phase) {
            if runner == thread {
                return false;
            }
            match self.waits.get(&runner) {
                Some(next) => awaited = *next,
                None => break,
            }
        }
        self.waits.insert(thread, key);
        true
    }

    pub(super) fn end_wait(&mut self, thread: ThreadId) {
        self.waits.remove(&thread);
    }
}
