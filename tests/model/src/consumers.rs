//! Who reads beside the one who writes: a follower, a pull, a subscription.

use std::time::Duration;

use stratalog::{Error, LogOffset, SeqId, Start};

use crate::front::Open;
use crate::life::{Living, Outcome};
use crate::observe::identify;
use crate::program::STREAMS;
use crate::run::{Run, options};
use crate::state::{Rec, State, stream_id};
use crate::violation::Broken;

impl Living<'_> {
    /// A follower shows nothing but what is committed, in order and without a gap; and under `Sync` all
    /// that was committed at the look before, once something was committed behind it.
    pub(crate) fn follow(&mut self, run: &mut Run<'_>) -> Outcome {
        self.settle(run, true)?;
        if self.unsure() {
            return Ok(());
        }
        if let Err(error) = self.look(run)? {
            let overtaken = matches!(error, Error::Purged { .. } | Error::Gone { .. });
            if !overtaken && !self.excused(run) {
                return Err(Broken::new("P5", "a follower that can read", error.to_string()));
            }
            self.follower = None;
        }
        self.looked_at = Some(run.history.live.last_seq);
        Ok(())
    }

    fn look(&mut self, run: &Run<'_>) -> Result<Result<(), Error>, Broken> {
        let follower = match self.follower.take() {
            Some(follower) => match follower.refresh() {
                Ok(_) => follower,
                Err(error) => return Ok(Err(error)),
            },
            None => match options(self.life).open_storage_read_only(run.storage()) {
                Ok(follower) => follower,
                Err(error) => return Ok(Err(error)),
            },
        };
        let live = &run.history.live;
        let witnessed = self
            .looked_at
            .filter(|seq| self.life.durability == 0 && *seq < live.last_seq && !self.failed_before(run));
        for n in 0..STREAMS {
            let mut due = None;
            let reader = match follower.stream_reader(stream_id(n), ..) {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error)),
            };
            for record in reader {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => return Ok(Err(error)),
                };
                let (of, rec) = identify(run.coding, &record)?;
                committed(live, of, record.log_offset, rec)?;
                if due.is_some_and(|due| due != record.log_offset.0) {
                    let found = format!("log_offset {} of stream {n}", record.log_offset);
                    return Err(Broken::new("P5", format!("log_offset {due:?}"), found));
                }
                due = Some(record.log_offset.0 + 1);
            }
            let witnessed =
                |rec: &Rec| rec.seq.is_some_and(|seq| witnessed.is_some_and(|newest| seq <= newest));
            let last = live.stream(n).visible().filter(|(_, rec)| witnessed(rec)).last();
            if let Some((last, _)) = last
                && due.is_none_or(|due| due <= last)
            {
                let expected = format!("a follower that shows stream {n} up to log_offset {last}");
                return Err(Broken::new("P5", expected, format!("nothing from {due:?} on")));
            }
        }
        self.follower = Some(follower);
        Ok(Ok(()))
    }

    /// A pull gets what is committed in its stream, once, in order, and all of it.
    pub(crate) fn pull(&mut self, run: &mut Run<'_>, stream: u64) -> Outcome {
        self.settle(run, true)?;
        if self.unsure() {
            return Ok(());
        }
        let Some(hub) = self.open.as_ref().and_then(Open::hub) else { return Ok(()) };
        let held = run.history.live.stream(stream);
        let at = self.pulls.iter().position(|(of, ..)| *of == stream);
        let (mut next, mut pull) = match at {
            Some(at) => {
                let (_, next, pull) = self.pulls.swap_remove(at);
                (next, pull)
            }
            None => {
                let purged = run.purge_point(hub.log(), stream);
                match hub.pull(stream_id(stream), Start::After(SeqId(purged)), None) {
                    Ok(pull) => (held.purged + 1, pull),
                    Err(_) if self.excused(run) => return Ok(()),
                    Err(error) => {
                        return Err(Broken::new("P5", "a pull from the purge point", error.to_string()));
                    }
                }
            }
        };
        loop {
            let records = match pull.next_batch(Some(Duration::ZERO)) {
                Ok(records) if records.is_empty() => break,
                Ok(records) => records,
                Err(Error::Purged { .. } | Error::Gone { .. }) if next <= held.purged => return Ok(()),
                Err(_) if self.excused(run) => return Ok(()),
                Err(error) => return Err(Broken::new("P5", "a pull that can read", error.to_string())),
            };
            for record in records {
                let (of, rec) = identify(run.coding, &record)?;
                committed(&run.history.live, of, record.log_offset, rec)?;
                if record.log_offset.0 != next {
                    let found = record.log_offset.to_string();
                    return Err(Broken::new("P5", format!("log_offset {next} of stream {stream}"), found));
                }
                next += 1;
            }
        }
        if next <= held.newest() && next > held.purged {
            let expected = format!("records of stream {stream} up to log_offset {}", held.newest());
            return Err(Broken::new("P5", expected, format!("none from {next} on")));
        }
        self.pulls.push((stream, next, pull));
        Ok(())
    }

    /// An inline subscription was called before the append returned.
    pub(crate) fn check_delivered(&mut self, run: &Run<'_>) -> Outcome {
        let Some(Open::Hub(_, delivered)) = &self.open else { return Ok(()) };
        if self.excused(run) || self.failed_before(run) {
            return Ok(());
        }
        let mut last = 0;
        let records = delivered.lock();
        for record in records.iter() {
            let (of, rec) = identify(run.coding, record)?;
            committed(&run.history.live, of, record.log_offset, rec)?;
            if of != 0 || record.log_offset.0 <= last {
                let found = format!("log_offset {} of stream {of} behind {last}", record.log_offset);
                return Err(Broken::new("P5", "the first stream, in order, once", found));
            }
            last = record.log_offset.0;
        }
        if records.len() != self.due {
            let expected = format!("{} records delivered inline", self.due);
            return Err(Broken::new("P5", expected, records.len().to_string()));
        }
        Ok(())
    }
}

/// What somebody saw is in the log, at that place.
fn committed(live: &State, stream: u64, offset: LogOffset, seen: Rec) -> Outcome {
    let held = live.stream(stream);
    let there = offset.0 > 0 && offset.0 <= held.newest();
    let same = match held.at(offset.0) {
        Some(rec) => rec.id == seen.id && rec.seq.is_none_or(|seq| Some(seq) == seen.seq),
        // Purged in an earlier life.
        None => there,
    };
    if same && there {
        return Ok(());
    }
    let expected = format!("at log_offset {offset} of stream {stream}, committed: {:?}", held.at(offset.0));
    Err(Broken::new("P5", expected, format!("{seen:?}")))
}
