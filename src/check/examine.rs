//! Everything there is to know of a log's files: what `verify` tells and what `repair` acts on.
//!
//! Segments are walked in order. A segment ends where the next one begins; what stands behind
//! that was written anew there and is nobody's loss. At the first place that does not hold the
//! frame that was due, the rule of recovery decides: if anything says that the SeqId due was
//! durable it is damage, and the walk goes on at the next good frame; otherwise the log ends there.
//!
//! Beside a live writer a place is looked at again before it is called damage: what the second
//! look finds whole was only being written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::registry::Registry;
use crate::segment::names::{self, Name};
use crate::storage::{Storage, StorageFile};

use super::chain::{self, Chain, Content, Link};
use super::controls::Controls;
use super::examination::{Examination, State};
use super::files::{self, Entry};
use super::finding::{Finding, Progress, Severity};
use super::frames::End;
use super::indexes::{self, Due};
use super::marks;

/// Looks at everything; changes nothing.
///
/// # Errors
/// `NotALog`, and the system's where the directory itself can't be read.
pub(super) fn examine(storage: &dyn Storage, progress: &mut dyn FnMut(Progress)) -> Result<Examination> {
    // A writer at work may begin a segment while the names are listed: then look again.
    for _ in 0..ATTEMPTS {
        if let Some(examination) = Examiner::begin(storage, progress)?.run(true)? {
            return Ok(examination);
        }
    }
    let last = Examiner::begin(storage, progress)?.run(false)?;
    Ok(last.unwrap_or_default())
}

/// A file that may be gone, or can't be opened.
type Opened = Result<Option<Arc<dyn StorageFile>>>;

/// A writer that purges takes names away as well.
const ATTEMPTS: usize = 5;

pub(super) struct Examiner<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) report: &'a mut dyn FnMut(Progress),
    pub(super) progress: Progress,
    pub(super) entries: Vec<Entry>,
    pub(super) found: Examination,
    /// Segments that have an index file.
    pub(super) indexed: HashSet<u64>,
    pub(super) due: HashMap<u64, Due>,
}

impl<'a> Examiner<'a> {
    fn begin(storage: &'a dyn Storage, report: &'a mut dyn FnMut(Progress)) -> Result<Self> {
        // Checkpoints before segments: whatever a checkpoint names was there before it.
        let early = files::list(storage)?;
        let mut found = Examination::default();
        marks::load(storage, &early, &mut found)?;
        let entries = files::list(storage)?;
        let total = entries.iter().map(|entry| entry.bytes).sum();
        let indexed = entries
            .iter()
            .filter_map(|entry| match entry.kind {
                Name::Index(base) if entry.is_file => Some(base),
                _ => None,
            })
            .collect();
        let progress = Progress { done: 0, total };
        Ok(Examiner { storage, report, progress, entries, found, indexed, due: HashMap::new() })
    }

    /// `None` if the names changed under it and another attempt may do better.
    fn run(mut self, patient: bool) -> Result<Option<Examination>> {
        (self.report)(self.progress);
        let mut chain = chain::build(self.storage, &self.entries, &self.found.marks)?;
        if patient && chain.incomplete {
            return Ok(None);
        }
        self.found.findings.append(&mut chain.findings);
        if let Some(error) = chain.refused.take() {
            self.found.refused.get_or_insert(error);
        }
        self.found.chain.log_id = chain.log_id;
        self.foreign_checkpoints(&chain);
        self.impossible_checkpoints();
        let checkpoints = self.found.marks.iter().map(|mark| mark.checkpoint.durable());
        let headers = chain.links.iter().filter_map(|link| match &link.content {
            Content::Segment(header) | Content::Headless(_, Some(header)) => Some(header.durable_upto),
            _ => None,
        });
        self.found.durable = checkpoints.chain(headers).max().unwrap_or(0);
        self.found.last_micros = self.found.newest().map_or(0, |newest| newest.head.last_micros);
        self.found.controls = Controls::new(self.found.newest());
        self.found.numbers.know_purged(chain.freed.all_purged());
        let finished = self.links(&mut chain, patient)?;
        if !finished {
            return Ok(None);
        }
        self.found.chain = chain;
        self.unseen_marks();
        if self.found.only_checkpoints_know() {
            if patient {
                return Ok(None);
            }
            self.missing_checkpoint();
        }
        self.other_files()?;
        self.found.findings.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
        self.progress.done = self.progress.total;
        (self.report)(self.progress);
        Ok(Some(self.found))
    }

    /// Walks all segments; false to begin again.
    fn links(&mut self, chain: &mut Chain, patient: bool) -> Result<bool> {
        let links = std::mem::take(&mut chain.links);
        let finished = self.each_link(&links, &mut chain.freed, patient);
        chain.links = links;
        finished
    }

