//! A log opened for reading only, beside the one who writes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::directory::Survey;
use super::registry::Registry;
use super::replay::{Replay, Scan, Start, Verdict};
use super::streams::Streams;
use super::{Hints, Inner, checkpoints, open};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::segment::scan::read_header;
use crate::segment::{Segment, names};
use crate::storage::Access;
use crate::sync::Instant;
use crate::sync::atomic::Ordering;

const POLL: Duration = Duration::from_millis(10);

/// How often a writer may overtake one look of ours: each time it has written two checkpoints meanwhile.
pub(super) const LOOKS: u32 = 10;

/// How far a scanned segment is visible.
struct End {
    base: u64,
    salt: u32,
    end_seq: u64,
    end_position: u64,
}

impl Inner {
    /// Looks for what was committed since the last look; true if anything was.
    pub(super) fn refresh(&self, verdict: Verdict) -> Result<bool> {
        let Some(follow) = &self.follow else { return Ok(false) };
        let mut place = follow.lock();
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look(&mut place, verdict) {
                // The writer frees segments while we look at them.
                Err(error) if error.is_not_found() && looks < LOOKS => {}
                outcome => return outcome,
            }
        }
    }

    fn look(&self, place: &mut Start, verdict: Verdict) -> Result<bool> {
        let (start, replay) = self.scan_from(*place, verdict)?;
        let visible = replay.durable.max(replay.committed);
        let ends = ends(&replay, visible);
        let Some(last) = ends.last() else { return Ok(false) };
        self.learn(&replay, last.end_seq);
        self.show(&ends);
        let more = last.end_seq > self.committed.load(Ordering::Acquire) + 1;
        place.clean = start.clean && last.base == start.base && !more;
        (place.base, place.position, place.next_seq) = (last.base, last.end_position, last.end_seq);
        (place.durable, place.last_micros) = (replay.durable.min(last.end_seq - 1), replay.last_micros);
        self.durable.store(place.durable, Ordering::Release);
        self.committed.store(last.end_seq - 1, Ordering::Release);
        self.tail.lock().next_seq = last.end_seq;
        Ok(more)
    }

    /// Scans what there is behind `place`, over segments that were freed.
    fn scan_from(&self, place: Start, verdict: Verdict) -> Result<(Start, Replay)> {
        let mut survey = Survey::of(self.home.storage.as_ref())?;
        let scan = |survey: &Survey, start: Start| {
            let replay = Scan::new(&self.home, &survey.segments, None, verdict, start).run(start)?;
            Ok((start, replay))
        };
        let mut reached = 0;
        let mut seen = None;
        if !survey.lacks(place.base) {
            let found = scan(&survey, self.rejoin(&survey, place)?);
            if !stops_short(&found, &survey) {
                return found;
            }
            reached = found.as_ref().map_or(place.next_seq, |(_, replay)| replay.next_seq);
            seen = Some(found);
        }
        match (self.leap(&mut survey, reached, place)?, seen) {
            (Some(start), _) => scan(&survey, start),
            (None, Some(seen)) => seen,
            (None, None) => scan(&survey, Start::FIRST),
        }
    }

    /// Segments in the follower's way were freed: it goes on from the newest checkpoint, which lies
    /// behind them and knows what was said before. `None` if there is no checkpoint behind `reached`.
    fn leap(&self, survey: &mut Survey, reached: u64, place: Start) -> Result<Option<Start>> {
        let storage = self.home.storage.as_ref();
        let present = |name: &str| survey.checkpoints.iter().any(|held| held == name);
        let loaded = checkpoints::load(storage, self.home.read_mode, present)?;
        let Some(newest) = loaded.newest else {
            return survey.check_present([1].into_iter()).map(|()| None);
        };
        let head = &newest.head;
        // Closed before the place: what was seen from there on is of a write that failed in the end.
        let closed = head.clean
            && (place.durable + 1..place.next_seq).contains(&head.next_seq)
            && survey.segments.last() == Some(&head.scan_base);
        if head.next_seq <= reached && !closed {
            return Ok(None);
        }
        *survey = Survey::of(storage)?;
        let start = Start::at(&newest);
        if survey.lacks(start.base) {
            let overtaken = io::Error::new(io::ErrorKind::NotFound, "freed while a follower looked for it");
            return Err(Error::io("find", names::segment(start.base), overtaken));
        }
        // All of it, anew: a checkpoint says where a cursor stands, not that it was set back or dropped.
        let mut registry = self.registry.write();
        *registry = Registry::default();
        newest.controls.iter().for_each(|control| registry.apply(control));
        let list = open::sealed_before(&self.home, survey, &registry, start.base);
        let before = std::mem::replace(&mut *self.segments.write(), Arc::new(list));
        before.iter().filter(|held| registry.is_freed(held.base())).for_each(|held| held.set_freed());
        drop(registry);
        self.purges.fetch_add(1, Ordering::Release);
        *self.hints.write() = Hints { table: newest.streams.clone(), next_seq: start.next_seq };
        self.tail.lock().streams = Streams::new(newest.streams);
        Ok(Some(start))
    }

    /// Where to go on. A writer that recovered has written again, in another file, what nothing
    /// witnessed as durable: some of that may be known here from the old one.
    fn rejoin(&self, survey: &Survey, place: Start) -> Result<Start> {
        let segments = self.segments();
        let new = |base: &u64| {
            let known = segments.iter().any(|held| held.base() == *base);
            *base > place.base || (*base < place.base && !known && !self.registry.read().is_freed(*base))
        };
        let moved = survey.segments.iter().copied().find(|base| *base < place.next_seq && new(base));
        let held = segments.iter().find(|held| held.base() == place.base);
        let replaced = match held {
            Some(held) => {
                let name = names::segment(place.base);
                let storage = &self.home.storage;
                let file = storage.open(&name, Access::Read).map_err(|e| Error::io("open", &name, e))?;
                read_header(file.as_ref(), &name)?.salt != held.opened()?.header.salt
            }
            None => false,
        };
        let here = moved.or(replaced.then_some(place.base));
        let Some(here) = here else { return Ok(place) };
        Ok(Start { base: here, position: DATA_START, next_seq: here, clean: false, ..place })
    }

    /// Applies the control records that are visible now.
    fn learn(&self, replay: &Replay, end_seq: u64) {
        let visible = replay.controls.partition_point(|(seq, _)| *seq < end_seq);
        let controls = replay.controls.get(..visible).unwrap_or_default();
        if !controls.is_empty() {
            let mut registry = self.registry.write();
            controls.iter().for_each(|(_, control)| registry.apply(control));
            drop(registry);
            self.purges.fetch_add(1, Ordering::Release);
        }
    }

    /// Extends the list of segments to what is visible now.
    fn show(&self, ends: &[End]) {
        let mut list: Vec<Arc<Segment>> = self.segments().to_vec();
        for end in ends {
            let same = |held: &Segment| held.opened().is_ok_and(|opened| opened.header.salt == end.salt);
            list.retain(|held| held.base() != end.base || same(held));
            if let Some(held) = list.iter().find(|held| held.base() == end.base) {
                held.publish(end.end_seq, end.end_position);
            } else {
                let segment = Segment::sealed(&self.home, end.base, end.end_seq);
                segment.publish(end.end_seq, end.end_position);
                list.push(Arc::new(segment));
            }
        }
        {
            let registry = self.registry.read();
            for freed in list.iter().filter(|held| registry.is_freed(held.base())) {
                freed.set_freed();
            }
            list.retain(|held| !held.is_freed());
        }
        list.sort_by_key(|segment| segment.base());
        // A segment ends where the next one begins, whatever was seen in it before; also where that one
        // is known only now to have been there, and freed.
        let registry = self.registry.read();
        for (held, next) in list.iter().zip(list.iter().skip(1)) {
            let end = registry.end_of(held.base(), next.base());
            if held.end_seq() > end {
                held.publish(end, held.end_position().unwrap_or(u64::MAX));
            }
        }
        drop(registry);
        *self.segments.write() = Arc::new(list);
    }

    pub(super) fn poll_for_more(&self, timeout: Option<Duration>, more: impl Fn() -> bool) -> Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.refresh(Verdict::Peek)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if more() || left == Some(Duration::ZERO) {
                return Ok(());
            }
            crate::sync::thread::sleep(left.map_or(POLL, |left| left.min(POLL)));
        }
    }
}

/// What was due is not there, and a later segment is.
fn stops_short(seen: &Result<(Start, Replay)>, survey: &Survey) -> bool {
    match seen {
        Ok((_, replay)) => survey.segments.last().is_some_and(|last| *last > replay.next_seq),
        Err(error) => error.is_corruption(),
    }
}

/// The scanned segments up to what is visible.
fn ends(replay: &Replay, visible: u64) -> Vec<End> {
    let hidden = replay.doubts.iter().find(|doubt| doubt.next_seq - 1 > visible);
    let mut ends = Vec::new();
    for (k, scanned) in replay.scanned.iter().enumerate() {
        let (end_seq, end_position) = match hidden {
            Some(doubt) if doubt.segment < k => break,
            Some(doubt) if doubt.segment == k => (doubt.first_seq, doubt.position),
            _ => (scanned.end_seq, scanned.end_position),
        };
        ends.push(End { base: scanned.base, salt: scanned.salt, end_seq, end_position });
    }
    ends
}
