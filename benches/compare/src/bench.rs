//! What every row is given: a place, how long to measure, and who takes part.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::admission;
use crate::contender::{Contender, Promise, Work};
use crate::place::Place;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// Of one measurement.
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
    /// Take part without a check of their syncs.
    pub(crate) trust: bool,
    /// JSON Lines, gzip: for the row that ingests real records.
    pub(crate) records: PathBuf,
}

pub(crate) struct Bench {
    pub(crate) place: Arc<Place>,
    pub(crate) settings: Settings,
    contenders: Vec<Arc<dyn Contender>>,
    /// What the checks said of each.
    admitted: RefCell<BTreeMap<(&'static str, bool), bool>>,
    /// Who was left out, of what, and why.
    left_out: RefCell<Vec<LeftOut>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// A row, or `durable rows`.
    pub(crate) of: String,
    pub(crate) entry: String,
    pub(crate) why: String,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Bench {
    pub(crate) fn new(place: Place, settings: Settings, contenders: Vec<Arc<dyn Contender>>) -> Self {
        Bench {
            place: Arc::new(place),
            settings,
            contenders,
            admitted: RefCell::default(),
            left_out: RefCell::default(),
        }
    }

    /// Those that offer the work and passed the checks for it.
    pub(crate) fn those_that(&self, work: Work) -> Result<Vec<Arc<dyn Contender>>> {
        let mut those = Vec::new();
        for contender in self.contenders.iter().filter(|contender| contender.offers(work)) {
            if self.admit(contender, work == Work::Append(Promise::Durable))? {
                those.push(Arc::clone(contender));
            }
        }
        Ok(those)
    }

    /// This log alone.
    pub(crate) fn ours(&self) -> Arc<dyn Contender> {
        Arc::new(crate::ours::Stratalog)
    }

    /// This log where a consumer follows.
    pub(crate) fn purged_behind(&self) -> Arc<dyn Contender> {
        Arc::new(crate::ours::recycling::Recycling)
    }

    /// Checked once in a run.
    fn admit(&self, contender: &Arc<dyn Contender>, durable: bool) -> Result<bool> {
        let key = (contender.name(), durable);
        if let Some(known) = self.admitted.borrow().get(&key) {
            return Ok(*known);
        }
        let refusal = if durable {
            admission::durable(&self.place, contender.as_ref(), self.settings.trust)?
        } else {
            admission::reads_back(&self.place, contender.as_ref())?
        };
        let admitted = refusal.is_none();
        if let Some(why) = refusal {
            let of = if durable { "durable rows" } else { "all other rows" };
            self.leave_out(of, contender.name(), &why);
        }
        self.admitted.borrow_mut().insert(key, admitted);
        Ok(admitted)
    }

    pub(crate) fn leave_out(&self, of: &str, entry: &str, why: &str) {
        eprintln!("  left out of {of}: {entry}: {why}");
        let left_out = LeftOut { of: of.to_owned(), entry: entry.to_owned(), why: why.to_owned() };
        self.left_out.borrow_mut().push(left_out);
    }

    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        self.left_out.borrow().clone()
    }

    pub(crate) fn contenders(&self) -> &[Arc<dyn Contender>] {
        &self.contenders
    }

    /// The amount of data of a row: much less of it when only the tool is tried.
    pub(crate) fn scaled(&self, bytes: u64) -> u64 {
        if self.settings.quick { bytes / 16 } else { bytes }
    }
}
