//! Delivery on the time of who appends.

use std::sync::Arc;

use super::Core;
use super::board::Phase;
use super::inside;
use super::run::{self, Upto};
use super::subscription::Subscription;
use super::switchboard::Parties;
use crate::error::{Error, Result};
use crate::ids::{SeqId, StreamId};
use crate::log::Appended;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::thread;

impl Core {
    /// Appends by `append`, then sees to it that the inline subscriptions of the stream were called.
    pub(super) fn append(
        self: &Arc<Self>,
        stream: StreamId,
        append: impl FnOnce() -> Result<Appended>,
    ) -> Result<Appended> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let _announced = Announced::new(self, stream);
        let appended = append()?;
        if let Some(last) = appended.last_seq_id() {
            self.deliver(stream, last);
        }
        Ok(appended)
    }

    /// Returns when every inline subscription of the stream has come to `upto`, has failed, or is over;
    /// inside a callback, when each was called, or will look again.
    pub(super) fn deliver(self: &Arc<Self>, stream: StreamId, upto: SeqId) {
        let Some(parties) = self.switchboard.parties(stream) else { return };
        for subscription in &parties.inline {
            self.help(subscription, upto);
        }
    }

    fn help(self: &Arc<Self>, subscription: &Arc<Subscription>, upto: SeqId) {
        let switchboard = &self.switchboard;
        let me = thread::current().id();
        let mut board = switchboard.board.lock();
        while subscription.position() < upto && !subscription.is_leaving() {
            if board.seize(subscription.key, me) {
                drop(board);
                return run::serve(self, subscription, Upto::SeqId(upto));
            }
            let phase = board.seats.get(&subscription.key).map(|seat| seat.phase);
            let Some(Phase::Running(_)) = phase else { return };
            if inside::a_callback() {
                // Who runs it may wait for this very callback. The commit calls it, so it looks again.
                return;
            }
            switchboard.watchers.fetch_add(1, Ordering::Relaxed);
            // Pairs with the fence of who moves the position.
            fence(Ordering::SeqCst);
            if subscription.position() < upto {
                switchboard.moved.wait(&mut board);
            }
            switchboard.watchers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Inline subscriptions that this thread will run: the commit need not wake anybody for them.
struct Announced<'a> {
    core: &'a Core,
    parties: Option<Arc<Parties>>,
}

impl<'a> Announced<'a> {
    fn new(core: &'a Core, stream: StreamId) -> Self {
        let parties = core.switchboard.parties(stream).filter(|parties| !parties.inline.is_empty());
        if let Some(parties) = &parties {
            let mut board = core.switchboard.board.lock();
            for subscription in &parties.inline {
                if let Some(seat) = board.seats.get_mut(&subscription.key) {
                    seat.helpers += 1;
                }
            }
        }
        Announced { core, parties }
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        let Some(parties) = &self.parties else { return };
        let switchboard = &self.core.switchboard;
        let mut board = switchboard.board.lock();
        for subscription in &parties.inline {
            let Some(seat) = board.seats.get_mut(&subscription.key) else { continue };
            seat.helpers = seat.helpers.saturating_sub(1);
            // Called by a commit that is not the helpers' own, and left to them.
            if subscription.called.load(Ordering::Acquire) {
                board.call(subscription.key);
            }
        }
        switchboard.dispatch(&mut board);
    }
}
