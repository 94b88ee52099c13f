//! The hub's one thread that keeps the time: pauses after failures, ends that other streams' records
//! passed, readers of the idle, jobs that wait for a worker, logs that have to be asked.

use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::board::{Board, Ender, Over, Phase};
use super::pull::Bell;
use super::switchboard::Switchboard;
use crate::error::Error;
use crate::ids::SeqId;
use crate::sync::Instant;
use crate::sync::atomic::{Ordering, fence};

/// How often a log that was opened for reading only is asked for news.
const POLL: Duration = Duration::from_millis(10);
/// And after it could not answer.
const POLL_RETRY: Duration = Duration::from_millis(100);
/// Failures in a row, other than of the system, after which nobody is left to wait for news.
const POLL_TRIES: u32 = 10;

/// An idle subscription keeps its reader, and so the map of a segment, for this long.
const SHELF_LIFE: Duration = Duration::from_secs(1);

/// A worker that could not be started is tried again after this.
const START_RETRY: Duration = Duration::from_millis(20);
/// Workers are started one by one: the first may be all that was needed.
const STEP: Duration = Duration::from_millis(1);

pub(super) fn run(core: &Arc<Core>) {
    let switchboard = &core.switchboard;
    let mut poll = core.log.is_read_only().then(|| Poll { due: Instant::now(), seen: SeqId(0), failures: 0 });
    let mut retry_start = None;
    let mut board = switchboard.board.lock();
    while !board.is_shut() {
        let now = Instant::now();
        let mut bells = Vec::new();
        wake_paused(&mut board, now);
        if board.ends_due.is_some_and(|due| due <= now) {
            board.ends_due = None;
            bells = switchboard.call_ends(&mut board, core);
        }
        let stale = clear_shelves(&mut board, now);
        if let Some(poll) = poll.as_mut().filter(|poll| poll.due <= now) {
            drop(board);
            poll.ask(core);
            board = switchboard.board.lock();
        }
        if !bells.is_empty() || !stale.is_empty() {
            drop(board);
            // Callers' wakers, and maybe the last hold on a map: nothing for a lock.
            bells.iter().for_each(|bell| bell.ring());
            drop(stale);
            board = switchboard.board.lock();
        }
        // The lock was let go: who shut the hub meanwhile found nobody waiting.
        if board.is_shut() {
            break;
        }
        if !board.idle.is_empty() {
            switchboard.dispatch(&mut board);
        }
        let mut worker_due = board.worker_due(core.options.max_threads);
        if worker_due.is_some_and(|due| due <= now) && retry_start.is_none_or(|due| due <= now) {
            retry_start = switchboard.start_worker(&mut board).err().map(|_| now + START_RETRY);
            worker_due = board.worker_due(core.options.max_threads).map(|due| due.max(now + STEP));
        }
        if let Some(retry) = retry_start {
            worker_due = worker_due.map(|due| due.max(retry));
        }
        let due = [
            worker_due,
            board.timers.first().map(|(due, _)| *due),
            board.ends_due,
            board.shelved.front().map(|(due, _)| *due),
            poll.as_ref().map(|poll| poll.due),
        ];
        board.clock_due = due.into_iter().flatten().min();
        // A call may bring the time forward, never back.
        match board.clock_due {
            Some(due) => drop(switchboard.clock_bell.wait_until(&mut board, due)),
            None => switchboard.clock_bell.wait(&mut board),
        }
    }
    board.clock_runs = false;
    // Nobody comes back to them.
    let shelves = std::mem::take(&mut board.shelved);
    drop(board);
    let left: Vec<_> = shelves.iter().filter_map(|(_, shelf)| shelf.upgrade()?.take()).collect();
    drop(left);
}

fn wake_paused(board: &mut Board, now: Instant) {
    while let Some((due, key)) = board.timers.first().copied().filter(|(due, _)| *due <= now) {
        board.timers.remove(&(due, key));
        if board.seats.get(&key).is_some_and(|seat| seat.phase == Phase::Pausing(due)) {
            board.enqueue(key);
        }
    }
}

