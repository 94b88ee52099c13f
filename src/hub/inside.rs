//! Whether the current thread is inside a callback, and of which subscriptions.

use std::cell::RefCell;

use crate::sync::thread_local;

thread_local! {
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// A thread of this hub.
    Thread(u64),
    /// A run of a subscription of this hub: its callback, or the end of it.
    Run(u64),
}

/// The current thread's stay in a run, or in a hub's service.
#[derive(Debug)]
pub(super) struct Inside(());

impl Inside {
    pub(super) fn thread(hub: u64) -> Self {
        Self::enter(Frame::Thread(hub))
    }

    pub(super) fn run(hub: u64) -> Self {
        Self::enter(Frame::Run(hub))
    }

    fn enter(frame: Frame) -> Self {
        let _ = STACK.try_with(|stack| stack.borrow_mut().push(frame));
        Inside(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = STACK.try_with(|stack| stack.borrow_mut().pop());
    }
}

/// In a callback of any hub: must not wait for what other threads run.
pub(super) fn a_callback() -> bool {
    look(|frame| matches!(frame, Frame::Run(_)))
}

/// In a callback, or on a thread of this hub: must not wait for the hub to come to rest.
pub(super) fn service_of(hub: u64) -> bool {
    look(|frame| matches!(frame, Frame::Run(_)) || *frame == Frame::Thread(hub))
}

fn look(which: impl Fn(&Frame) -> bool) -> bool {
    STACK.try_with(|stack| stack.borrow().iter().any(which)).unwrap_or(false)
}
