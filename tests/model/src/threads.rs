//! A life with several producers at once, and a consumer, a follower and a subscriber beside them.
//!
//! Which of the calls come first is up to the system, so a run repeats only roughly; what must hold
//! afterwards does not depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use stratalog::{Batch, Error, Hub, HubOptions, Log, LogOffset, SeqId, Start, SubscribeOptions};

use crate::life::Outcome;
use crate::observe::identify;
use crate::payload::{Coding, Id};
use crate::program::{Life, Op, STREAMS};
use crate::run::{Run, options};
use crate::state::{State, cursor_name, stream_id};
use crate::violation::Broken;

/// A batch that was acknowledged: of which stream, with which first numbers.
#[derive(Debug, Clone)]
struct Acknowledged {
    stream: u64,
    first_offset: u64,
    first_seq: u64,
    ids: Vec<Id>,
}

impl Acknowledged {
    fn last_seq(&self) -> u64 {
        self.first_seq + self.ids.len() as u64 - 1
    }
}

/// What was done and seen in such a life.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    base: State,
    acknowledged: Vec<Acknowledged>,
    /// Batches by their first number, acknowledged or not.
    tried: BTreeMap<u64, (u64, Vec<Id>)>,
    /// What somebody saw, by stream and log_offset.
    seen: BTreeMap<(u64, u64), (Id, u64)>,
    /// Where cursors were to go: each further than the one before.
    cursors: BTreeMap<(u64, u64), Vec<u64>>,
    /// How often they were told that they stand there.
    moved: BTreeMap<(u64, u64), u64>,
    /// How far a purge said that it came.
    purged: BTreeMap<u64, u64>,
    /// What survives a power cut: everything acknowledged, or what the log said is durable.
    durable: u64,
    syncs: bool,
    first_error: Option<String>,
    broken: Option<Broken>,
}

type Shared = Mutex<Crowd>;

impl Crowd {
    fn fails<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.first_error.get_or_insert(error.to_string());
                None
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.first_error.get_or_insert(error.to_string());
    }

    fn saw(&mut self, coding: Coding, record: &stratalog::Record) {
        match identify(coding, record) {
            Ok((stream, rec)) => {
                let found = (rec.id, record.seq_id.0);
                let before = self.seen.insert((stream, record.log_offset.0), found);
                if let Some(before) = before.filter(|before| *before != found) {
                    let expected =
                        format!("{before:?} at log_offset {} of stream {stream}", record.log_offset);
                    self.broken.get_or_insert(Broken::new("P5", expected, format!("{found:?}")));
                }
            }
            Err(broken) => drop(self.broken.get_or_insert(broken)),
        }
    }
}

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

impl Crowd {
    /// The log was closed cleanly.
    pub(crate) fn all_durable(&mut self) {
        self.durable = u64::MAX;
    }

    /// The state from which the next life goes on.
    pub(crate) fn becomes(&self, mut seen: State) -> State {
        seen.producers = self.base.producers;
        seen
    }

    /// Whether the log may be this after the crash.
    pub(crate) fn check(&self, seen: &State, power_lost: bool) -> Outcome {
        let kept = |batch: &&Acknowledged| !power_lost || self.syncs || batch.last_seq() <= self.durable;
        for batch in self.acknowledged.iter().filter(kept) {
            self.there(seen, batch.stream, batch.first_offset, &batch.ids, Some(batch.first_seq), "P1")?;
        }
        self.only_what_was_tried(seen)?;
        self.in_order(seen)?;
        if self.syncs || !power_lost {
            for ((stream, offset), (id, seq)) in &self.seen {
                self.there(seen, *stream, *offset, &[*id], Some(*seq), "P5")?;
            }
        }
        self.cursors(seen, power_lost)
    }

    fn there(
        &self,
        seen: &State,
        stream: u64,
        first_offset: u64,
        ids: &[Id],
        first_seq: Option<u64>,
        promise: &'static str,
    ) -> Outcome {
        let held = seen.stream(stream);
        for (at, id) in ids.iter().enumerate() {
            let offset = first_offset + at as u64;
            let seq = first_seq.map(|first| first + at as u64);
            let rec = held.at(offset);
            let same = rec.is_some_and(|rec| rec.id == *id && rec.seq == seq);
            if !same && offset > held.purged {
                let expected = format!("{id:?} at log_offset {offset} of stream {stream}, SeqId {seq:?}");
                return Err(Broken::new(promise, expected, format!("{rec:?} of {}", held.newest())));
            }
        }
        Ok(())
    }

