//! Checkpoints: each says how far the log had come at one place in it.

use crate::error::Result;
use crate::format::HeaderError;
use crate::format::checkpoint::{Checkpoint, CheckpointHead};
use crate::segment::names::{CHECKPOINTS, Name};
use crate::storage::Storage;

use super::chain::Chain;
use super::controls;
use super::examination::Examination;
use super::examine::Examiner;
use super::files::{self, Entry};
use super::finding::{Finding, REPAIR_KEEPS_ALL, Severity};
use super::frames::At;

/// A checkpoint file that could be read.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) checkpoint: Checkpoint,
    /// The walk came past its place.
    seen: bool,
}

/// Reads both files.
pub(super) fn load(storage: &dyn Storage, entries: &[Entry], found: &mut Examination) -> Result<()> {
    for entry in entries.iter().filter(|entry| entry.kind == Name::Checkpoint && entry.is_file) {
        let bytes = match files::content(storage, &entry.name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                found.findings.push(Finding::error(Severity::Damage, &entry.name, &error));
                found.refused.get_or_insert(error);
                continue;
            }
        };
        match Checkpoint::decode(&bytes) {
            Ok(checkpoint) => found.marks.push(Mark { name: entry.name.clone(), checkpoint, seen: false }),
            Err(HeaderError::Invalid(invalid)) => {
                let finding = Finding::invalid(Severity::Rebuilt, &entry.name, 0, &invalid);
                let remedy =
                    "the older checkpoint or a longer scan serves; a repair or the log writes it again";
                found.findings.push(finding.remedy(remedy));
                found.bad_checkpoints.push(entry.name.clone());
            }
            Err(newer) => {
                let error = newer.in_file(&entry.name);
                found.findings.push(Finding::error(Severity::Damage, &entry.name, &error));
                found.refused.get_or_insert(error);
            }
        }
    }
    Ok(())
}

impl Examiner<'_> {
    pub(super) fn foreign_checkpoints(&mut self, chain: &Chain) {
        let marks = std::mem::take(&mut self.found.marks);
        for mark in marks {
            if mark.checkpoint.head.log_id == chain.log_id {
                self.found.marks.push(mark);
                continue;
            }
            let found = "one of another log; was the file copied here?";
            self.found.findings.push(
                Finding::new(Severity::Damage, &mark.name, "a checkpoint of this log", found)
                    .at(16)
                    .remedy(REPAIR_KEEPS_ALL),
            );
            self.found.bad_checkpoints.push(mark.name);
        }
    }

    /// Without a checkpoint the log is read from SeqId 1 on, which freed segments do not allow.
    pub(super) fn missing_checkpoint(&mut self) {
        let expected = "a checkpoint, as segments were freed";
        let found = "none that is good; what only they told of cursors and purges is lost";
        self.found.findings.push(Finding::new(Severity::Damage, CHECKPOINTS[0], expected, found));
    }

    /// What is never true of a checkpoint, wherever it was taken.
    pub(super) fn impossible_checkpoints(&mut self) {
        let wrong = |mark: &Mark| {
            let (expected, found) = controls::purge_beyond_cursor(&mark.checkpoint)?;
            Some((mark.name.clone(), expected, found))
        };
        let wrong: Vec<_> = self.found.marks.iter().filter_map(wrong).collect();
        for (name, expected, found) in wrong {
            self.wrong_checkpoint(&name, expected, found);
        }
    }

    /// Compares checkpoints that were taken at this place with what was read up to it.
    pub(super) fn pass_marks(&mut self, at: &At<'_>) {
        let (base, position) = (at.header.base, at.walk.position);
        self.compare_marks(at.due, |head| head.scan_base == base && head.scan_position == position);
    }

    /// A segment ends where the next one begins, and a witness may stand between the two places.
    pub(super) fn pass_last_marks(&mut self, at: &At<'_>) {
        let (base, position, due) = (at.header.base, at.walk.position, at.due);
        let here = |head: &CheckpointHead| head.scan_base == base && head.scan_position >= position;
        self.compare_marks(due, |head| here(head) && head.next_seq == due);
    }

    fn compare_marks(&mut self, due: u64, here: impl Fn(&CheckpointHead) -> bool) {
        let mut differences = Vec::new();
        for mark in self.found.marks.iter_mut().filter(|mark| !mark.seen && here(&mark.checkpoint.head)) {
            let head = &mark.checkpoint.head;
            mark.seen = true;
            let numbers = || self.found.numbers.differs(&mark.checkpoint.streams);
            let seq =
                (head.next_seq != due).then(|| (format!("next SeqId {due}"), head.next_seq.to_string()));
            if let Some((expected, found)) = seq.or_else(numbers) {
                differences.push((mark.name.clone(), expected, found));
            }
        }
        for (name, expected, found) in differences {
            self.wrong_checkpoint(&name, expected, found);
        }
    }

    /// Checkpoints whose place is not where a frame ends.
    pub(super) fn unseen_marks(&mut self) {
        let walked = |base| {
            self.found.states.iter().any(|state| state.base == base && state.present && !state.damaged)
        };
        let unseen: Vec<(String, String)> = self
            .found
            .marks
            .iter()
            .filter(|mark| !mark.seen && walked(mark.checkpoint.head.scan_base))
            .map(|mark| (mark.name.clone(), mark.checkpoint.head.scan_position.to_string()))
            .collect();
        for (name, found) in unseen {
            self.wrong_checkpoint(&name, "a scan position between two frames".into(), found);
        }
    }

    fn wrong_checkpoint(&mut self, name: &str, expected: String, found: String) {
        self.found
            .findings
            .push(Finding::new(Severity::Damage, name, expected, found).remedy(REPAIR_KEEPS_ALL));
        if !self.found.bad_checkpoints.iter().any(|bad| bad == name) {
            self.found.bad_checkpoints.push(name.to_owned());
        }
    }
}
