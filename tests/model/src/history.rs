//! What was done since the log was last known, and what it may hold after a crash.
//!
//! `durable <= steps.len()`. After a crash the log is what it was after some number of steps, not fewer
//! than were promised to survive: all of them if only the process died, those up to `durable` if the
//! power went. Steps that failed may still show, whole and in order, as long as nothing that came
//! instead of them is there.

use crate::state::{State, Step};
use crate::violation::Broken;

#[derive(Debug, Default)]
pub(crate) struct History {
    base: State,
    steps: Vec<Step>,
    /// `base` with all steps: what a reader sees.
    pub(crate) live: State,
    durable: usize,
    /// Failed: at which number of steps, and what.
    branches: Vec<(usize, Vec<Step>)>,
    power_lost: bool,
}

impl History {
    /// The log is known to be this, and all of it durable.
    pub(crate) fn restart(&mut self, state: State) {
        *self = History { base: state.clone(), live: state, ..History::default() };
    }

    pub(crate) fn commit(&mut self, step: Step) {
        self.live.apply(&step);
        self.steps.push(step);
    }

    pub(crate) fn fail(&mut self, steps: Vec<Step>) {
        if !steps.is_empty() {
            self.branches.push((self.steps.len(), steps));
        }
    }

    pub(crate) fn all_durable(&mut self) {
        self.durable = self.steps.len();
    }

    /// The log says that it is durable up to this SeqId.
    pub(crate) fn durable_upto(&mut self, seq: u64) {
        for (at, step) in self.steps.iter().enumerate().skip(self.durable) {
            // Nobody was told the numbers of the other steps; those before a durable batch are durable.
            let Step::Batch { records, .. } = step else { continue };
            match records.last().and_then(|last| last.seq) {
                Some(last) if last <= seq => self.durable = at + 1,
                _ => break,
            }
        }
    }

    pub(crate) fn power_lost(&mut self) {
        self.power_lost = true;
    }

    /// Whether a reader may see this now, though `unsure` steps failed: the log was poisoned beside
    /// them, so they were not acknowledged, and may have been committed by then.
    pub(crate) fn may_show(&self, seen: &State, unsure: bool) -> bool {
        if self.live.difference(seen).is_none() {
            return true;
        }
        let last = self.branches.iter().filter(|(place, _)| unsure && *place == self.steps.len());
        let failed: Vec<&Step> = last.flat_map(|(_, steps)| steps).collect();
        (0..failed.len()).any(|from| {
            let mut state = self.live.clone();
            failed[from..].iter().any(|step| {
                state.apply(step);
                state.difference(seen).is_none()
            })
        })
    }

    /// How many steps must be there.
    fn least(&self) -> usize {
        if self.power_lost { self.durable } else { self.steps.len() }
    }

    /// The state that this is, of those that may be there.
    pub(crate) fn find(&self, seen: &State) -> Result<State, Broken> {
        let least = self.least();
        let mut state = self.base.clone();
        self.steps.iter().take(least).for_each(|step| state.apply(step));
        let first = state.clone();
        for at in least..=self.steps.len() {
            let failed = self.branches.iter().filter(|(place, _)| *place == at);
            if let Some(found) = Self::fits(&state, seen).or_else(|| {
                failed.into_iter().find_map(|(_, steps)| {
                    let mut state = state.clone();
                    steps.iter().find_map(|step| {
                        state.apply(step);
                        Self::fits(&state, seen)
                    })
                })
            }) {
                return Ok(found);
            }
            if let Some(step) = self.steps.get(at) {
                state.apply(step);
            }
        }
        let promise = Self::which(&first, &state, seen);
        let expected = format!(
            "the log after {least} to {} steps ({} of them failed)\n  with the fewest: {}\n  with all: {}",
            self.steps.len(),
            self.branches.iter().map(|(_, steps)| steps.len()).sum::<usize>(),
            first.difference(seen).unwrap_or_default(),
            state.difference(seen).unwrap_or_default(),
        );
        Err(Broken::new(promise, expected, "none of these"))
    }

    fn fits(state: &State, seen: &State) -> Option<State> {
        if state.difference(seen).is_some() || seen.last_seq < state.last_seq {
            return None;
        }
        let mut found = state.clone();
        found.learn(seen);
        Some(found)
    }

    /// Which promise is broken, as far as one can tell.
    fn which(first: &State, last: &State, seen: &State) -> &'static str {
        let counts = |state: &State| state.streams.iter().map(|s| s.newest()).collect::<Vec<_>>();
        let (first_counts, last_counts, seen_counts) = (counts(first), counts(last), counts(seen));
        if seen_counts.iter().zip(&first_counts).any(|(seen, first)| seen < first) {
            "P1"
        } else if seen_counts.iter().zip(&last_counts).any(|(seen, last)| seen > last) {
            "P2"
        } else if seen.last_seq < first.last_seq {
            "P4"
        } else if seen.cursors != first.cursors && seen.cursors != last.cursors {
            "P6"
        } else {
            "P3"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Id;
    use crate::state::Rec;

    fn batch(stream: u64, first: u64, count: u64) -> Step {
        let rec = |n| Rec { id: Id { number: n, len: 8 }, seq: Some(n) };
        Step::Batch { stream, records: (first..first + count).map(rec).collect(), note: None }
    }

    fn state(steps: &[Step]) -> State {
        let mut state = State::default();
        steps.iter().for_each(|step| state.apply(step));
        state
    }

    #[test]
    fn a_power_cut_may_take_what_is_not_durable_from_the_end_and_nothing_else() {
        let steps = [batch(0, 1, 2), batch(1, 3, 1), Step::Purge { stream: 0, to: 1 }, batch(0, 4, 2)];
        let mut history = History::default();
        history.commit(steps[0].clone());
        history.all_durable();
        steps[1..].iter().for_each(|step| history.commit(step.clone()));
        assert_eq!(history.find(&state(&steps[..2])).unwrap_err().promise, "P1");
        history.power_lost();
        (1..=4).for_each(|n| assert!(history.find(&state(&steps[..n])).is_ok(), "{n}"));
        assert_eq!(history.find(&State::default()).unwrap_err().promise, "P1");
        let hole = [steps[0].clone(), steps[2].clone(), steps[3].clone()];
        assert!(history.find(&state(&hole)).is_err());
    }

    #[test]
    fn what_failed_as_the_log_was_poisoned_may_be_shown_whole() {
        let (one, failed) = (batch(0, 1, 1), batch(0, 2, 3));
        let mut history = History::default();
        history.commit(one.clone());
        history.fail(vec![failed.clone()]);
        let shown = state(&[one.clone(), failed]);
        assert!(history.may_show(&shown, true) && !history.may_show(&shown, false));
        assert!(history.may_show(&state(std::slice::from_ref(&one)), true));
        assert!(!history.may_show(&state(&[one, batch(0, 2, 2)]), true));
    }

    #[test]
    fn what_failed_shows_whole_or_not_at_all_and_only_at_its_place() {
        let (one, failed) = (batch(0, 1, 1), batch(0, 2, 3));
        let mut history = History::default();
        history.commit(one.clone());
        history.fail(vec![failed.clone()]);
        assert!(history.find(&state(&[one.clone(), failed])).is_ok());
        assert_eq!(history.find(&state(&[one.clone(), batch(0, 2, 2)])).unwrap_err().promise, "P2");
        history.commit(batch(1, 2, 1));
        assert!(history.find(&state(&[one.clone(), batch(0, 2, 3)])).is_err());
        assert!(history.find(&state(&[one, batch(1, 2, 1)])).is_ok());
    }
}
