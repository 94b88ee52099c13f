//! A life with several producers at once, and a consumer, a follower and a subscriber beside them.
//!
//! Which of the calls come first is up to the system, so a run repeats only roughly; what must hold
//! afterwards does not depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use stratalog::{Batch, Error, Hub, HubOptions, Log, LogOffset, SeqId, Start, SubscribeOptions};

use crate::crowd::{Acknowledged, Crowd};
use crate::payload::{Coding, Id};
use crate::program::{Life, Op, STREAMS};
use crate::run::{Run, options};
use crate::state::{cursor_name, stream_id};
use crate::violation::Broken;

type Shared = Mutex<Crowd>;

/// Runs the life's operations on several threads.
pub(crate) fn live(run: &mut Run<'_>, life: &Life, log: &Log) -> Result<Crowd, Broken> {
    let coding = run.coding;
    let crowd = Shared::new(Crowd {
        base: run.history.live.clone(),
        syncs: life.durability == 0,
        ..Crowd::default()
    });
    let done = AtomicBool::new(false);
    let producers = 2 + life.ops.len() % 2;
    let numbers = run.next_number;
    run.next_number += 3 << 20;
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(run, life, &crowd, &done));
        let subscriber = scope.spawn(|| subscribe(log, coding, &crowd, &done));
        let made: Vec<_> = (0..producers)
            .map(|at| {
                let ops = life.ops.iter().skip(at).step_by(producers);
                let first = numbers + ((at as u64) << 20);
                let crowd = &crowd;
                scope.spawn(move || produce(log, coding, ops, first, crowd))
            })
            .collect();
        for handle in made {
            handle.join().map_err(|_| ())?;
        }
        done.store(true, Ordering::Release);
        subscriber.join().map_err(|_| ())?;
        follower.join().map_err(|_| ())
    })
    .map_err(|()| Broken::new("P10", "no panic", "a thread that panicked"))?;
    let mut crowd = crowd.into_inner();
    crowd.durable = log.durable().0;
    run.counts.operations += life.ops.len() as u64;
    if !crowd.syncs && run.storage.injected() > 0 {
        // Who looks between a write that fails and its being taken back has seen it.
        crowd.seen.clear();
        crowd.broken = None;
    }
    if let Some(broken) = crowd.broken.take() {
        return Err(broken);
    }
    match crowd.first_error.take().filter(|_| !run.excused(0)) {
        Some(error) => Err(Broken::new("P9", "success, as nothing failed below", error)),
        None => Ok(crowd),
    }
}

fn produce<'a>(log: &Log, coding: Coding, ops: impl Iterator<Item = &'a Op>, first: u64, crowd: &Shared) {
    let mut next = first;
    let mut pending = Vec::new();
    for op in ops {
        match *op {
            Op::Append { stream, count, len, .. } | Op::Submit { stream, count, len } => {
                let count = count.min(1 + 100_000 / u64::from(len.max(1)));
                let ids: Vec<Id> = (next..next + count).map(|number| Id { number, len }).collect();
                next += count;
                crowd.lock().tried.insert(ids[0].number, (stream, ids.clone()));
                let batch: Batch = coding.batch(&ids);
                let submitted = log.submit(stream_id(stream), &batch);
                let Some(submitted) = crowd.lock().fails(submitted) else { return };
                pending.push((submitted, stream, ids));
                if matches!(op, Op::Append { .. }) {
                    pending = wait(pending, crowd);
                }
            }
            Op::Wait => pending = wait(pending, crowd),
            Op::Advance { stream, .. } => consume(log, coding, stream, crowd),
            Op::Purge { stream, .. } | Op::PurgePassed { stream } => {
                let purged = log.purge_passed(stream_id(stream));
                let mut crowd = crowd.lock();
                if let Some(Some(point)) = crowd.fails(purged) {
                    let most = crowd.purged.entry(stream).or_default();
                    *most = (*most).max(point.log_offset.0);
                }
            }
            Op::Checkpoint | Op::Sync | Op::Tend => {
                let done = match op {
                    Op::Checkpoint => log.checkpoint(),
                    Op::Sync => log.sync(),
                    _ => log.tend(),
                };
                if let Err(error) = done {
                    crowd.lock().failed(&error);
                }
            }
            Op::Read => {
                let reader = log.reader(..);
                let reader = crowd.lock().fails(reader);
                for record in reader.into_iter().flatten() {
                    match record {
                        Ok(record) => crowd.lock().saw(coding, &record),
                        Err(Error::Purged { .. } | Error::Gone { .. }) => {}
                        Err(error) => {
                            crowd.lock().failed(&error);
                            break;
                        }
                    }
                }
            }
            _ => {}
        }
    }
    wait(pending, crowd);
}

