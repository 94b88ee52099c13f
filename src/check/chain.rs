//! The segments that a log should have, in order, and what stands in their places.

use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::format::segment_header::SegmentHeader;
use crate::log::registry::Registry;
use crate::segment::names::{self, Name};
use crate::segment::{hex, scan};
use crate::storage::Storage;

use super::files::{self, Entry};
use super::finding::{Finding, Severity};
use super::freed::{self, Readable};
use super::marks::Mark;
use super::salvage;

/// One place in the order of segments.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) base: u64,
    pub(super) name: String,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A segment of this log.
    Segment(SegmentHeader),
    /// A file with a damaged header, and what that must have said, if anything proves it.
    Headless(Error, Option<SegmentHeader>),
    /// No such file, or one that belongs elsewhere.
    Absent,
    /// Something of which nothing can be said; it is told of already.
    Unknown,
}

/// A good segment in a place that is not its own.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) name: String,
    /// Where it stands.
    pub(super) base: u64,
    /// Where it belongs, if that is in this log.
    pub(super) belongs: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) log_id: [u8; 16],
    pub(super) links: Vec<Link>,
    /// Which SeqIds were freed, and what was purged before that.
    pub(super) freed: Registry,
    pub(super) misplaced: Vec<Misplaced>,
    pub(super) findings: Vec<Finding>,
    /// A segment that should be there was not there, or not any more.
    pub(super) incomplete: bool,
    /// What a repair must not touch.
    pub(super) refused: Option<Error>,
}

pub(super) fn build(storage: &dyn Storage, entries: &[Entry], marks: &[Mark]) -> Result<Chain> {
    let mut chain = Chain::default();
    let mut headers = Vec::new();
    for entry in entries {
        let Name::Segment(base) = entry.kind else { continue };
        if !entry.is_file {
            chain.link(base, Content::Unknown);
            continue;
        }
        match files::open(storage, &entry.name) {
            Ok(Some(file)) => headers.push((base, scan::read_header(file.as_ref(), &entry.name))),
            Ok(None) => chain.incomplete = true,
            Err(error) => headers.push((base, Err(error))),
        }
    }
    let by_age = || marks.iter().map(|mark| &mark.checkpoint).max_by_key(|read| read.head.generation);
    chain.log_id = log_id(&headers, by_age());
    let own = marks.iter().filter(|mark| mark.checkpoint.head.log_id == chain.log_id);
    let checkpoint = own.map(|mark| &mark.checkpoint).max_by_key(|read| read.head.generation);
    let readable = readable(storage, &headers, chain.log_id)?;
    chain.freed = freed::find(storage, &readable, checkpoint)?;
    for (base, header) in headers {
        chain.place(storage, base, header)?;
    }
    // A stray file has a place of its own only if it is the one that is missing there.
    for k in 0..chain.misplaced.len() {
        let Some(base) = chain.misplaced.get(k).and_then(|stray| stray.belongs) else { continue };
        if !chain.holds(base) {
            chain.link(base, Content::Unknown);
        }
    }
    let listed = checkpoint.iter().flat_map(|checkpoint| checkpoint.segments());
    for base in listed {
        if !chain.holds(base) && !chain.freed.is_freed(base) {
            chain.incomplete = true;
            let expected = "this segment, which the checkpoint names";
            let finding = Finding::new(Severity::Damage, &names::segment(base), expected, "no such file");
            chain.findings.push(finding);
            chain.link(base, Content::Absent);
        }
    }
    chain.links.sort_unstable_by_key(|link| link.base);
    Ok(chain)
}

/// The segments of this log whose frames can be read, in the order of their bases.
fn readable(
    storage: &dyn Storage,
    headers: &[(u64, Result<SegmentHeader>)],
    log_id: [u8; 16],
) -> Result<Vec<Readable>> {
    let mut readable = Vec::new();
    for (base, header) in headers {
        let name = names::segment(*base);
        let header = match header {
            Ok(header) => Some(*header).filter(|header| header.log_id == log_id),
            Err(Error::Corrupt(_)) => match files::open(storage, &name)? {
                Some(file) => salvage::header(file.as_ref(), &name, log_id, *base)?,
                None => None,
            },
            Err(_) => None,
        };
        readable.extend(header.map(|header| Readable { name, header }));
    }
    readable.sort_unstable_by_key(|segment| segment.header.base);
    Ok(readable)
}

/// The log that most of its files belong to.
fn log_id(headers: &[(u64, Result<SegmentHeader>)], checkpoint: Option<&Checkpoint>) -> [u8; 16] {
    let ids = headers.iter().filter_map(|(_, header)| header.as_ref().ok()).map(|header| header.log_id);
    let ids: Vec<[u8; 16]> = checkpoint.iter().map(|checkpoint| checkpoint.head.log_id).chain(ids).collect();
    let votes = |id: &[u8; 16]| ids.iter().filter(|other| *other == id).count();
    // Of equals the first: the checkpoint, then the oldest segment.
    let mut best = ids.first().copied().unwrap_or_default();
    for id in &ids {
        if votes(id) > votes(&best) {
            best = *id;
        }
    }
    best
}

impl Chain {
    fn holds(&self, base: u64) -> bool {
        self.links.iter().any(|link| link.base == base)
    }

    fn link(&mut self, base: u64, content: Content) {
        self.links.push(Link { base, name: names::segment(base), content });
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    fn place(&mut self, storage: &dyn Storage, base: u64, header: Result<SegmentHeader>) -> Result<()> {
        let name = names::segment(base);
        let freed = self.freed.is_freed(base);
        match header {
            Ok(header) if freed && header.log_id == self.log_id && header.base == base => {
                self.still_there(&name)
            }
            Err(Error::Corrupt(_)) if freed => self.still_there(&name),
            Ok(header) if header.log_id != self.log_id => {
                let expected = format!("a segment of log {}", hex(&self.log_id));
                let found = format!("one of log {}; was the file copied here?", hex(&header.log_id));
                self.stray(Finding::new(Severity::Damage, &name, expected, found).at(16), base, None);
                if !freed {
                    self.link(base, Content::Absent);
                }
            }
            Ok(header) if header.base != base => {
                let expected = format!("base SeqId {base}, as the file is named");
                let found = format!("{}; was the file renamed or copied?", header.base);
                let finding = Finding::new(Severity::Damage, &name, expected, found).at(32);
                let remedy = format!("its name was {}; run a repair", names::segment(header.base));
                self.stray(finding.remedy(remedy), base, Some(header.base));
            }
            Ok(header) => self.link(base, Content::Segment(header)),
            Err(error @ Error::Corrupt(_)) => {
                let file = files::open(storage, &name)?;
                let header = match &file {
                    Some(file) => salvage::header(file.as_ref(), &name, self.log_id, base)?,
                    None => None,
                };
                self.link(base, Content::Headless(error, header));
            }
            Err(error) => {
                self.findings.push(Finding::error(Severity::Damage, &name, &error));
                self.link(base, Content::Unknown);
                self.refuse(error);
            }
        }
        Ok(())
    }

    /// A crash came between the record that a segment is freed and the removal of its file.
    fn still_there(&mut self, name: &str) {
        let found = "a segment that was freed: everything in it is purged";
        let finding = Finding::new(Severity::Note, name, "no such file", found);
        self.findings.push(finding.remedy("opening the log for writing removes it"));
    }

    fn stray(&mut self, finding: Finding, base: u64, belongs: Option<u64>) {
        self.misplaced.push(Misplaced { name: finding.file.clone(), base, belongs });
        self.findings.push(finding);
    }
}
