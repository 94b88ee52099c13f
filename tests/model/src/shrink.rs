//! A smaller program that breaks the same promise.

use std::time::{Duration, Instant};

use crate::program::{Faults, Life, Program};
use crate::run::{Wrap, run};
use crate::violation::Violation;

/// Takes away from the program whatever the violation does not need, until nothing more can go or the
/// time is over.
#[must_use]
pub fn shrink(program: Program, violation: Violation, wrap: &Wrap, time: Duration) -> (Program, Violation) {
    let mut shrinking = Shrinking { program, violation, wrap, end: Instant::now().checked_add(time) };
    while shrinking.pass() {}
    (shrinking.program, shrinking.violation)
}

struct Shrinking<'a> {
    program: Program,
    violation: Violation,
    wrap: &'a Wrap,
    end: Option<Instant>,
}

impl Shrinking<'_> {
    /// True if anything went.
    fn pass(&mut self) -> bool {
        let mut smaller = false;
        let last = self.violation.life + 1;
        smaller |= last < self.program.lives.len() && self.attempt(|program| program.lives.truncate(last));
        for at in (0..self.program.lives.len()).rev() {
            smaller |= self.program.lives.len() > 1 && self.attempt(|program| drop(program.lives.remove(at)));
        }
        for at in 0..self.program.lives.len() {
            smaller |= self.life(at);
        }
        smaller
    }

    fn life(&mut self, at: usize) -> bool {
        let mut smaller = false;
        let mut chunk = self.program.lives[at].ops.len().next_power_of_two();
        while chunk > 0 {
            let mut from = 0;
            while from < self.program.lives[at].ops.len() {
                let upto = (from + chunk).min(self.program.lives[at].ops.len());
                let gone = self.attempt(|program| drop(program.lives[at].ops.drain(from..upto)));
                smaller |= gone;
                from = if gone { from } else { upto };
            }
            chunk /= 2;
        }
        for recovery in (0..self.program.lives[at].recoveries.len()).rev() {
            smaller |= self.attempt(|program| {
                program.lives[at].recoveries.remove(recovery);
            });
        }
        let simpler: [fn(&mut Life); 11] = [
            |life| life.faults = Faults { crash_at: life.faults.crash_at, ..Faults::default() },
            |life| life.faults.crash_at = None,
            |life| life.faults.fail_sync = None,
            |life| life.faults.full_from = None,
            |life| life.faults.fail.truncate(1),
            |life| life.write_back = 0,
            |life| life.clock_back = false,
            |life| life.crowd = false,
            |life| life.positioned = false,
            |life| life.large = false,
            |life| life.front = crate::program::Front::Log,
        ];
        for change in simpler {
            let mut changed = self.program.clone();
            change(&mut changed.lives[at]);
            if format!("{changed:?}") != format!("{:?}", self.program) {
                smaller |= self.attempt(|program| change(&mut program.lives[at]));
            }
        }
        while let Some(call) = self.program.lives[at].faults.crash_at.filter(|call| *call > 1) {
            let less = [call / 2, call - call / 4, call - 5.min(call - 1), call - 1];
            let fewer = less.into_iter().filter(|less| (1..call).contains(less));
            let mut shorter = fewer.into_iter();
            let crash_at = |call| move |program: &mut Program| program.lives[at].faults.crash_at = Some(call);
            if !shorter.any(|call| self.attempt(crash_at(call))) {
                break;
            }
            smaller = true;
        }
        smaller
    }

    /// Keeps the change if the same promise is still broken.
    fn attempt(&mut self, change: impl FnOnce(&mut Program)) -> bool {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        let mut program = self.program.clone();
        change(&mut program);
        match run(&program, self.wrap).1 {
            Err(violation) if violation.promise == self.violation.promise => {
                (self.program, self.violation) = (program, violation);
                true
            }
            _ => false,
        }
    }
}
