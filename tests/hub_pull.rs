//! Records for a caller who asks for them: blocking and async, woken for its own stream alone.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hub_support::{hub, in_time, seq_ids};
use stratalog::storage::MemoryStorage;
use stratalog::{Error, Log, SeqId, Start};
use support::{batch, buffered, open, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

const FROM_START: Start = Start::After(SeqId(0));

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn backfill_and_tail_come_in_order_and_in_batches() {
    let log = log();
    log.append(stream(1), &batch(0, 10, 20)).unwrap();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), FROM_START, None).unwrap().max_batch_records(4);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(seq_ids(&pull.next_batch(None).unwrap()));
    }
    assert_eq!(seen, [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]);
    assert!(pull.next_batch(Some(Duration::ZERO)).unwrap().is_empty());
    assert_eq!(pull.position(), SeqId(10));
    let appending = log.clone();
    let waiting = std::thread::spawn(move || seq_ids(&pull.next_batch(None).unwrap()));
    appending.append(stream(1), &batch(10, 1, 20)).unwrap();
    assert_eq!(waiting.join().unwrap(), [11]);
}

#[test]
fn a_timeout_ends_the_wait_and_loses_nothing() {
    let log = log();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    let begun = Instant::now();
    assert!(pull.next_batch(Some(Duration::from_millis(30))).unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!(!pull.is_finished());
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    assert_eq!(seq_ids(&pull.next_batch(Some(Duration::from_millis(30))).unwrap()), [1]);
}

#[test]
fn an_end_finishes_it() {
    let log = log();
    log.append(stream(1), &batch(0, 5, 20)).unwrap();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), Start::After(SeqId(1)), Some(SeqId(3))).unwrap();
    assert_eq!(seq_ids(&pull.next_batch(None).unwrap()), [2, 3]);
    assert!(pull.is_finished());
    assert!(pull.next_batch(None).unwrap().is_empty());
}

#[test]
fn a_future_is_woken_by_its_own_stream_and_by_no_other() {
    let log = log();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut next = pin!(pull.next_batch_async());
    assert!(next.as_mut().poll(&mut context).is_pending());
    for n in 0..100 {
        log.append(stream(2), &batch(n, 1, 20)).unwrap();
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    log.append(stream(1), &batch(0, 2, 20)).unwrap();
    hub_support::until("woken", || count.0.load(Ordering::SeqCst) > 0);
    let Poll::Ready(batch) = next.as_mut().poll(&mut context) else { panic!("not ready") };
    assert_eq!(seq_ids(&batch.unwrap()), [101, 102]);
}

#[test]
fn a_thousand_idle_pulls_sleep_through_other_streams_commits() {
    let log = log();
    let hub = hub(&log);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut pulls: Vec<_> = (0..1_000).map(|n| hub.pull(stream(10 + n), Start::Now, None).unwrap()).collect();
    let mut waiting: Vec<_> = pulls.iter_mut().map(|pull| Box::pin(pull.next_batch_async())).collect();
    assert!(waiting.iter_mut().all(|next| next.as_mut().poll(&mut context).is_pending()));
    for n in 0..1_000 {
        log.append(stream(1), &batch(n, 1, 20)).unwrap();
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    log.append(stream(500), &batch(0, 1, 20)).unwrap();
    hub_support::until("one is woken", || count.0.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let log = log();
    log.append(stream(1), &batch(0, 2, 20)).unwrap();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    for n in 0..10 {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        {
            let mut next = pin!(pull.next_batch_async());
            assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            if n % 2 == 0 {
                log.append(stream(1), &batch(n, 1, 20)).unwrap();
                hub_support::until("woken", || count.0.load(Ordering::SeqCst) > 0);
            }
        }
        if n % 2 == 0 {
            assert_eq!(seq_ids(&pollster::block_on(pull.next_batch_async()).unwrap()), [3 + n / 2]);
        }
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "its waker is kept");
    }
}

#[test]
fn an_executor_that_panics_when_it_is_woken_takes_nobody_along() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("an executor of somebody's"));
        }
    }
    let log = log();
    let hub = hub(&log);
    let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
    let waker = Waker::from(Arc::new(Bomb));
    let mut next = Box::pin(pull.next_batch_async());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    log.append(stream(1), &batch(1, 1, 20)).unwrap();
    assert_eq!(seq_ids(&pollster::block_on(next).unwrap()), [1, 2]);
}

#[test]
fn async_pulls_and_producers_meet_without_a_gap() {
    let log = log();
    let hub = hub(&log);
    let pulling: Vec<_> = (0..4)
        .map(|_| {
            let mut pull = hub.pull(stream(1), Start::Now, Some(SeqId(4_000))).unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                while !pull.is_finished() {
                    seen.extend(seq_ids(&pollster::block_on(pull.next_batch_async()).unwrap()));
                }
                seen
            })
        })
        .collect();
    let producing: Vec<_> = (0..4)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || {
                for n in 0..1_000 {
                    log.append(stream(1), &batch(n, 1, 20)).unwrap();
                }
            })
        })
        .collect();
    producing.into_iter().for_each(|producer| producer.join().unwrap());
    for pull in pulling {
        let seen = in_time("a pull", move || pull.join().unwrap());
        assert_eq!(seen, (1..=4_000).collect::<Vec<_>>());
    }
}

#[test]
fn a_record_that_commits_at_the_moment_of_the_last_look_wakes_it() {
    for awaited in [false, true] {
        let log = log();
        let hub = hub(&log);
        let mut pull = hub.pull(stream(1), Start::Now, None).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let pulling = std::thread::spawn(move || {
            for n in 0..30_000u64 {
                // The next one is appended while this thread goes to wait for it.
                tell.send(n).unwrap();
                let batch = match awaited {
                    true => pollster::block_on(pull.next_batch_async()),
                    false => pull.next_batch(Some(hub_support::LONG)),
                };
                assert_eq!(seq_ids(&batch.unwrap()), [n + 1]);
            }
        });
        for n in told {
            // Now earlier, now later.
            (0..n % 64 * 4).for_each(|_| std::hint::spin_loop());
            log.append(stream(1), &batch(n, 1, 16)).unwrap();
        }
        in_time("a pull", move || pulling.join().unwrap());
    }
}

#[test]
fn a_closed_hub_and_a_closed_log_end_every_wait() {
    for close_log in [false, true] {
        let log = log();
        let hub = hub(&log);
        let mut blocking = hub.pull(stream(1), Start::Now, None).unwrap();
        let mut awaited = hub.pull(stream(1), Start::Now, None).unwrap();
        let blocked = std::thread::spawn(move || blocking.next_batch(None));
        let pending = std::thread::spawn(move || pollster::block_on(awaited.next_batch_async()));
        std::thread::sleep(Duration::from_millis(20));
        if close_log {
            log.close().unwrap();
        } else {
            drop(hub);
        }
        for waiting in [blocked, pending] {
            let outcome = in_time("a pull", move || waiting.join().unwrap());
            assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
        }
    }
}
