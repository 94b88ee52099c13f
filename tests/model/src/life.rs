//! One life of a log: operations, one after the other, each compared with the model at once.

use stratalog::{Error, Log, PendingAppend, Pull};

use crate::front::Open;
use crate::observe::{Unseen, observe};
use crate::program::{Life, Op};
use crate::run::Run;
use crate::state::{State, Step, cursor_name, stream_id};
use crate::violation::Broken;

pub(crate) type Outcome = Result<(), Broken>;

pub(crate) struct Living<'a> {
    pub(crate) life: &'a Life,
    pub(crate) open: Option<Open>,
    /// Submitted and not known to be committed, oldest first.
    pub(crate) pending: Vec<(PendingAppend, Step)>,
    pub(crate) follower: Option<Log>,
    /// The newest SeqId when a follower looked last.
    pub(crate) looked_at: Option<u64>,
    pub(crate) pulls: Vec<(u64, u64, Pull)>,
    /// What the inline subscription must have been called with.
    pub(crate) due: usize,
    /// A log that has said so acknowledges nothing more.
    pub(crate) poisoned: bool,
    /// Storage calls that had failed before the operation at hand.
    injected: u64,
}

impl<'a> Living<'a> {
    pub(crate) fn new(life: &'a Life, open: Option<Open>) -> Self {
        Living {
            life,
            open,
            pending: Vec::new(),
            follower: None,
            looked_at: None,
            pulls: Vec::new(),
            due: 0,
            poisoned: false,
            injected: 0,
        }
    }

    pub(crate) fn step(&mut self, run: &mut Run<'_>, op: &Op) -> Outcome {
        self.injected = run.storage.injected();
        match *op {
            Op::Append { stream, count, len, terms } => self.append(run, stream, count, len, terms)?,
            Op::Submit { stream, count, len } => self.submit(run, stream, count, len)?,
            Op::Wait => self.settle(run, true)?,
            Op::Advance { stream, name, to } => self.advance(run, stream, name, to)?,
            Op::Rollback { stream, name, to } => self.rollback(run, stream, name, to)?,
            Op::DropCursor { stream, name } => {
                let known = run.history.live.cursors.contains_key(&(stream, name));
                let dropped = self.log_call(|open| open.drop_cursor(stream, cursor_name(name)));
                let step = known.then_some(Step::DropCursor { stream, name });
                if let Some(dropped) = self.control(run, dropped, step)?
                    && dropped != known
                {
                    return Err(Broken::new("P6", format!("a cursor: {known}"), format!("{dropped}")));
                }
            }
            Op::Purge { stream, to } => self.purge(run, stream, to)?,
            Op::PurgePassed { stream } => {
                let least = run.history.live.least_cursor(stream);
                let step = least.filter(|to| *to > run.history.live.stream(stream).purged);
                let step = step.map(|to| Step::Purge { stream, to });
                let purged = self.log_call(|open| open.purge_passed(stream));
                if let Some(purged) = self.control(run, purged, step)?
                    && purged.is_some() != least.is_some()
                {
                    return Err(Broken::new("P6", format!("a purge up to {least:?}"), format!("{purged:?}")));
                }
            }
            Op::Delete { stream } => {
                self.settle(run, true)?;
                let live = &run.history.live;
                let held = live.stream(stream);
                let step = (held.newest() > held.purged || live.least_cursor(stream).is_some())
                    .then_some(Step::Delete { stream });
                let deleted = self.log_call(|open| open.delete(stream));
                self.control(run, deleted, step)?;
            }
            Op::Checkpoint => {
                let written = self.log_call(|open| open.log().checkpoint());
                self.control(run, written, None)?;
            }
            Op::Sync => {
                // It covers what is committed by then.
                self.settle(run, self.life.threads)?;
                let synced = self.log_call(|open| open.log().sync());
                if self.control(run, synced, None)?.is_some() {
                    run.history.all_durable();
                }
            }
            Op::Tend => {
                let tended = self.log_call(|open| open.log().tend());
                self.control(run, tended, None)?;
            }
            Op::Reopen { close } => self.reopen(run, close)?,
            Op::Read => self.read(run)?,
            Op::Follow => self.follow(run)?,
            Op::Pull { stream } => self.pull(run, stream)?,
            Op::Room => run.storage.set_capacity(None),
        }
        self.settle(run, false)?;
        self.what_is_durable(run);
        self.check_delivered(run)
    }