    fn each_link(&mut self, links: &[Link], freed: &mut Registry, patient: bool) -> Result<bool> {
        let mut due = 1;
        for (k, link) in links.iter().enumerate() {
            // Held from here on: its bytes can be read though its name goes.
            let file = files::open(self.storage, &link.name);
            let gone = matches!(link.content, Content::Segment(_)) && matches!(file, Ok(None));
            // One before it may have gone while the names were listed.
            if gone || link.base > freed.hole_around(due).map_or(due, |(_, end)| end) {
                *freed = self.freed_by_now()?;
            }
            if freed.is_freed(link.base) {
                continue;
            }
            due = self.over_freed(freed, due);
            if link.base > due {
                if patient && self.appeared(due)? {
                    return Ok(false);
                }
                while due < link.base {
                    let end = freed.end_of(due, link.base);
                    self.missing(due, end, link);
                    due = self.over_freed(freed, end);
                }
            } else if link.base < due {
                self.overlap(due, link);
            }
            let next_base = links.get(k + 1).map_or(u64::MAX, |next| next.base);
            let next_base = Some(freed.end_of(link.base, next_base)).filter(|next| *next < u64::MAX);
            match self.link(links, k, next_base, file)? {
                End::Whole(next) => due = next,
                End::Short(next) => due = next,
                End::Log(next) => {
                    due = next;
                    let orphans: Vec<u64> = links.iter().skip(k + 1).map(|link| link.base).collect();
                    for base in &orphans {
                        let found = "a segment behind the end of the log, never synced";
                        let finding = Finding::new(
                            Severity::Note,
                            &names::segment(*base),
                            format!("SeqId {due}"),
                            found,
                        );
                        self.found.findings.push(finding.remedy("opening the log puts it aside"));
                    }
                    self.found.orphans = orphans;
                    break;
                }
            }
        }
        if self.found.orphans.is_empty() {
            due = self.over_freed(freed, due);
        }
        self.found.end = due.max(self.found.durable + 1);
        if due < self.found.end && self.found.refused.is_none() && self.found.orphans.is_empty() {
            self.no_last_segment(due);
        }
        Ok(true)
    }

    /// Where it goes on if `due` was freed.
    fn over_freed(&mut self, freed: &Registry, due: u64) -> u64 {
        let Some((_, end)) = freed.hole_around(due) else { return due };
        self.found.free(due, end);
        end
    }

    /// What a writer at work has freed meanwhile.
    fn freed_by_now(&mut self) -> Result<Registry> {
        let mut freed = Registry::default();
        // What says that a segment was freed may be freed itself while we look for it.
        for _ in 0..ATTEMPTS {
            let entries = files::list(self.storage)?;
            let mut look = Examination::default();
            marks::load(self.storage, &entries, &mut look)?;
            let chain = chain::build(self.storage, &entries, &look.marks)?;
            freed = chain.freed;
            if !chain.incomplete {
                break;
            }
        }
        self.found.numbers.know_purged(freed.all_purged());
        Ok(freed)
    }

    /// Whether a segment that begins at `due` is there by now.
    fn appeared(&self, due: u64) -> Result<bool> {
        Ok(files::open(self.storage, &names::segment(due))?.is_some())
    }

    /// No segment begins where the one before `next` ends.
    fn missing(&mut self, due: u64, end: u64, next: &Link) {
        let found = format!("no such file, or a segment before it cut short; the next one is {}", next.name);
        let finding = Finding::new(
            Severity::Damage,
            &names::segment(due),
            format!("a segment from SeqId {due} on"),
            found,
        );
        self.absent(due, end, finding);
    }

    fn no_last_segment(&mut self, due: u64) {
        let end = self.found.end;
        let expected = format!("a segment with SeqIds {due} to {}, which were durable", end - 1);
        let finding = Finding::new(Severity::Damage, &names::segment(due), expected, "no such file");
        self.absent(due, end, finding);
    }

    fn absent(&mut self, base: u64, end: u64, finding: Finding) {
        self.found.findings.push(finding.hits(base, end));
        self.found.lose(base, end);
        self.found.states.push(State { base, end, header: None, present: false, damaged: true });
    }

    fn overlap(&mut self, due: u64, link: &Link) {
        let finding = Finding::new(
            Severity::Damage,
            &link.name,
            format!("a segment from SeqId {due} on"),
            link.base.to_string(),
        )
        .at(32)
        .remedy("two segments hold the same SeqIds: move away the one that does not belong here");
        self.found.findings.push(finding);
        let error =
            Error::corrupt(&link.name, 32, format!("a segment from SeqId {due} on"), link.base.to_string());
        self.found.refused.get_or_insert(error);
    }

