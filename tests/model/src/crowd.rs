//! What several threads at once did and saw, and what they may have left.

use std::collections::{BTreeMap, BTreeSet};

use stratalog::Error;

use crate::life::Outcome;
use crate::observe::identify;
use crate::payload::{Coding, Id};
use crate::state::State;
use crate::violation::Broken;

/// A batch that was acknowledged: of which stream, with which first numbers.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) stream: u64,
    pub(crate) first_offset: u64,
    pub(crate) first_seq: u64,
    pub(crate) ids: Vec<Id>,
}

impl Acknowledged {
    fn last_seq(&self) -> u64 {
        self.first_seq + self.ids.len() as u64 - 1
    }
}

/// What was done and seen in such a life.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) base: State,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Batches by their first number, acknowledged or not.
    pub(crate) tried: BTreeMap<u64, (u64, Vec<Id>)>,
    /// What somebody saw, by stream and log_offset.
    pub(crate) seen: BTreeMap<(u64, u64), (Id, u64)>,
    /// Where cursors were to go: each further than the one before.
    pub(crate) cursors: BTreeMap<(u64, u64), Vec<u64>>,
    /// How often they were told that they stand there.
    pub(crate) moved: BTreeMap<(u64, u64), u64>,
    /// How far a purge said that it came.
    pub(crate) purged: BTreeMap<u64, u64>,
    /// What survives a power cut: everything acknowledged, or what the log said is durable.
    pub(crate) durable: u64,
    pub(crate) syncs: bool,
    pub(crate) first_error: Option<String>,
    pub(crate) broken: Option<Broken>,
}

impl Crowd {
    pub(crate) fn fails<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.first_error.get_or_insert(error.to_string());
                None
            }
        }
    }

    pub(crate) fn failed(&mut self, error: &Error) {
        self.first_error.get_or_insert(error.to_string());
    }

    pub(crate) fn saw(&mut self, coding: Coding, record: &stratalog::Record) {
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