    fn what_is_durable(&self, run: &mut Run<'_>) {
        let Some(open) = &self.open else { return };
        if self.life.durability == 0 {
            // Committed is durable.
            run.history.all_durable();
        } else {
            run.history.durable_upto(open.log().durable().0);
        }
    }

    pub(crate) fn excused(&self, run: &Run<'_>) -> bool {
        // The log's own threads fail at other times than the calls that tell of it.
        let since = if self.life.threads { 0 } else { self.injected };
        run.excused(since) || self.poisoned
    }

    /// A sync of the log's own threads failed beside a group that was just committed: whoever waited
    /// for that was not told so.
    pub(crate) fn unsure(&self) -> bool {
        self.life.threads && self.poisoned
    }

    /// Whether anything was made to fail in this life so far.
    pub(crate) fn failed_before(&self, run: &Run<'_>) -> bool {
        run.excused(0)
    }

    pub(crate) fn has_reason(&self, run: &Run<'_>, error: &Error) -> bool {
        self.excused(run) || (matches!(error, Error::Poisoned(_)) && self.failed_before(run))
    }

    pub(crate) fn log_call<T>(
        &self,
        call: impl FnOnce(&Open) -> stratalog::Result<T>,
    ) -> stratalog::Result<T> {
        self.open.as_ref().map_or(Err(Error::Closed), call)
    }

    /// What every outcome of a write must be: a success, or a failure that has a reason.
    pub(crate) fn judge<T>(
        &mut self,
        run: &Run<'_>,
        outcome: stratalog::Result<T>,
    ) -> Result<Option<T>, Broken> {
        match outcome {
            Ok(_) if self.poisoned => {
                Err(Broken::new("P9", "nothing acknowledged once poisoned", "a success"))
            }
            Ok(value) => Ok(Some(value)),
            Err(Error::Poisoned(_)) if self.failed_before(run) => {
                self.poisoned = true;
                Ok(None)
            }
            Err(_) if self.excused(run) => Ok(None),
            Err(error) => Err(Broken::new("P9", "success, as nothing failed below", error.to_string())),
        }
    }

    /// What became of a control record. After a failure the log itself says whether it counts.
    fn control<T>(
        &mut self,
        run: &mut Run<'_>,
        outcome: stratalog::Result<T>,
        step: Option<Step>,
    ) -> Result<Option<T>, Broken> {
        let mut failed = self.settled(run, self.life.threads)?;
        let done = self.judge(run, outcome)?;
        if let Some(step) = step {
            let applied = done.is_some() || self.applied(&run.history.live, &step);
            if applied && !self.unsure() {
                run.history.fail(std::mem::take(&mut failed));
                run.history.commit(step);
            } else {
                // What was committed with it and not acknowledged may be there, or not.
                if applied {
                    run.history.fail(vec![step.clone()]);
                }
                failed.push(step);
            }
        }
        run.history.fail(failed);
        Ok(done)
    }

    fn applied(&self, live: &State, step: &Step) -> bool {
        let Some(open) = &self.open else { return false };
        let log = open.log();
        let purged = |stream: u64| log.purge_point(stream_id(stream)).map_or(0, |point| point.log_offset.0);
        let cursor = |stream: u64, name: u64| log.cursor(stream_id(stream), cursor_name(name));
        match step {
            Step::Batch { .. } => false,
            Step::Cursor { stream, name, to } => {
                cursor(*stream, *name).is_some_and(|cursor| cursor.log_offset.0 == *to)
            }
            Step::DropCursor { stream, name } => cursor(*stream, *name).is_none(),
            Step::Purge { stream, to } => purged(*stream) >= *to,
            Step::Delete { stream } => {
                purged(*stream) == live.stream(*stream).newest()
                    && log.cursors_of(stream_id(*stream)).is_empty()
            }
        }
    }

    fn advance(&mut self, run: &mut Run<'_>, stream: u64, name: u64, to: u8) -> Outcome {
        let live = &run.history.live;
        let held = live.stream(stream);
        let at = live.cursors.get(&(stream, name)).copied().unwrap_or(0);
        let Some((to, seq)) = place(live, stream, at.max(held.purged) + 1, held.newest(), to) else {
            return Ok(());
        };
        let moved = self.log_call(|open| open.advance(stream, cursor_name(name), seq));
        let moved = self.control(run, moved, Some(Step::Cursor { stream, name, to }))?;
        stands(moved.map(|cursor| cursor.log_offset.0), to)
    }