    fn link(&mut self, links: &[Link], k: usize, next_base: Option<u64>, file: Opened) -> Result<End> {
        let Some(link) = links.get(k) else { return Ok(End::Whole(1)) };
        let mut end = next_base.unwrap_or(self.found.durable + 1).max(link.base);
        if let (None, Content::Headless(_, None)) = (next_base, &link.content) {
            let log_id = self.found.chain.log_id;
            end = end.max(indexes::known_end(self.storage, log_id, link.base).unwrap_or(end));
        }
        let header = match &link.content {
            Content::Segment(header) => *header,
            Content::Headless(error, header) => {
                let finding = Finding::error(Severity::Damage, &link.name, error).hits(link.base, end);
                let Some(header) = header else {
                    self.found.findings.push(finding);
                    self.found.lose(link.base, end);
                    let state = State { base: link.base, end, header: None, present: true, damaged: true };
                    self.found.states.push(state);
                    return Ok(End::Whole(end));
                };
                self.found
                    .findings
                    .push(finding.remedy("run a repair: what stands behind the header can be read"));
                *header
            }
            Content::Absent => {
                if let Some(told) = self.found.findings.iter_mut().find(|finding| finding.file == link.name) {
                    *told = told.clone().hits(link.base, end);
                }
                self.found.lose(link.base, end);
                let state = State { base: link.base, end, header: None, present: false, damaged: true };
                self.found.states.push(state);
                return Ok(End::Whole(end));
            }
            Content::Unknown => {
                self.found.lose(link.base, end);
                return Ok(End::Whole(end));
            }
        };
        let damaged = matches!(link.content, Content::Headless(..));
        let before = self.progress.done;
        let walked = match file {
            Ok(Some(file)) => self.segment(file.as_ref(), links, k, next_base, header, damaged),
            Ok(None) => Err(Error::io("open", &link.name, std::io::ErrorKind::NotFound.into())),
            Err(error) => Err(error),
        };
        let bytes = self.entries.iter().find(|entry| entry.name == link.name).map_or(0, |entry| entry.bytes);
        self.progress.done = before + bytes;
        (self.report)(self.progress);
        match walked {
            Err(error @ Error::Io { .. }) => {
                self.found
                    .findings
                    .push(Finding::error(Severity::Damage, &link.name, &error).hits(link.base, end));
                self.found.refused.get_or_insert(error);
                Ok(End::Whole(end))
            }
            other => other,
        }
    }

    /// Everything that is no segment.
    fn other_files(&mut self) -> Result<()> {
        for entry in self.entries.clone() {
            if !entry.is_file && entry.kind != Name::Foreign {
                let error =
                    Error::corrupt(&entry.name, 0, "a regular file", "a directory, link or special file");
                let finding = Finding::error(Severity::Damage, &entry.name, &error)
                    .remedy("move it away, then run a repair");
                self.found.findings.push(Finding { position: None, ..finding });
                self.found.refused = Some(error);
                continue;
            }
            if entry.kind != Name::Foreign {
                self.found.counts.files += 1;
                self.found.counts.bytes += entry.bytes;
            }
            match entry.kind {
                Name::Segment(_) => {}
                Name::Index(base) => {
                    let finding = indexes::check(self.storage, base, &self.due)?;
                    if finding.as_ref().is_some_and(|finding| finding.severity > Severity::Note) {
                        self.found.bad_indexes.push(base);
                    }
                    self.found.findings.extend(finding);
                }
                Name::Foreign => {
                    let finding = Finding::new(
                        Severity::Note,
                        &entry.name,
                        "files of the log",
                        "a file that is not ours",
                    );
                    self.found.findings.push(finding.remedy("it was not looked at"));
                }
                Name::Temporary => {
                    let finding = Finding::new(
                        Severity::Note,
                        &entry.name,
                        "whole files",
                        "one that was never finished",
                    );
                    self.found.findings.push(finding.remedy("opening the log for writing removes it"));
                }
                Name::Aside => {
                    let found = format!("{} bytes that a recovery or a repair put aside", entry.bytes);
                    let finding = Finding::new(Severity::Note, &entry.name, "files in use", found);
                    self.found.findings.push(finding.remedy("remove it once nobody needs it"));
                }
                Name::Checkpoint | Name::Lock | Name::Spare | Name::Free => {}
            }
            if !matches!(entry.kind, Name::Segment(_) | Name::Foreign | Name::Index(_)) {
                self.read(&entry);
            }
            if !matches!(entry.kind, Name::Segment(_)) {
                self.progress.done += entry.bytes;
                (self.report)(self.progress);
            }
        }
        Ok(())
    }

    /// Reads a file of which the content says nothing: it should still be readable.
    fn read(&mut self, entry: &Entry) {
        let read = || -> Result<()> {
            let Some(file) = files::open(self.storage, &entry.name)? else { return Ok(()) };
            files::read_through(file.as_ref(), &entry.name, 0, entry.bytes, |_, _| Ok(()))
        };
        if let Err(error) = read() {
            self.found.findings.push(Finding::error(Severity::Damage, &entry.name, &error));
            self.found.refused.get_or_insert(error);
        }
    }
}