    /// What was there before, and whole batches behind it.
    fn only_what_was_tried(&self, seen: &State) -> Outcome {
        let mut found = BTreeSet::new();
        for (n, held) in seen.streams.iter().enumerate() {
            let before = self.base.stream(n as u64);
            if held.newest() < before.newest() {
                let expected = format!("{} records of stream {n} or more", before.newest());
                return Err(Broken::new("P1", expected, held.newest().to_string()));
            }
            let mut offset = held.purged.max(before.newest()) + 1;
            for (offset, rec) in held.visible().take_while(|(offset, _)| *offset <= before.newest()) {
                if before.at(offset).is_none_or(|before| before.id != rec.id) {
                    let expected = format!("{:?} at log_offset {offset} of stream {n}", before.at(offset));
                    return Err(Broken::new("P3", expected, format!("{rec:?}")));
                }
            }
            while let Some(rec) = held.at(offset) {
                let batch = self.tried.range(..=rec.id.number).next_back();
                let batch = batch.filter(|(_, (of, ids))| *of == n as u64 && ids.contains(&rec.id));
                let Some((first, (_, ids))) = batch else {
                    return Err(Broken::new(
                        "P2",
                        format!("what was submitted to stream {n}"),
                        format!("{rec:?}"),
                    ));
                };
                if !found.insert(*first) {
                    return Err(Broken::new("P3", "a batch once", format!("{rec:?} again")));
                }
                // A purge may have taken the first of them.
                let at = (rec.id.number - first) as usize;
                if at > 0 && offset != held.purged + 1 {
                    return Err(Broken::new("P3", "a batch from its first record on", format!("{rec:?}")));
                }
                let rest = ids.get(at..).unwrap_or_default();
                self.there(seen, n as u64, offset, rest, rec.seq, "P3")?;
                offset += rest.len() as u64;
            }
        }
        Ok(())
    }

    /// Nothing is there behind an acknowledged batch that is not.
    fn in_order(&self, seen: &State) -> Outcome {
        let missing = self.acknowledged.iter().filter(|batch| {
            let held = seen.stream(batch.stream);
            let last = batch.first_offset + batch.ids.len() as u64 - 1;
            last > held.purged && held.at(last).is_none_or(|rec| rec.seq != Some(batch.last_seq()))
        });
        let Some(first) = missing.map(|batch| batch.first_seq).min() else { return Ok(()) };
        let behind = |seq: &u64| self.acknowledged.iter().any(|b| b.first_seq == *seq) && *seq > first;
        let visible = seen.streams.iter().flat_map(|held| held.visible().filter_map(|(_, rec)| rec.seq));
        match visible.into_iter().find(behind) {
            None => Ok(()),
            Some(found) => {
                Err(Broken::new("P3", format!("nothing behind SeqId {first}"), format!("{found}")))
            }
        }
    }

    fn cursors(&self, seen: &State, power_lost: bool) -> Outcome {
        for (key, at) in &seen.cursors {
            let before = self.base.cursors.get(key);
            let tried = self.cursors.get(key).is_some_and(|tried| tried.contains(at));
            if before != Some(at) && !tried {
                let expected = format!("{before:?} or one of {:?}", self.cursors.get(key));
                return Err(Broken::new("P6", format!("cursor {key:?} at {expected}"), at.to_string()));
            }
        }
        // Here they only go forward, and what a life begins with is durable.
        for (key, before) in &self.base.cursors {
            if seen.cursors.get(key).is_none_or(|at| at < before) {
                let found = format!("{:?}", seen.cursors.get(key));
                return Err(Broken::new("P1", format!("cursor {key:?} at {before} or further"), found));
            }
        }
        if power_lost && !self.syncs {
            return Ok(());
        }
        for (key, least) in &self.moved {
            if seen.cursors.get(key).is_none_or(|at| at < least) {
                let found = format!("{:?}", seen.cursors.get(key));
                return Err(Broken::new("P1", format!("cursor {key:?} at {least} or further"), found));
            }
        }
        for (stream, least) in &self.purged {
            let found = seen.stream(*stream).purged;
            if found < *least {
                return Err(Broken::new(
                    "P1",
                    format!("stream {stream} purged up to {least}"),
                    found.to_string(),
                ));
            }
        }
        Ok(())
    }
}