    fn rollback(&mut self, run: &mut Run<'_>, stream: u64, name: u64, to: u8) -> Outcome {
        let live = &run.history.live;
        let Some(at) = live.cursors.get(&(stream, name)).copied() else { return Ok(()) };
        let Some((to, seq)) = place(live, stream, live.stream(stream).purged + 1, at, to) else {
            return Ok(());
        };
        let step = (to < at).then_some(Step::Cursor { stream, name, to });
        let moved = self.log_call(|open| open.rollback(stream, cursor_name(name), seq));
        let moved = self.control(run, moved, step)?;
        stands(moved.map(|cursor| cursor.log_offset.0), to)
    }

    fn purge(&mut self, run: &mut Run<'_>, stream: u64, to: u8) -> Outcome {
        let live = &run.history.live;
        let held = live.stream(stream);
        let Some((to, seq)) = place(live, stream, held.purged + 1, held.newest(), to) else { return Ok(()) };
        let refused = live.least_cursor(stream).is_some_and(|least| least < to);
        let purged = self.log_call(|open| open.purge(stream, seq));
        if refused {
            self.settle(run, false)?;
            return match purged {
                Err(Error::Held { .. }) => Ok(()),
                Err(error) if self.has_reason(run, &error) => Ok(()),
                other => Err(Broken::new("P6", "a purge held up by a cursor", format!("{other:?}"))),
            };
        }
        let purged = self.control(run, purged, Some(Step::Purge { stream, to }))?;
        stands(purged.map(|point| point.log_offset.0), to)
    }

    fn read(&mut self, run: &mut Run<'_>) -> Outcome {
        self.settle(run, true)?;
        let Some(open) = &self.open else { return Ok(()) };
        match observe(open.log(), run.coding, true) {
            Ok(seen) if run.history.may_show(&seen, self.unsure()) => Ok(()),
            Ok(seen) => {
                let difference = run.history.live.difference(&seen).unwrap_or_default();
                Err(Broken::new("P5", "what is committed, and all of it", difference))
            }
            Err(Unseen::Broken(broken)) => Err(broken),
            Err(Unseen::Error(_)) if self.excused(run) => Ok(()),
            Err(Unseen::Error(error)) => Err(Broken::new("P5", "a log that can be read", error.to_string())),
        }
    }

    fn reopen(&mut self, run: &mut Run<'_>, close: bool) -> Outcome {
        if close {
            self.close(run)?;
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        self.pulls.clear();
        drop(open);
        self.settle(run, true)?;
        self.poisoned = false;
        (self.due, self.looked_at) = (0, None);
        self.open = run.open(self.life)?;
        Ok(())
    }

    pub(crate) fn close(&mut self, run: &mut Run<'_>) -> Outcome {
        if self.open.is_none() {
            return Ok(());
        }
        self.injected = run.storage.injected();
        let closed = self.log_call(Open::close);
        let clean = closed.is_ok();
        match closed {
            Err(error) if !self.has_reason(run, &error) => {
                return Err(Broken::new("P9", "a log that can be closed", error.to_string()));
            }
            _ => self.settle(run, true)?,
        }
        if clean {
            run.history.all_durable();
        }
        Ok(())
    }

    /// What is on its way may be there after the crash.
    pub(crate) fn end(&mut self, run: &mut Run<'_>) {
        let left = std::mem::take(&mut self.pending);
        run.history.fail(left.into_iter().map(|(_, step)| step).collect());
    }
}

/// A log_offset between two, and the SeqId there; `None` if there is none or nobody was told.
fn place(live: &State, stream: u64, from: u64, upto: u64, to: u8) -> Option<(u64, u64)> {
    if from > upto {
        return None;
    }
    let to = from + u64::from(to) * (upto - from) / 255;
    Some((to, live.stream(stream).at(to)?.seq?))
}

fn stands(found: Option<u64>, expected: u64) -> Outcome {
    match found {
        Some(found) if found != expected => {
            Err(Broken::new("P6", format!("log_offset {expected}"), found.to_string()))
        }
        _ => Ok(()),
    }
}
