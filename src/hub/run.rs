//! A run of a subscription: look, call back, look again, until nothing is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::board::{Ender, Over, Phase};
use super::inside::Inside;
use super::subscription::{ConsumeError, GiveUp, Subscription, Work};
use super::{Core, cursor};
use crate::error::Error;
use crate::ids::SeqId;
use crate::log::Record;
use crate::sync::atomic::Ordering;
use crate::sync::{Instant, thread};

/// After this long others have their turn.
const TURN: Duration = Duration::from_millis(10);

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Upto {
    /// Until nothing is left, or its turn is over.
    Dry,
    /// The same, but its turn is not over before this SeqId is taken.
    SeqId(SeqId),
}

pub(super) enum Outcome {
    /// Nothing was there at the last look.
    Dry,
    /// There may be more.
    TurnOver,
    Failed(String),
    Over(Over),
}

/// Runs a subscription that the caller has made [`Phase::Running`] on this thread.
pub(super) fn serve(core: &Arc<Core>, subscription: &Arc<Subscription>, upto: Upto) {
    let _inside = Inside::run(core.switchboard.hub);
    let Some(mut work) = subscription.work.lock().take() else {
        core.end(subscription, Over::Closed);
        return;
    };
    work.source.resume(&subscription.shelf);
    let started = Instant::now();
    let mut records = Vec::new();
    loop {
        let run = AssertUnwindSafe(|| drive(core, subscription, &mut work, &mut records, upto, started));
        let outcome = catch_unwind(run).unwrap_or_else(|payload| {
            subscription.failed(format!("the hub itself panicked: {}", said(payload.as_ref())));
            discard(payload);
            Outcome::Over(Over::Stopped)
        });
        // Records pin the map of their segment.
        records.clear();
        match core.settle(subscription, work, outcome) {
            Some(again) => work = again,
            None => return,
        }
    }
}

fn drive(
    core: &Arc<Core>,
    subscription: &Arc<Subscription>,
    work: &mut Work,
    records: &mut Vec<Record>,
    upto: Upto,
    started: Instant,
) -> Outcome {
    loop {
        if subscription.is_leaving() {
            return Outcome::Over(Over::Closed);
        }
        if let Err(outcome) = cursor::settle(core, subscription, work) {
            return outcome;
        }
        // Before the look: who calls from here on makes for another one.
        subscription.called.swap(false, Ordering::AcqRel);
        let visible = core.log.committed();
        if let Err(error) = work.source.fill(&core.log, subscription.limits, work.refused, records) {
            return trouble(subscription, work, error);
        }
        let Some(last) = records.last() else {
            subscription.progress.lock().tailing = true;
            let ended = subscription.end.is_some_and(|end| visible >= end);
            return if ended { Outcome::Over(Over::Ended) } else { Outcome::Dry };
        };
        if let Err(outcome) = call(subscription, work, records) {
            work.refused = Some(last.seq_id);
            work.source.step_back();
            return outcome;
        }
        work.refused = None;
        work.source.took(last.seq_id);
        subscription.took(records.len(), last, records.len() >= subscription.limits.records);
        work.owed = subscription.cursor.is_some().then_some(last.seq_id);
        if subscription.is_inline() {
            core.switchboard.tell_watchers();
        }
        // Also by one that is to leave: what was taken was taken.
        if let Err(outcome) = cursor::settle(core, subscription, work) {
            return outcome;
        }
        let reached = match upto {
            Upto::Dry => true,
            Upto::SeqId(upto) => subscription.position() >= upto,
        };
        if reached && started.elapsed() > TURN {
            return Outcome::TurnOver;
        }
    }
}