/// Readers nobody used for a while.
fn clear_shelves(board: &mut Board, now: Instant) -> Vec<crate::log::Reader> {
    let mut stale = Vec::new();
    while let Some((_, shelf)) = board.shelved.pop_front_if(|(due, _)| *due <= now) {
        let Some(held) = shelf.upgrade() else { continue };
        // Shortly after the machine has started there is no such time before.
        let before = now.checked_sub(SHELF_LIFE).unwrap_or(now);
        if let Some(since) = held.clear(before, &mut stale) {
            board.shelved.push_back((since + SHELF_LIFE, shelf));
        }
    }
    stale
}

impl Switchboard {
    /// Lists a reader that was put on its shelf; false if nobody would take it away.
    pub(super) fn shelve(&self, board: &mut Board, shelf: &super::source::SharedShelf) -> bool {
        if !board.clock_runs || board.is_shut() {
            return false;
        }
        if shelf.list() {
            let due = Instant::now() + SHELF_LIFE;
            board.shelved.push_back((due, Arc::downgrade(shelf)));
            self.call_clock(board, due);
        }
        true
    }

    /// Begins to wait for the log to come to `end`. True if it is there already.
    pub(super) fn await_end(&self, board: &mut Board, core: &Core, end: u64, key: u64, ender: Ender) -> bool {
        board.enders.insert((end, key), ender);
        self.ends_wanted.store(true, Ordering::SeqCst);
        // Pairs with the fence of the one who commits: it sees the wish, or this sees the commit.
        fence(Ordering::SeqCst);
        let passed = core.log.committed().0 >= end;
        if passed {
            board.enders.remove(&(end, key));
        }
        passed
    }

    /// Calls those whose end the log has passed. Returns whom to ring.
    fn call_ends(&self, board: &mut Board, core: &Core) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        loop {
            let committed = core.log.committed().0;
            while let Some(first) = board.enders.first_entry().filter(|first| first.key().0 <= committed) {
                let ((_, key), ender) = first.remove_entry();
                match ender {
                    Ender::Pull(bell) => bells.push(bell),
                    Ender::Subscription => {
                        if board.seats.get(&key).is_some_and(|seat| seat.phase == Phase::Idle) {
                            board.enqueue(key);
                        }
                    }
                }
            }
            let Some(next) = board.enders.first_key_value().map(|((end, _), _)| *end) else { break };
            self.ends_wanted.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if core.log.committed().0 < next {
                break;
            }
        }
        self.dispatch(board);
        bells
    }
}

/// A log opened for reading only tells nobody what was committed.
struct Poll {
    due: Instant,
    /// Everybody was told of what was committed up to here. What a refresh says is for the first who
    /// asks, and that may be anybody.
    seen: SeqId,
    failures: u32,
}

impl Poll {
    fn ask(&mut self, core: &Core) {
        match core.log.refresh() {
            Ok(_) => {
                self.failures = 0;
                let committed = core.log.committed();
                if committed > self.seen {
                    self.seen = committed;
                    core.switchboard.call_all();
                    let mut board = core.switchboard.board.lock();
                    board.ends_due = Some(Instant::now());
                }
                self.due = Instant::now() + POLL;
            }
            Err(error) => {
                self.failures += 1;
                self.due = Instant::now() + POLL_RETRY;
                let give_up = !matches!(error, Error::Io { .. }) && self.failures >= POLL_TRIES;
                core.cannot_follow(&error, give_up);
            }
        }
    }
}

impl Core {
    /// The log can't say what is new. Who waits is told why, and in the end waits no more.
    fn cannot_follow(&self, error: &Error, give_up: bool) {
        let live: Vec<_> = {
            let board = self.switchboard.board.lock();
            let live = board.seats.values().filter(|seat| !matches!(seat.phase, Phase::Over(_)));
            live.map(|seat| Arc::clone(&seat.subscription)).collect()
        };
        for subscription in live {
            subscription.note(error.to_string());
            if give_up {
                self.remove(&subscription, Over::Stopped);
            }
        }
        if give_up {
            self.switchboard.ring_all();
        }
    }
}
