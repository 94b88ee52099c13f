//! A submit that is awaited: its waker is called, the latest one, wherever the future went.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::explore::{assert_acknowledged, explore, fresh, one, stream, token};

#[test]
fn a_future_that_is_awaited_is_woken() {
    explore(|| {
        let (disk, log) = fresh();
        let tasks = (0..3).map(|p| {
            let (disk, log) = (disk.clone(), log.clone());
            thread::spawn(move || {
                for n in 0..2 {
                    let appended = block_on(log.submit(stream(1), &one(p, n)).unwrap()).unwrap();
                    assert_acknowledged(&disk, &log, appended.first_seq_id, &token(p, n));
                }
            })
        });
        tasks.collect::<Vec<_>>().into_iter().for_each(|task| task.join().unwrap());
        log.close().unwrap();
    });
}

#[test]
fn a_future_that_changed_its_task_wakes_the_new_one() {
    explore(|| {
        let (_disk, log) = fresh();
        let mut pending = log.submit(stream(1), &one(0, 0)).unwrap();
        let first = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&first));
        let polled = pin!(&mut pending).poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            let task = thread::spawn(move || block_on(pending).unwrap());
            task.join().unwrap();
            assert!(first.0.load(Ordering::SeqCst) <= 1);
        }
        // Whoever was dropped unawaited is committed all the same.
        drop(log.submit(stream(1), &one(0, 1)).unwrap());
        log.close().unwrap();
        assert_eq!(log.committed().0, 2);
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