type Pending = Vec<(stratalog::PendingAppend, u64, Vec<Id>)>;

fn wait(pending: Pending, crowd: &Shared) -> Pending {
    for (submitted, stream, ids) in pending {
        let outcome = submitted.wait();
        let mut crowd = crowd.lock();
        if let Some(appended) = crowd.fails(outcome) {
            let (first_offset, first_seq) = (appended.first_log_offset.0, appended.first_seq_id.0);
            crowd.acknowledged.push(Acknowledged { stream, first_offset, first_seq, ids });
        }
    }
    Vec::new()
}

/// Takes what is new in a stream and says so. One thread at a time, as its cursor is one.
fn consume(log: &Log, coding: Coding, stream: u64, crowd: &Shared) {
    let at = log.cursor(stream_id(stream), cursor_name(0)).map_or(0, |cursor| cursor.log_offset.0);
    let purged = log.purge_point(stream_id(stream)).map_or(0, |point| point.log_offset.0);
    let reader = log.stream_reader(stream_id(stream), LogOffset(at.max(purged) + 1)..);
    let Some(reader) = crowd.lock().fails(reader) else { return };
    let mut last = None;
    for record in reader.take(20) {
        match record {
            Ok(record) => {
                crowd.lock().saw(coding, &record);
                last = Some((record.seq_id, record.log_offset.0));
            }
            // Somebody else consumed and purged meanwhile.
            Err(Error::Purged { .. } | Error::Gone { .. }) => return,
            Err(error) => return crowd.lock().failed(&error),
        }
    }
    let Some((seq, offset)) = last else { return };
    crowd.lock().cursors.entry((stream, 0)).or_default().push(offset);
    match log.advance_cursor(stream_id(stream), cursor_name(0), seq) {
        Ok(_) => {
            let mut crowd = crowd.lock();
            let moved = crowd.moved.entry((stream, 0)).or_default();
            *moved = (*moved).max(offset);
        }
        // Another thread was further.
        Err(Error::Invalid(_) | Error::Purged { .. }) => {}
        Err(error) => crowd.lock().failed(&error),
    }
}

fn follow(run: &Run<'_>, life: &Life, crowd: &Shared, done: &AtomicBool) {
    let mut last_look = false;
    while !last_look {
        last_look = done.load(Ordering::Acquire);
        let follower = match options(life).open_storage_read_only(run.storage()) {
            Ok(follower) => follower,
            Err(error) => {
                // Nobody changes the files any more at the last look.
                if last_look {
                    crowd.lock().failed(&error);
                }
                std::thread::yield_now();
                continue;
            }
        };
        for n in 0..STREAMS {
            let Ok(reader) = follower.stream_reader(stream_id(n), ..) else { continue };
            // What is freed below it is an error that it recovers from; what it shows must be true.
            reader.map_while(Result::ok).for_each(|record| crowd.lock().saw(run.coding, &record));
        }
    }
}

fn subscribe(log: &Log, coding: Coding, crowd: &Shared, done: &AtomicBool) {
    let hub = Hub::new(log.clone(), HubOptions::new());
    let Some(hub) = crowd.lock().fails(hub) else { return };
    let sink: Arc<Mutex<Vec<stratalog::Record>>> = Arc::default();
    let filled = Arc::clone(&sink);
    let start = log.purge_point(stream_id(1)).map_or(SeqId(0), |point| point.seq_id);
    let subscribed =
        hub.subscribe(stream_id(1), SubscribeOptions::new().start(Start::After(start)), move |records| {
            filled.lock().extend_from_slice(records);
            Ok(())
        });
    match &subscribed {
        // A purge was faster.
        Ok(_) | Err(Error::Purged { .. } | Error::Gone { .. }) => {}
        Err(error) => crowd.lock().failed(error),
    }
    while subscribed.is_ok() && !done.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    hub.close();
    let mut last = 0;
    for record in sink.lock().iter() {
        let mut crowd = crowd.lock();
        crowd.saw(coding, record);
        if record.log_offset.0 <= last {
            let found = format!("log_offset {} behind {last}", record.log_offset);
            crowd.broken.get_or_insert(Broken::new("P5", "each record once, in order", found));
        }
        last = record.log_offset.0;
    }
}
