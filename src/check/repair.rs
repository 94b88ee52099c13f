//! Making a damaged log whole again.
//!
//! Nothing is thrown away: whatever is replaced or cut is first copied, or moved, to a file whose
//! name ends in `.aside`. The order, and what an interruption in between leaves:
//!
//! 1. Good segments under a wrong name get their own, others lose theirs. Cut off here: the next
//!    run sees a log with less to do.
//! 2. The end of the log is settled as opening it would: an unfinished commit is kept aside,
//!    frames that nothing witnesses as durable are written to a new segment, synced, renamed.
//! 3. Originals of all damaged segments are copied aside.
//! 4. An empty segment is put behind the last one. From now on the files themselves say how far
//!    the log was durable, and so what is damage.
//! 5. Both checkpoints are written anew, with their place in that segment: what is rewritten
//!    before it moves under nobody. They hold where each stream stood, so that no log_offset is
//!    given out again.
//! 6. Damaged segments are replaced, each by one rename: rewritten with all that is good of them.
//!    A missing one is replaced by an empty one. Their SeqIds answer "gone" from now on.
//! 7. Damaged indexes are removed and made again.
//!
//! Cut off anywhere, the log has the damage that is not mended yet and no other, and a repair run
//! again comes to the same end.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::checkpoint::{self, CheckpointHead};
use crate::format::segment_header::SegmentHeader;
use crate::ids::SeqId;
use crate::options::ReadMode;
use crate::segment::{Home, Segment, names};
use crate::storage::Storage;

use super::examination::{Examination, State};
use super::examine::examine;
use super::files;
use super::finding::{Finding, Severity};
use super::rewrite::{SegmentWriter, keep_good};
use super::walk::Walk;
use super::workshop::Workshop;

/// What a repair found and did, or would do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was wrong, and notes.
    pub findings: Vec<Finding>,
    /// Every change, in order. Empty: there was nothing to repair, and nothing was changed.
    pub actions: Vec<RepairAction>,
    /// Files that keep what was replaced or cut.
    pub kept_aside: Vec<String>,
    /// SeqIds whose records are lost, ascending.
    pub lost: Vec<RangeInclusive<SeqId>>,
    /// How many those are.
    pub lost_records: u64,
    /// The newest SeqId ever given out, as far as the files say; the next record gets the one after.
    pub last_seq_id: SeqId,
}

/// One change to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairAction {
    /// The file.
    pub file: String,
    /// What was, or would be, done to it.
    pub what: String,
}

/// Makes the log in `storage` whole again: without the records that damage hit, with all others
/// under the numbers they had. If there is nothing to repair, nothing is changed. See
/// [`plan_repair`] for what it would do.
///
/// A batch of which some records are damaged is kept without them.
///
/// # Errors
/// [`Error::Locked`] if the log is open for writing. [`Error::Version`] and [`Error::Corrupt`] for
/// what a repair must leave alone: a file of a newer version, a directory with the name of a file
/// of the log, frames that are whole but contradict each other. [`Error::Io`]; then run it again.
pub fn repair(storage: Arc<dyn Storage>) -> Result<RepairReport> {
    // Looked at before the lock file is made: what isn't ours is not touched.
    files::list(storage.as_ref())?;
    let _lock = storage.lock()?;
    let mut report = RepairReport::default();
    // Names are set right, then the end is settled: each leads to another look, and to no more.
    for _ in 0..ROUNDS {
        let found = examine(storage.as_ref(), &mut |_| {})?;
        let mut run = Run { storage: &storage, found, report: &mut report, dry: false };
        if run.all()? {
            return Ok(report);
        }
    }
    Err(Error::Invalid(format!(
        "after {ROUNDS} rounds {} still changes under the repair; is another process at work in it?",
        storage.name()
    )))
}

const ROUNDS: usize = 8;

/// What [`repair`] would do. Writes nothing and takes no lock.
///
/// # Errors
/// As [`repair`].
pub fn plan_repair(storage: Arc<dyn Storage>) -> Result<RepairReport> {
    let mut report = RepairReport::default();
    let found = examine(storage.as_ref(), &mut |_| {})?;
    Run { storage: &storage, found, report: &mut report, dry: true }.all()?;
    Ok(report)
}

