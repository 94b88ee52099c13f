//! Walking the frames of one segment.

use crate::error::{Error, Result};
use crate::format::control::{Control, NOTE_BYTES, Note, Produced};
use crate::format::frame::Kind;
use crate::format::segment_header::SegmentHeader;
use crate::format::{ALIGNMENT, DATA_START, Invalid, SEGMENT_HEADER_BYTES};
use crate::segment::MemoryIndex;
use crate::segment::scan::Scanner;
use crate::storage::StorageFile;

use super::chain::{Content, Link};
use super::examination::{Doubt, State, Torn};
use super::examine::Examiner;
use super::files;
use super::finding::{Finding, Progress, REPAIR_KEEPS_ALL, Severity};
use super::indexes::Due;
use super::walk::{self, Seen, Walk};

/// How the walk through a segment ended.
pub(super) enum End {
    /// The SeqId due next is where the next segment begins, or nothing follows.
    Whole(u64),
    /// Nothing stands where this SeqId was due, and a later segment begins behind it.
    Short(u64),
    /// The log ends here.
    Log(u64),
}

const NOTE_LOST: &str = "run a repair; no record is lost by it, but nobody knows any more who appended this batch, \
                         so a retry of it would be appended again";

enum Verdict {
    /// A writer has finished the frame meanwhile.
    Finished,
    Damage,
    End,
}

/// Where in a segment the walk is.
pub(super) struct At<'a> {
    pub(super) walk: Walk<'a>,
    file: &'a dyn StorageFile,
    name: &'a str,
    pub(super) header: SegmentHeader,
    pub(super) due: u64,
    next_base: Option<u64>,
    damaged: bool,
    /// SeqIds that a rewritten segment left out.
    gaps: Vec<(u64, u64)>,
    index: Option<MemoryIndex>,
    /// Where the frame with the last SeqId ends.
    data_end: u64,
    reported: u64,
}

impl At<'_> {
    /// The frame that is due, or why it is not there.
    fn look(&mut self) -> Result<Result<Seen, Invalid>> {
        Ok(match self.walk.look()? {
            Ok(seen) if self.in_order(seen.header.first_seq) => Ok(seen),
            Ok(seen) => {
                let found = format!("a frame of SeqId {}", seen.header.first_seq);
                Err(Invalid::new(16, format!("a frame of SeqId {}", self.due), found))
            }
            Err(invalid) => Err(invalid),
        })
    }

    fn in_order(&self, first_seq: u64) -> bool {
        first_seq == self.due || (self.header.rewritten && first_seq > self.due)
    }
}