/// Errors and panics of the callback alike.
fn call(subscription: &Subscription, work: &mut Work, records: &[Record]) -> Result<(), Outcome> {
    let consume = &mut work.consume;
    let failed = |error: ConsumeError| {
        let why = error.to_string();
        if error.is::<GiveUp>() {
            subscription.failed(why);
            return Outcome::Over(Over::Stopped);
        }
        Outcome::Failed(why)
    };
    let called = catch_unwind(AssertUnwindSafe(|| consume(records).map_err(failed)));
    called.unwrap_or_else(|payload| {
        let why = format!("the callback panicked: {}", said(payload.as_ref()));
        discard(payload);
        Err(Outcome::Failed(why))
    })
}

fn said(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// Drops what is somebody else's.
pub(super) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its own destructor may panic as well.
        std::mem::forget(payload);
    }
}

/// Reading went wrong.
fn trouble(subscription: &Subscription, work: &mut Work, error: Error) -> Outcome {
    work.source.step_back();
    match error {
        Error::Closed => Outcome::Over(Over::Closed),
        Error::Io { .. } => Outcome::Failed(error.to_string()),
        // What is damaged or gone stays so, and stepping over it would skip records silently.
        error => {
            subscription.failed(error.to_string());
            Outcome::Over(Over::Stopped)
        }
    }
}

impl Core {
    /// Ends a run. Gives the work back if it is to go on.
    fn settle(
        self: &Arc<Self>,
        subscription: &Arc<Subscription>,
        mut work: Work,
        outcome: Outcome,
    ) -> Option<Work> {
        let switchboard = &self.switchboard;
        let key = subscription.key;
        let turn_over = matches!(outcome, Outcome::TurnOver);
        let pause = match outcome {
            Outcome::Over(over) => {
                self.leave(subscription, work, over);
                return None;
            }
            Outcome::Failed(why) => match subscription.patience.pause_after(subscription.failed(why)) {
                Some(pause) => Some(pause),
                None => {
                    self.leave(subscription, work, Over::Stopped);
                    return None;
                }
            },
            Outcome::Dry | Outcome::TurnOver => None,
        };
        let me = thread::current().id();
        let mut board = switchboard.board.lock();
        let leave = board.seats.get(&key).and_then(|seat| seat.leave);
        if let Some(over) = leave {
            drop(board);
            self.leave(subscription, work, over);
            return None;
        }
        if pause.is_none() && !turn_over {
            if subscription.called.load(Ordering::Acquire) {
                return Some(work);
            }
            let end = subscription.end.map(|end| end.0);
            if end.is_some_and(|end| switchboard.await_end(&mut board, self, end, key, Ender::Subscription)) {
                return Some(work);
            }
        }
        let mut stale = None;
        work.source.rest(&subscription.shelf);
        if !switchboard.shelve(&mut board, &subscription.shelf) {
            stale = subscription.shelf.take();
        }
        *subscription.work.lock() = Some(work);
        if let Some(pause) = pause {
            let until = Instant::now() + pause;
            board.set_phase(key, me, Phase::Pausing(until));
            board.timers.insert((until, key));
            switchboard.call_clock(&mut board, until);
            if !board.clock_runs {
                // No thread could be started. The next commit is the next try.
                board.timers.remove(&(until, key));
                subscription.called.swap(false, Ordering::AcqRel);
                board.resume(key);
            }
        } else if turn_over {
            board.enqueue(key);
            switchboard.dispatch(&mut board);
        } else {
            board.set_phase(key, me, Phase::Idle);
        }
        drop(board);
        drop(stale);
        switchboard.moved.notify_all();
        None
    }

    /// The end of a run that was the last one. The callback goes before anybody who waits is told.
    fn leave(&self, subscription: &Arc<Subscription>, work: Work, over: Over) {
        discard(work);
        self.end(subscription, over);
    }

    /// Out of service, by the one who ran it.
    fn end(&self, subscription: &Arc<Subscription>, over: Over) {
        let board = self.switchboard.board.lock();
        let over = board.seats.get(&subscription.key).and_then(|seat| seat.leave).unwrap_or(over);
        self.take_out(board, subscription, over);
    }
}
