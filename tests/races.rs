//! Calls that meet at an unlucky moment: nobody hangs, and nothing is acknowledged that is not so.
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use hooked::{Gate, Hook, Hooked, nothing};
use stratalog::storage::MemoryStorage;
use stratalog::{Log, Options};
use support::{batch, small, stream};

fn quiet() -> Options {
    small().idle_witness(Duration::from_secs(3600))
}

fn open(options: &Options, before: Hook, after: Hook) -> Log {
    options.open_storage(Arc::new(Hooked::new(Arc::new(MemoryStorage::new()), before, after))).unwrap()
}

fn pause() {
    std::thread::sleep(Duration::from_millis(60));
}

#[test]
fn a_checkpoint_that_comes_while_the_log_is_closed_holds_nobody_up() {
    let (checkpoints, writes) = (Gate::default(), Gate::default());
    let (at_checkpoint, at_write) = (checkpoints.clone(), writes.clone());
    let before: Hook = Arc::new(move |operation, name| {
        if operation == "create" && name.starts_with("checkpoint") {
            at_checkpoint.pass();
        }
        if operation == "write" && name.starts_with("spare") {
            at_write.pass();
        }
        Ok(())
    });
    let log = open(&quiet(), before, nothing());
    log.append(stream(1), &batch(0, 1, 100)).unwrap();
    checkpoints.shut();
    let first = log.clone();
    let first = std::thread::spawn(move || first.checkpoint());
    checkpoints.wait_for_one();
    let second = log.clone();
    let second = std::thread::spawn(move || second.checkpoint());
    pause();
    let (told, closed) = mpsc::channel();
    let closing = log.clone();
    std::thread::spawn(move || told.send(closing.close()));
    pause();
    checkpoints.open();
    first.join().unwrap().unwrap();
    closed.recv_timeout(Duration::from_secs(20)).expect("close hangs").unwrap();
    let _ = second.join().unwrap();
}

#[test]
fn a_sync_beside_one_that_fails_acknowledges_nothing() {
    let gate = Gate::default();
    let at_failure = gate.clone();
    let failing = Arc::new(AtomicU32::new(0));
    let fails = Arc::clone(&failing);
    let before: Hook = Arc::new(move |operation, name| {
        if operation == "sync" && name.starts_with("spare") && fails.load(Ordering::SeqCst) == 1 {
            fails.store(2, Ordering::SeqCst);
            // The sync has failed, and the one who called it does not know yet.
            at_failure.pass();
            return Err(io::Error::other("injected"));
        }
        Ok(())
    });
    let log = open(&quiet().durability(stratalog::Durability::Buffered), before, nothing());
    log.append(stream(1), &batch(0, 1, 3_000)).unwrap();
    pause();
    gate.shut();
    failing.store(1, Ordering::SeqCst);
    let syncing = log.clone();
    let first = std::thread::spawn(move || syncing.sync());
    gate.wait_for_one();
    let beside = log.clone();
    let second = std::thread::spawn(move || beside.checkpoint());
    pause();
    gate.open();
    assert!(first.join().unwrap().is_err());
    assert!(second.join().unwrap().is_err(), "a sync behind a failed one proves nothing");
    assert_eq!(log.durable().0, 0);
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("an executor of somebody's");
    }
}

#[test]
fn a_waker_that_panics_takes_nobody_along() {
    let gate = Gate::default();
    let at_write = gate.clone();
    let before: Hook = Arc::new(move |operation, _| {
        if operation == "write" {
            at_write.pass();
        }
        Ok(())
    });
    let log = open(&quiet(), before, nothing());
    gate.shut();
    let _first = log.submit(stream(1), &batch(9, 1, 10)).unwrap();
    gate.wait_for_one();
    let mut bombed = Box::pin(log.submit(stream(1), &batch(0, 1, 10)).unwrap());
    let other = log.submit(stream(1), &batch(1, 1, 10)).unwrap();
    let waker = Waker::from(Arc::new(Bomb));
    assert!(bombed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let (told, outcome) = mpsc::channel();
    std::thread::spawn(move || told.send(other.wait()));
    gate.open();
    outcome.recv_timeout(Duration::from_secs(20)).expect("the other waiter hangs").unwrap();
    log.append(stream(1), &batch(2, 1, 10)).unwrap();
}

#[test]
fn a_checkpoint_that_failed_is_tried_again() {
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&tries);
    let before: Hook = Arc::new(move |operation, name| {
        let first = operation == "create"
            && name.starts_with("checkpoint")
            && seen.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Err(io::Error::other("once")) } else { Ok(()) }
    });
    let log = open(&small(), before, nothing());
    log.append(stream(1), &batch(0, 3, 30_000)).unwrap();
    for _ in 0..2_000 {
        if log.stats().unwrap().checkpoint_generation > 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("tried {} times", tries.load(Ordering::SeqCst));
}