impl Examiner<'_> {
    pub(super) fn segment(
        &mut self,
        file: &dyn StorageFile,
        links: &[Link],
        k: usize,
        next_base: Option<u64>,
        header: SegmentHeader,
        damaged: bool,
    ) -> Result<End> {
        let Some(link) = links.get(k) else { return Ok(End::Whole(1)) };
        let mut at = At {
            walk: Walk::new(file, &link.name, header.salt)?,
            file,
            name: &link.name,
            header,
            due: header.base,
            next_base,
            damaged,
            gaps: Vec::new(),
            index: self.indexed.contains(&header.base).then(|| MemoryIndex::new(header.base)),
            data_end: DATA_START,
            reported: 0,
        };
        self.found.counts.segments += 1;
        self.head_page(file, &link.name)?;
        let end = self.frames(&mut at, links, k)?;
        self.pass_last_marks(&at);
        let ends = match end {
            End::Whole(due) | End::Short(due) | End::Log(due) => due,
        };
        files::read_through(file, &link.name, at.walk.position, at.walk.scanner.size(), |_, _| Ok(()))?;
        self.thinned(&at);
        if let Some(index) = at.index {
            let (header, data_end, damaged) = (at.header, at.data_end, at.damaged);
            self.due.insert(header.base, Due { index, data_end, header, end: ends, damaged });
        }
        self.found.states.push(State {
            base: link.base,
            end: ends,
            header: Some(header),
            present: true,
            damaged: at.damaged,
        });
        Ok(end)
    }

    /// What stands between header and first frame means nothing; it should be zeros all the same.
    fn head_page(&mut self, file: &dyn StorageFile, name: &str) -> Result<()> {
        let mut stray = None;
        files::read_through(file, name, SEGMENT_HEADER_BYTES as u64, DATA_START, |bytes, from| {
            stray = stray.or(bytes.iter().position(|byte| *byte != 0).map(|k| from + k as u64));
            Ok(())
        })?;
        if let Some(position) = stray {
            self.found.findings.push(
                Finding::new(Severity::Note, name, "zeros, in unused bytes", "other bytes").at(position),
            );
        }
        Ok(())
    }

    fn frames(&mut self, at: &mut At<'_>, links: &[Link], k: usize) -> Result<End> {
        loop {
            self.pass_marks(at);
            if at.next_base.is_some_and(|next| next <= at.due) {
                return Ok(End::Whole(at.due));
            }
            self.tell(at);
            let (seen, invalid) = match at.look()? {
                Ok(seen) if seen.bad.is_empty() => {
                    self.take(at, &seen)?;
                    continue;
                }
                Ok(seen) => {
                    let invalid = seen.bad.first().map(|bad| bad.invalid.clone());
                    (Some(seen), invalid.unwrap_or_else(|| Invalid::new(0, "a record", "none")))
                }
                Err(invalid) => (None, invalid),
            };
            if let Some(place) = self.behind_lost_witness(at)? {
                at.walk.position = place;
                continue;
            }
            let written = at.walk.scanner.unfinished_bytes(at.walk.position, at.due, &at.header)?;
            if written == 0 && at.next_base.is_none() && !self.known_durable(at) {
                return Ok(End::Log(at.due));
            }
            match self.judge(at, links, k)? {
                Verdict::Finished => {}
                Verdict::End => {
                    self.torn(at, written);
                    return Ok(End::Log(at.due));
                }
                Verdict::Damage => match seen {
                    Some(seen) => self.bad_records(at, &seen)?,
                    None if written == 0 && at.next_base.is_some() => return Ok(End::Short(at.due)),
                    None => {
                        if self.resync(at, &invalid)? {
                            return Ok(End::Whole(at.due));
                        }
                    }
                },
            }
        }
    }

    /// Nothing good stands at the place: is that damage, or the end of the log?
    fn judge(&mut self, at: &mut At<'_>, links: &[Link], k: usize) -> Result<Verdict> {
        let (position, due) = (at.walk.position, at.due);
        let witnessed = self.known_durable(at)
            || at.walk.scanner.next_valid(position + ALIGNMENT, |frame| frame.durable_upto >= due)?.is_some()
            || self.witnessed_later(links.get(k + 1..).unwrap_or_default(), due)?;
        let mut again = Walk::new(at.file, at.name, at.header.salt)?;
        again.position = position;
        std::mem::swap(&mut at.walk, &mut again);
        if at.look()?.is_ok_and(|seen| seen.bad.is_empty()) {
            return Ok(Verdict::Finished);
        }
        Ok(if witnessed { Verdict::Damage } else { Verdict::End })
    }

    /// Whether what is due here was durable as a header, an earlier frame or a checkpoint says. A
    /// checkpoint also knows of a witness at its place, which has no SeqId.
    fn known_durable(&self, at: &At<'_>) -> bool {
        let (base, position) = (at.header.base, at.walk.position);
        let mut heads = self.found.marks.iter().map(|mark| &mark.checkpoint.head);
        self.found.durable >= at.due
            || heads.any(|head| head.scan_base == base && head.scan_position > position)
    }

    /// A checkpoint knows of a witness that was never synced, because all before it was: a power
    /// cut may take that one frame, and what follows it is good. Where its bytes are gone as they go
    /// then, by sectors, this is the place behind it.
    fn behind_lost_witness(&mut self, at: &mut At<'_>) -> Result<Option<u64>> {
        const SECTOR: u64 = 512;
        let (base, position, size) = (at.header.base, at.walk.position, at.walk.scanner.size());
        let heads = self.found.marks.iter().map(|mark| &mark.checkpoint.head);
        let places = heads.filter(|head| head.scan_base == base && head.next_seq == at.due);
        let places =
            places.map(|head| head.scan_position).filter(|place| *place > position && *place <= size);
        let Some(place) = places.min() else { return Ok(None) };
        // Whatever its sectors held before is there again: all that can be lost is that one frame.
        if at.header.recycled {
            return Ok(Some(place));
        }
        let mut start = position;
        while start < place {
            let end = (start / SECTOR + 1).saturating_mul(SECTOR).min(place);
            if at.walk.scanner.bytes(start, end - start)?.iter().all(|byte| *byte == 0) {
                return Ok(Some(place));
            }
            start = end;
        }
        Ok(None)
    }

    /// Whether any frame of a later segment says that `due` was durable. What can't be read can't
    /// deny it, so that is damage too.
    fn witnessed_later(&self, links: &[Link], due: u64) -> Result<bool> {
        for link in links {
            let Content::Segment(header) = &link.content else { return Ok(true) };
            let Some(file) = files::open(self.storage, &link.name)? else { continue };
            let mut scanner = Scanner::new(file.as_ref(), &link.name, header.salt)?;
            if scanner.next_valid(DATA_START, |frame| frame.durable_upto >= due)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, at: &mut At<'_>, seen: &Seen) -> Result<()> {
        let header = &seen.header;
        if header.first_seq > at.due {
            self.found.lose(at.due, header.first_seq);
            at.gaps.push((at.due, header.first_seq));
        }
        let bad = seen.bad.iter().filter(|bad| bad.number < header.count).count() as u64;
        match header.kind {
            Kind::Batch => {
                self.number(at.name, seen);
                self.note(at, seen)?;
                self.found.counts.records += u64::from(header.count) - bad;
            }
            Kind::Control => {
                self.controls(at, seen)?;
                self.found.counts.controls += u64::from(header.count) - bad;
            }
            Kind::Witness => {}
        }
        if header.kind != Kind::Witness {
            self.found.doubts.push_back(Doubt {
                base: at.header.base,
                position: seen.position,
                first_seq: header.first_seq,
                next_seq: header.next_seq(),
            });
        }
        self.found.counts.frames += 1;
        self.found.durable = self.found.durable.max(header.durable_upto);
        self.found.last_micros = self.found.last_micros.max(header.unix_micros);
        let durable = self.found.durable;
        while self.found.doubts.front().is_some_and(|doubt| doubt.next_seq - 1 <= durable) {
            self.found.doubts.pop_front();
        }
        if let Some(index) = &mut at.index {
            index.add(seen.position, header);
        }
        at.walk.pass(seen);
        if header.next_seq() > at.due {
            at.data_end = at.walk.position;
        }
        at.due = header.next_seq();
        Ok(())
    }

    /// Who appended a batch, if it says that.
    fn note(&mut self, at: &mut At<'_>, seen: &Seen) -> Result<()> {
        let header = &seen.header;
        if !header.note || seen.bad.iter().any(|bad| bad.number == header.count) {
            return Ok(());
        }
        let content = at.walk.content(seen)?;
        let note = content.len().checked_sub(NOTE_BYTES).and_then(|at| Note::decode(content.get(at..)?));
        let produced = note.map(|note| Produced {
            note,
            stream: header.stream,
            first_seq: header.first_seq,
            first_log_offset: header.first_log_offset,
            count: header.count,
        });
        produced.into_iter().for_each(|produced| self.found.controls.produced(produced));
        Ok(())
    }

    fn controls(&mut self, at: &mut At<'_>, seen: &Seen) -> Result<()> {
        let header = &seen.header;
        let content = at.walk.content(seen)?;
        for (number, record) in (0..).zip(walk::records(header, content)) {
            let seq = header.first_seq + u64::from(number);
            if seen.bad.iter().any(|bad| bad.number == number) {
                self.found.controls.lose_about(seq, &header.stream);
                continue;
            }
            match Control::decode_one(record.bytes) {
                Ok(control) => self.found.controls.take(seq, &control),
                Err(invalid) => {
                    let position = seen.position + record.at;
                    let remedy =
                        "it is whole, so it is no damage: use the build that wrote it, or a newer one";
                    let finding = Finding::invalid(Severity::Damage, at.name, position, &invalid);
                    self.found.findings.push(finding.hits(seq, seq + 1).remedy(remedy));
                    self.found.refused.get_or_insert(invalid.in_file(at.name, position));
                }
            }
        }
        Ok(())
    }

    fn number(&mut self, name: &str, seen: &Seen) {
        let header = &seen.header;
        let stream = crate::StreamId::from_bytes(header.stream);
        let taken = self.found.numbers.take(header);
        if taken == Ok(true) {
            let before =
                format!("the records of stream {stream} before log_offset {}", header.first_log_offset);
            let found = "a freed segment, and a purge point before them: they were lost earlier";
            self.found.findings.push(Finding::new(Severity::Note, name, before, found).at(seen.position));
        }
        if let Err(due) = taken {
            let finding = Finding::new(
                Severity::Damage,
                name,
                format!("log_offset {due} of stream {stream}"),
                header.first_log_offset.to_string(),
            );
            let remedy = "the frames are whole and out of order: restore the segments from a copy";
            self.found
                .findings
                .push(finding.at(seen.position).hits(header.first_seq, header.next_seq()).remedy(remedy));
            let error = Error::corrupt(
                name,
                seen.position,
                format!("log_offset {due}"),
                header.first_log_offset.to_string(),
            );
            self.found.refused.get_or_insert(error);
        }
    }

    /// The frame stands, some of its records don't.
    fn bad_records(&mut self, at: &mut At<'_>, seen: &Seen) -> Result<()> {
        for run in seen.bad.chunk_by(|a, b| a.number + 1 == b.number) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            // What stands behind the records, who appended them, has no SeqId.
            let count = seen.header.count;
            let seq = |number: u32| seen.header.first_seq + u64::from(number.min(count));
            let finding = Finding::invalid(Severity::Damage, at.name, seen.position, &first.invalid);
            let finding = finding.hits(seq(first.number), seq(last.number.saturating_add(1)));
            self.found.findings.push(if first.number < count { finding } else { finding.remedy(NOTE_LOST) });
        }
        at.damaged = true;
        // It is damage because some of it was durable, and a frame is so as a whole.
        self.found.durable = self.found.durable.max(seen.header.next_seq() - 1);
        self.take(at, seen)
    }

    /// Goes on at the next good frame; true if the segment has none.
    fn resync(&mut self, at: &mut At<'_>, invalid: &Invalid) -> Result<bool> {
        let (position, due) = (at.walk.position, at.due);
        at.damaged = true;
        if let Some(claim) = at.walk.claim(position)? {
            self.found.numbers.claim(claim);
        }
        let bound = at.next_base.unwrap_or(u64::MAX);
        let next = at.walk.next_head(position, |head| head.first_seq >= due && head.next_seq() <= bound)?;
        let (to, seq) = match &next {
            Some((to, head)) => (*to, head.first_seq),
            None => (at.walk.scanner.size(), at.next_base.unwrap_or(self.found.durable + 1).max(due)),
        };
        let finding = Finding::invalid(Severity::Damage, at.name, position, invalid).hits(due, seq);
        self.found.findings.push(if due == seq { finding.remedy(REPAIR_KEEPS_ALL) } else { finding });
        self.found.lose(due, seq);
        (at.walk.position, at.due) = (to, seq);
        Ok(next.is_none())
    }

    fn torn(&mut self, at: &At<'_>, written: u64) {
        if written == 0 {
            return;
        }
        let position = at.walk.position;
        let found = format!("an unfinished commit of {written} bytes, never acknowledged");
        let finding = Finding::new(Severity::Note, at.name, format!("the frame of SeqId {}", at.due), found)
            .at(position);
        self.found.findings.push(finding.remedy("opening the log cuts it off and keeps it aside"));
        self.found.torn = Some(Torn { base: at.header.base, position, bytes: written });
    }

    /// What a rewritten segment no longer has.
    fn thinned(&mut self, at: &At<'_>) {
        let (Some((first, _)), Some((_, end))) = (at.gaps.first(), at.gaps.last()) else { return };
        let missing: u64 = at.gaps.iter().map(|(first, end)| end - first).sum();
        let found =
            format!("a segment that was rewritten without {missing} of its records, by a purge or a repair");
        let finding = Finding::new(Severity::Note, at.name, "all SeqIds of the segment", found);
        self.found.findings.push(if at.gaps.len() == 1 { finding.hits(*first, *end) } else { finding });
    }

    fn tell(&mut self, at: &mut At<'_>) {
        const STEP: u64 = 1 << 20;
        let position = at.walk.position;
        if position >= at.reported + STEP {
            at.reported = position;
            (self.report)(Progress { done: self.progress.done + position, ..self.progress });
        }
    }
}