pub(super) struct Run<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) found: Examination,
    pub(super) report: &'a mut RepairReport,
    pub(super) dry: bool,
}

impl Run<'_> {
    /// False if the files have to be looked at again before going on.
    fn all(&mut self) -> Result<bool> {
        if self.report.findings.is_empty() {
            self.report.findings.clone_from(&self.found.findings);
        }
        self.report.last_seq_id = SeqId(self.found.end.saturating_sub(1));
        if self.found.worst().is_none_or(|worst| worst == Severity::Note) {
            return Ok(true);
        }
        if let Some(error) = self.found.refused.take() {
            return Err(error);
        }
        let damaged =
            self.found.states.iter().any(|state| state.damaged) || self.found.only_checkpoints_know();
        let moved = self.right_names()?;
        if damaged {
            let settled = self.settle_end()?;
            if (moved || settled) && !self.dry {
                return Ok(false);
            }
            self.tell_lost();
            self.copy_originals()?;
            self.end_segment()?;
            self.checkpoints()?;
            self.segments()?;
        } else if moved && !self.dry {
            return Ok(false);
        }
        self.drop_checkpoints(damaged)?;
        self.indexes()?;
        if !self.dry {
            self.workshop().sync_directory()?;
        }
        Ok(true)
    }

    pub(super) fn workshop(&self) -> Workshop<'_> {
        Workshop(self.storage.as_ref())
    }

    pub(super) fn act(&mut self, file: &str, what: impl Into<String>) -> bool {
        self.report.actions.push(RepairAction { file: file.to_owned(), what: what.into() });
        !self.dry
    }

    fn tell_lost(&mut self) {
        let damage = self.found.findings.iter().filter(|finding| finding.severity == Severity::Damage);
        let mut lost: Vec<(u64, u64)> = damage
            .filter(|finding| !self.header_only(finding))
            .filter_map(|finding| finding.seq_ids.as_ref())
            .map(|hit| (hit.start().0, hit.end().0))
            .collect();
        lost.sort_unstable();
        lost.dedup();
        self.report.lost_records = lost.iter().map(|(first, last)| last - first + 1).sum();
        self.report.lost = lost.into_iter().map(|(first, last)| SeqId(first)..=SeqId(last)).collect();
    }

    /// A finding about a header behind which everything can still be read.
    fn header_only(&self, finding: &Finding) -> bool {
        let readable = |state: &State| state.header.is_some() && names::segment(state.base) == finding.file;
        finding.position.is_some_and(|position| position < DATA_START)
            && self.found.states.iter().any(readable)
    }

    fn copy_originals(&mut self) -> Result<()> {
        let damaged: Vec<u64> = self
            .found
            .states
            .iter()
            .filter(|state| state.damaged && state.present)
            .map(|state| state.base)
            .collect();
        for base in damaged {
            let name = names::segment(base);
            let size = self.workshop().open(&name)?.size().map_err(|e| Error::io("stat", &name, e))?;
            if size == 0 {
                continue;
            }
            let kept = self.workshop().kept_name(&name, base, "damaged")?;
            self.report.kept_aside.push(kept.clone());
            if self.act(&name, format!("copied to {kept}"))
                && files::open(self.storage.as_ref(), &kept)?.is_none()
            {
                self.workshop().copy(&name, 0, size, &kept)?;
            }
        }
        Ok(())
    }

    fn end_segment(&mut self) -> Result<()> {
        let end = self.found.end;
        let name = names::segment(end);
        let there =
            self.found.states.iter().any(|state| state.base == end && state.present && !state.damaged);
        if there || !self.act(&name, "made, empty: the log goes on here") {
            return Ok(());
        }
        self.workshop().remove(&names::index(end))?;
        SegmentWriter::begin(self.storage.as_ref(), &self.header(end, end, false), 0)?.finish()?;
        self.report.last_seq_id = SeqId(end - 1);
        Ok(())
    }

    /// Both, so that damage to one costs nothing.
    fn checkpoints(&mut self) -> Result<()> {
        let end = self.found.end;
        let mut bases: Vec<u64> =
            self.found.states.iter().map(|state| state.base).filter(|base| *base < end).collect();
        bases.push(end);
        bases.sort_unstable();
        bases.dedup();
        let generation = self.found.newest().map_or(0, |newest| newest.head.generation);
        let (streams, lost) = self.found.settled_streams();
        let changes = self.found.controls.settle(lost, end);
        let controls = self.found.controls.encode();
        let head = CheckpointHead {
            log_id: self.found.chain.log_id,
            generation,
            next_seq: end,
            scan_base: end,
            scan_position: DATA_START,
            last_micros: self.found.last_micros,
            clean: true,
        };
        for generation in [generation + 1, generation + 2] {
            let name = names::CHECKPOINTS.get((generation % 2) as usize).copied().unwrap_or_default();
            let what = "written anew, with where each stream stands, and cursors, purges and producers";
            let all = std::iter::once(what).chain(changes.iter().map(String::as_str));
            if !self.act(name, all.collect::<Vec<_>>().join("; ")) {
                continue;
            }
            let bytes = checkpoint::encode(
                &CheckpointHead { generation, ..head },
                &bases,
                streams.iter().copied(),
                &controls,
            );
            self.workshop().write(name, &bytes)?;
        }
        Ok(())
    }

    fn segments(&mut self) -> Result<()> {
        let states = std::mem::take(&mut self.found.states);
        // At the end of the log the empty segment has taken the place of what stood there.
        let end = self.found.end;
        for state in states.iter().filter(|state| state.damaged && state.base < end) {
            let name = names::segment(state.base);
            let what = match (&state.header, state.present) {
                (Some(_), _) => format!("rewritten with what is good of it, up to SeqId {}", state.end - 1),
                (None, true) => "replaced by an empty one: nothing in it can be read".to_owned(),
                (None, false) => {
                    format!("made, empty, in place of the missing SeqIds up to {}", state.end - 1)
                }
            };
            if self.act(&name, what) {
                self.rewrite(state, &name)?;
                self.make_index(state)?;
            }
        }
        self.found.states = states;
        Ok(())
    }

    fn rewrite(&self, state: &State, name: &str) -> Result<()> {
        let header = self.header(state.base, state.end, true);
        let Some(old) = &state.header else {
            return SegmentWriter::begin(self.storage.as_ref(), &header, 0)?
                .close(state.end, self.found.last_micros);
        };
        let file = self.workshop().open(name)?;
        let mut walk = Walk::new(file.as_ref(), name, old.salt)?;
        let mut writer = SegmentWriter::begin(self.storage.as_ref(), &header, walk.scanner.size())?;
        let (_, time) = keep_good(&mut walk, state.base, state.end, &mut writer)?;
        writer.close(state.end, time)
    }

    fn make_index(&self, state: &State) -> Result<()> {
        self.workshop().remove(&names::index(state.base))?;
        let log_id = Some(self.found.chain.log_id);
        let home = Home::new(Arc::clone(self.storage), log_id, ReadMode::Positioned);
        Segment::sealed(&home, state.base, state.end).store_index()
    }

    /// Damaged ones, if none was written in their place.
    fn drop_checkpoints(&mut self, rewritten: bool) -> Result<()> {
        for name in std::mem::take(&mut self.found.bad_checkpoints) {
            if !rewritten && self.act(&name, "removed: it is of no use") {
                self.workshop().remove(&name)?;
            }
        }
        Ok(())
    }

    fn indexes(&mut self) -> Result<()> {
        for base in std::mem::take(&mut self.found.bad_indexes) {
            let state = self.found.states.iter().position(|state| state.base == base && !state.damaged);
            if let Some(state) = state
                && self.act(&names::index(base), "made again from the segment")
                && let Some(state) = self.found.states.get(state)
            {
                self.make_index(state)?;
            }
        }
        Ok(())
    }

    pub(super) fn header(&self, base: u64, end: u64, rewritten: bool) -> SegmentHeader {
        SegmentHeader {
            log_id: self.found.chain.log_id,
            base,
            durable_upto: end - 1,
            created_micros: self.found.last_micros,
            salt: self.storage.random() as u32,
            rewritten,
            recycled: false,
            end: if rewritten { end } else { 0 },
        }
    }
}
