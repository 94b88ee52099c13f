//! Taking subscriptions out of service from outside: one of them, or all.

use std::sync::Arc;

use super::Core;
use super::board::{Board, Over, Phase};
use super::inside::{self, Inside};
use super::run::discard;
use super::subscription::{Subscription, SubscriptionId};
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, thread};

impl Core {
    /// When it returns the callback does not run and will not; but for calls from inside it, and for
    /// a call that would wait in a circle: those return at once, and no call of the callback follows.
    pub(super) fn unsubscribe(&self, id: &SubscriptionId) {
        let switchboard = &self.switchboard;
        let me = thread::current().id();
        let mut board = switchboard.board.lock();
        let Some(key) = board.names.get(id).copied() else { return };
        if !board.dismiss(key, Over::Gone) {
            let Some(subscription) = board.seats.get(&key).map(|seat| Arc::clone(&seat.subscription)) else {
                return;
            };
            return self.take_out(board, &subscription, Over::Gone);
        }
        if board.begin_wait(me, key) {
            while board.is_running(key) {
                switchboard.moved.wait(&mut board);
            }
            board.end_wait(me);
        }
    }

    /// Takes it out of service now, or after the call it is in. Waits for nothing.
    pub(super) fn remove(&self, subscription: &Arc<Subscription>, how: Over) {
        let mut board = self.switchboard.board.lock();
        if !board.dismiss(subscription.key, how) {
            self.take_out(board, subscription, how);
        }
    }

    /// Takes a subscription out of service that does not run. The callback's destructor is its owner's
    /// code, and the reader may be the last to hold a map: both go while the lock is not held. Until then
    /// it counts as running, so that whoever unsubscribes it meanwhile waits as well.
    pub(super) fn take_out<'a>(
        &'a self,
        mut board: MutexGuard<'a, Board>,
        subscription: &Subscription,
        mut how: Over,
    ) {
        let work = subscription.work.lock().take();
        if work.is_some() {
            board.hold(subscription.key, thread::current().id(), how);
            drop(board);
            let inside = Inside::run(self.switchboard.hub);
            discard(work);
            drop(inside);
            board = self.switchboard.board.lock();
            how = board.seats.get(&subscription.key).and_then(|seat| seat.leave).unwrap_or(how);
        }
        board.retire(subscription.key, how);
        drop(board);
        self.switchboard.part(subscription);
        self.switchboard.moved.notify_all();
        discard(subscription.shelf.take());
    }

    /// Calls back nobody any more, lets the threads go, and waits for both; but not from inside a
    /// callback, which would wait for itself.
    pub(super) fn close(&self) {
        let switchboard = &self.switchboard;
        let mut board = switchboard.board.lock();
        board.closed = true;
        switchboard.shut.store(true, Ordering::SeqCst);
        board.shut();
        let over = board.seats.values().filter(|seat| matches!(seat.phase, Phase::Over(_)));
        let left: Vec<_> = over.map(|seat| Arc::clone(&seat.subscription)).collect();
        drop(board);
        switchboard.clock_bell.notify_all();
        switchboard.moved.notify_all();
        switchboard.ring_all();
        switchboard.forget_all();
        for subscription in left {
            let board = switchboard.board.lock();
            if subscription.has_callback() {
                self.take_out(board, &subscription, Over::Closed);
            }
        }
        if inside::service_of(switchboard.hub) {
            return;
        }
        let mut board = switchboard.board.lock();
        while board.threads > 0 || board.seats.values().any(|seat| matches!(seat.phase, Phase::Running(_))) {
            switchboard.moved.wait(&mut board);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.switchboard.shut.load(Ordering::SeqCst)
    }
}
