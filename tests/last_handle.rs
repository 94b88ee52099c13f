//! The last handle may go anywhere, also in a waker that the log's own thread calls.
#![allow(clippy::unwrap_used)]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use stratalog::storage::MemoryStorage;
use stratalog::{Log, Upkeep};
use support::{all, batch, buffered, open, stream};

#[derive(Default)]
struct Drops {
    held: Mutex<Option<Log>>,
    gone: (Mutex<bool>, Condvar),
}

impl Wake for Drops {
    fn wake(self: Arc<Self>) {
        // What an executor that runs the rest of the task at once would do.
        let held = self.held.lock().take();
        drop(held);
        *self.gone.0.lock() = true;
        self.gone.1.notify_all();
    }
}

#[test]
fn the_last_handle_dropped_by_a_waker_closes_the_log_cleanly() {
    for _ in 0..50 {
        let storage = MemoryStorage::new();
        let log = open(&buffered(), &storage);
        let drops = Arc::new(Drops::default());
        let mut pending = Box::pin(log.submit(stream(1), &batch(0, 3, 100)).unwrap());
        *drops.held.lock() = Some(log);
        let waker = Waker::from(Arc::clone(&drops));
        let was_pending = pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        if !was_pending {
            continue;
        }
        let mut gone = drops.gone.0.lock();
        while !*gone {
            let timed_out = drops.gone.1.wait_for(&mut gone, Duration::from_secs(10)).timed_out();
            assert!(!timed_out, "the waker never returned");
        }
        drop(gone);
        drop(pending);
        let again = open(&buffered(), &storage);
        assert!(again.recovery().clean, "{:?}", again.recovery());
        assert_eq!(all(&again).len(), 3);
        return;
    }
    panic!("never pending");
}

struct Closes {
    log: Log,
    /// Once another thread closes the log and waits for this one.
    others: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Wake for Closes {
    fn wake(self: Arc<Self>) {
        if let Some(others) = self.others.lock().take() {
            others.recv().unwrap();
        }
        self.log.close().unwrap();
    }
}

#[test]
fn a_waker_may_close_the_log_that_another_thread_is_closing() {
    for _ in 0..50 {
        let log = open(&buffered(), &MemoryStorage::new());
        let (closing, others) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Closes { log: log.clone(), others: Mutex::new(Some(others)) }));
        let mut pending = Box::pin(log.submit(stream(1), &batch(0, 3, 100)).unwrap());
        if pending.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            continue;
        }
        let (told, closed) = std::sync::mpsc::channel();
        let closer = log.clone();
        std::thread::spawn(move || told.send(closer.close()));
        // It refuses appends before it waits for the log's threads.
        while log.submit(stream(1), &batch(0, 1, 1)).is_ok() {
            std::thread::yield_now();
        }
        closing.send(()).unwrap();
        closed.recv_timeout(Duration::from_secs(10)).expect("it hangs").unwrap();
        return;
    }
    panic!("never pending");
}

/// Whoever closes the log commits what nobody committed yet, and so calls the waker itself.
#[test]
fn a_waker_may_close_the_log_that_its_own_thread_is_closing() {
    let log = open(&buffered().upkeep(Upkeep::Caller), &MemoryStorage::new());
    let waker = Waker::from(Arc::new(Closes { log: log.clone(), others: Mutex::new(None) }));
    let mut pending = Box::pin(log.submit(stream(1), &batch(0, 3, 100)).unwrap());
    assert!(pending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let (told, closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(log.close()));
    closed.recv_timeout(Duration::from_secs(10)).expect("it hangs").unwrap();
    assert!(pending.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}
