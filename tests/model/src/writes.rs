//! Batches: appended on terms or submitted, and what becomes of them.

use stratalog::Error;

use crate::front::{Conditions, Numbers, Open};
use crate::life::{Living, Outcome};
use crate::payload::Id;
use crate::program::On;
use crate::run::Run;
use crate::state::{Rec, Step, producer_id, stream_id};
use crate::violation::Broken;

impl Living<'_> {
    /// Takes note of what became of what was submitted. `wait`: waits for all of it.
    pub(crate) fn settle(&mut self, run: &mut Run<'_>, wait: bool) -> Outcome {
        let failed = self.settled(run, wait)?;
        run.history.fail(failed);
        Ok(())
    }

    /// As `settle`; returns what failed.
    pub(crate) fn settled(&mut self, run: &mut Run<'_>, wait: bool) -> Result<Vec<Step>, Broken> {
        let mut failed = Vec::new();
        let mut left = Vec::new();
        for (pending, step) in std::mem::take(&mut self.pending) {
            // They are told in order, maybe right now: behind one that was not, nobody is asked.
            let known = if left.is_empty() { pending.try_outcome() } else { None };
            let Some(outcome) = known.or_else(|| wait.then_some(Ok(pending.tentative()))) else {
                left.push((pending, step));
                continue;
            };
            let outcome = if wait { pending.wait() } else { outcome };
            // What it was acknowledged with before the log was poisoned stays acknowledged.
            match outcome {
                Ok(_) => self.commit_batch(run, step, None)?,
                Err(error) => {
                    self.poisoned |= matches!(error, Error::Poisoned(_)) && self.failed_before(run);
                    if !self.has_reason(run, &error) && !matches!(error, Error::Closed) {
                        return Err(Broken::new(
                            "P9",
                            "a commit, as nothing failed below",
                            error.to_string(),
                        ));
                    }
                    failed.push(step);
                }
            }
        }
        self.pending = left;
        Ok(failed)
    }

    fn commit_batch(&mut self, run: &mut Run<'_>, step: Step, first_offset: Option<u64>) -> Outcome {
        let Step::Batch { stream, records, .. } = &step else { return Ok(()) };
        let live = &run.history.live;
        let newest = live.stream(*stream).newest();
        if first_offset.is_some_and(|offset| offset != newest + 1) {
            let expected = format!("log_offset {} of stream {stream}", newest + 1);
            return Err(Broken::new("P4", expected, format!("{first_offset:?}")));
        }
        let mut last = live.last_seq;
        for record in records {
            let seq = record.seq.unwrap_or(0);
            if seq <= last {
                return Err(Broken::new("P4", format!("a SeqId above {last}"), seq.to_string()));
            }
            last = seq;
        }
        run.history.commit(step);
        Ok(())
    }

    pub(crate) fn new_ids(&self, run: &mut Run<'_>, count: u64, len: u32) -> Vec<Id> {
        let first = run.next_number;
        let count = count.min(1 + 200_000 / u64::from(len.max(1)));
        run.next_number += count;
        (first..run.next_number).map(|number| Id { number, len }).collect()
    }

    pub(crate) fn append(&mut self, run: &mut Run<'_>, stream: u64, count: u64, len: u32, on: On) -> Outcome {
        let newest = run.history.live.stream(stream).newest() + self.on_the_way(stream);
        let last = |producer: u64| run.history.live.producers[producer as usize];
        let mut conditions = Conditions::default();
        let (mut stream, mut count, mut note, mut again, mut refused) = (stream, count, None, None, false);
        match on {
            On::Nothing => {}
            On::Offset => conditions.next_offset = Some(newest + 1),
            On::WrongOffset => {
                conditions.next_offset = Some(newest + 2);
                refused = true;
            }
            On::Producer(producer) => {
                note = Some((producer, last(producer).map_or(1, |last| last.sequence + 1)));
            }
            On::Retry(producer) => {
                let Some(last) = last(producer) else { return Ok(()) };
                (stream, again, note) = (last.stream, Some(last), Some((producer, last.sequence)));
                count = last.count;
            }
            On::Old(producer) => {
                let Some(last) = last(producer).filter(|last| last.sequence > 1) else { return Ok(()) };
                (stream, refused, note) = (last.stream, true, Some((producer, last.sequence - 1)));
            }
        }
        conditions.producer = note.map(|(producer, sequence)| (producer_id(producer), sequence));
        let ids = self.new_ids(run, count, if again.is_some() { 8 } else { len });
        let coding = run.coding;
        let outcome = self.log_call(|open| open.append(stream, &ids, conditions, coding));
        // With threads of the log's own, who submitted first may be told last.
        let mut failed = self.settled(run, self.life.threads)?;
        if refused {
            run.history.fail(failed);
            return match outcome {
                Err(Error::Conflict { .. } | Error::OldSequence { .. }) => Ok(()),
                Err(error) if self.has_reason(run, &error) => Ok(()),
                other => Err(Broken::new("P9", format!("{on:?} refused"), format!("{other:?}"))),
            };
        }
        let appended = self.judge(run, outcome)?;
        let Some(Numbers { seq_ids, first_offset }) = appended else {
            if again.is_none() {
                let records = ids.iter().map(|id| Rec { id: *id, seq: None }).collect();
                failed.push(Step::Batch { stream, records, note });
            }
            run.history.fail(failed);
            return Ok(());
        };
        run.history.fail(failed);
        if let Some(last) = again {
            let found = (first_offset.unwrap_or(last.first_offset), seq_ids.len() as u64);
            let expected = (last.first_offset, last.count);
            return match found == expected {
                true => Ok(()),
                false => {
                    Err(Broken::new("P4", format!("the first result, {expected:?}"), format!("{found:?}")))
                }
            };
        }
        if seq_ids.len() != ids.len() {
            return Err(Broken::new("P4", format!("{} SeqIds", ids.len()), format!("{seq_ids:?}")));
        }
        let records = ids.iter().zip(seq_ids).map(|(id, seq)| Rec { id: *id, seq: Some(seq) }).collect();
        self.commit_batch(run, Step::Batch { stream, records, note }, first_offset)?;
        if stream == 0 {
            self.due += ids.len();
        }
        Ok(())
    }

    /// Records of a stream that were submitted and are not known to be committed.
    fn on_the_way(&self, stream: u64) -> u64 {
        let count = |step: &Step| match step {
            Step::Batch { stream: of, records, .. } if *of == stream => records.len() as u64,
            _ => 0,
        };
        self.pending.iter().map(|(_, step)| count(step)).sum()
    }

    pub(crate) fn submit(&mut self, run: &mut Run<'_>, stream: u64, count: u64, len: u32) -> Outcome {
        // What is appended past a hub comes to its subscribers from a thread, at any time.
        let stream = if matches!(self.open, Some(Open::Hub(..))) { stream.max(1) } else { stream };
        let ids = self.new_ids(run, count, len);
        let batch = run.coding.batch(&ids);
        let due = run.history.live.stream(stream).newest() + self.on_the_way(stream) + 1;
        let outcome = self.log_call(|open| open.log().submit(stream_id(stream), &batch));
        let failed = self.settled(run, false)?;
        run.history.fail(failed);
        let Some(pending) = self.judge(run, outcome)? else { return Ok(()) };
        let tentative = pending.tentative();
        if !self.life.threads && tentative.first_log_offset.0 != due {
            let expected = format!("log_offset {due} of stream {stream}");
            return Err(Broken::new("P4", expected, tentative.first_log_offset.to_string()));
        }
        let seqs = tentative.seq_ids();
        let records = ids.iter().zip(seqs).map(|(id, seq)| Rec { id: *id, seq: Some(seq.0) }).collect();
        self.pending.push((pending, Step::Batch { stream, records, note: None }));
        Ok(())
    }
}
