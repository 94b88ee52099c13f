//! Scanning from a checkpoint to the end of what is there, and the verdict on where it ends.
//!
//! At the first position that does not hold the frame that was due:
//!
//! | seen | verdict |
//! |---|---|
//! | a later segment begins at the SeqId due | this segment ends here |
//! | a later valid frame or segment says that the SeqId due was durable | corrupt |
//! | otherwise | the end, torn if anything was written there |
//!
//! "Any valid frame after a hole" would be the wrong rule: the pages of one unsynced group reach
//! the disk in any order, so a crash may leave a later frame and not an earlier one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::streams::Streams;
use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::format::control::{Control, NOTE_BYTES, Note, Produced};
use crate::format::frame::{FrameHeader, Kind};
use crate::format::segment_header::SegmentHeader;
use crate::format::{ALIGNMENT, DATA_START, FRAME_HEADER_BYTES, Invalid};
use crate::segment::scan::{Scanner, read_header};
use crate::segment::{Home, check_identity, names};
use crate::storage::{Access, StorageFile};

/// Where a scan begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) base: u64,
    pub(super) position: u64,
    pub(super) next_seq: u64,
    pub(super) last_micros: i64,
    /// Every SeqId up to here is known to be durable.
    pub(super) durable: u64,
    /// Nothing was ever written behind `position` in this segment.
    pub(super) clean: bool,
}

impl Start {
    /// The beginning of the log.
    pub(super) const FIRST: Start =
        Start { base: 1, position: DATA_START, next_seq: 1, last_micros: 0, durable: 0, clean: false };

    /// Where a checkpoint says to begin.
    pub(super) fn at(checkpoint: &Checkpoint) -> Start {
        let head = &checkpoint.head;
        Start {
            base: head.scan_base,
            position: head.scan_position,
            next_seq: head.next_seq,
            last_micros: head.last_micros,
            durable: checkpoint.durable(),
            clean: head.ends_the_scan(),
        }
    }
}

/// A segment as the scan found it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) base: u64,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) salt: u32,
    pub(super) end_seq: u64,
    pub(super) end_position: u64,
}

/// A valid frame of which nothing says that it is on the disk: the page cache may show what a
/// failed or missing sync never wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// Which of the scanned segments.
    pub(super) segment: usize,
    pub(super) position: u64,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
}

/// Bytes behind the end that are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) base: u64,
    pub(super) position: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Replay {
    pub(super) scanned: Vec<Scanned>,
    pub(super) next_seq: u64,
    pub(super) last_micros: i64,
    /// Every SeqId up to here is durable.
    pub(super) durable: u64,
    /// Every SeqId up to here was committed when it was written.
    pub(super) committed: u64,
    pub(super) doubts: VecDeque<Doubt>,
    pub(super) cut: Option<Cut>,
    /// Segments behind the cut: written, never synced, and of no use without what was cut.
    pub(super) orphans: Vec<u64>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Control records and their SeqIds, in order.
    pub(super) controls: Vec<(u64, Control)>,
    /// Batches that say whose they are, in order.
    pub(super) produced: Vec<Produced>,
}

/// What to do about the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The log is ours: tell torn from corrupt.
    Judge,
    /// A writer may be at work: nothing is cut, and damage is looked at twice.
    Follow,
    /// As `Follow`, for frequent calls: zeros where a frame was due are the end.
    Peek,
}

pub(super) struct Scan<'a> {
    home: &'a Home,
    segments: &'a [u64],
    streams: Option<&'a mut Streams>,
    verdict: Verdict,
    replay: Replay,
    /// The first SeqId that a rewritten segment no longer has.
    lost_at: Option<u64>,
    /// Of the segment at hand.
    header: Option<SegmentHeader>,
}

/// What stood where a frame was due.
enum Stop {
    NextSegment,
    End(Invalid),
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        home: &'a Home,
        segments: &'a [u64],
        streams: Option<&'a mut Streams>,
        verdict: Verdict,
        start: Start,
    ) -> Self {
        let replay = Replay {
            scanned: Vec::new(),
            next_seq: start.next_seq,
            last_micros: start.last_micros,
            durable: start.durable,
            committed: start.next_seq.saturating_sub(1),
            doubts: VecDeque::new(),
            cut: None,
            orphans: Vec::new(),
            records: 0,
            bytes: 0,
            controls: Vec::new(),
            produced: Vec::new(),
        };
        Scan { home, segments, streams, verdict, replay, lost_at: None, header: None }
    }

    /// Scans from `start` on. `segments` are the bases of all segments there are.
    pub(super) fn run(mut self, start: Start) -> Result<Replay> {
        let first = self.segments.partition_point(|base| *base < start.base);
        let mut position = start.position;
        for k in first..self.segments.len() {
            let Some(base) = self.segments.get(k).copied() else { break };
            let next_base = self.segments.get(k + 1).copied();
            let name = names::segment(base);
            // A checkpoint of an empty log names no segment, and so does not say that one is missing.
            let due = if k == first { start.base } else { self.replay.next_seq };
            if base != due {
                return Err(gap(&name, due, base));
            }
            let file =
                self.home.storage.open(&name, Access::Read).map_err(|e| Error::io("open", &name, e))?;
            // A segment's header is durable before the file gets its name, beside a writer too.
            let header = read_header(file.as_ref(), &name)?;
            check_identity(&header, &self.home.log_id(&header.log_id), base, &name)?;
            self.replay.durable = self.replay.durable.max(header.durable_upto);
            self.header = Some(header);
            let mut scanner = Scanner::new(file.as_ref(), &name, header.salt)?;
            // Beside a writer that recovered, a follower's place may be gone: it goes on in the next.
            let here =
                self.verdict == Verdict::Judge || next_base.is_none_or(|next| next > self.replay.next_seq);
            if k == first && here && position > scanner.size().max(DATA_START) {
                return Err(cut_short(&name, position, scanner.size()));
            }
            let stop = if start.clean && k == first {
                // Whatever lies behind a clean end was never acknowledged by anybody.
                if next_base.is_some() { Stop::NextSegment } else { Stop::End(Invalid::new(0, "", "")) }
            } else {
                self.segment(&mut scanner, &name, &mut position, next_base, header.rewritten)?
            };
            let end_position = position;
            self.replay.scanned.push(Scanned {
                base,
                file: Arc::clone(&file),
                salt: header.salt,
                end_seq: self.replay.next_seq,
                end_position,
            });
            position = DATA_START;
            match stop {
                Stop::NextSegment => {}
                Stop::End(_) if start.clean && k == first => break,
                Stop::End(invalid) => {
                    self.end(file.as_ref(), &mut scanner, &name, k, end_position, &invalid)?;
                    break;
                }
            }
        }
        Ok(self.replay)
    }

    /// Takes the frames of one segment; `position` moves to where they end.
    fn segment(
        &mut self,
        scanner: &mut Scanner<'_>,
        name: &str,
        position: &mut u64,
        next_base: Option<u64>,
        rewritten: bool,
    ) -> Result<Stop> {
        loop {
            let due = self.replay.next_seq;
            if next_base.is_some_and(|next| next <= due) {
                return Ok(Stop::NextSegment);
            }
            let header = match scanner.frame_at(*position)? {
                Ok(header) => header,
                Err(invalid) => return Ok(Stop::End(invalid)),
            };
            // A rewritten segment ends with a witness of its end, so that a gap is never its last thing.
            let in_order = header.first_seq == due || (rewritten && header.first_seq > due);
            if !in_order {
                let found = format!("a frame of SeqId {}", header.first_seq);
                return Ok(Stop::End(Invalid::new(16, format!("a frame of SeqId {due}"), found)));
            }
            if header.first_seq > due {
                self.lost_at.get_or_insert(due);
            }
            match header.kind {
                Kind::Batch => self.take(scanner, &header, name, *position)?,
                Kind::Control => self.take_controls(scanner, &header, name, *position)?,
                Kind::Witness => {}
            }
            let replay = &mut self.replay;
            replay.durable = replay.durable.max(header.durable_upto);
            replay.next_seq = header.next_seq();
            replay.last_micros = replay.last_micros.max(header.unix_micros);
            if header.committed_when_written {
                replay.committed = replay.committed.max(replay.next_seq - 1);
            }
            replay.bytes += header.frame_bytes();
            if header.kind != Kind::Witness {
                replay.doubts.push_back(Doubt {
                    segment: replay.scanned.len(),
                    position: *position,
                    first_seq: header.first_seq,
                    next_seq: header.next_seq(),
                });
            }
            let durable = replay.durable;
            while replay.doubts.front().is_some_and(|doubt| doubt.next_seq - 1 <= durable) {
                replay.doubts.pop_front();
            }
            *position += header.frame_bytes();
        }
    }

    /// A frame of control records is read as soon as it is whole; they count once it is committed.
    fn take_controls(
        &mut self,
        scanner: &mut Scanner<'_>,
        header: &FrameHeader,
        name: &str,
        position: u64,
    ) -> Result<()> {
        let content = scanner.frame_content(position, header)?;
        let body = content.get(header.head_bytes()..).unwrap_or_default();
        let controls = Control::decode_all(body)
            .map_err(|invalid| invalid.behind(header.head_bytes() as u64).in_file(name, position))?;
        self.replay.controls.extend((header.first_seq..).zip(controls));
        Ok(())
    }

    fn take(
        &mut self,
        scanner: &mut Scanner<'_>,
        header: &FrameHeader,
        name: &str,
        position: u64,
    ) -> Result<()> {
        let count = u64::from(header.count);
        self.replay.records += count;
        if header.note {
            let content = scanner.frame_content(position, header)?;
            let note = content.len().checked_sub(NOTE_BYTES).and_then(|at| Note::decode(content.get(at..)?));
            self.replay.produced.extend(note.map(|note| Produced {
                note,
                stream: header.stream,
                first_seq: header.first_seq,
                first_log_offset: header.first_log_offset,
                count: header.count,
            }));
        }
        let Some(streams) = self.streams.as_deref_mut() else {
            return Ok(());
        };
        let due = streams.next_log_offset(&header.stream);
        let found = header.first_log_offset;
        // Records cut out of a rewritten segment may have been the stream's, also where its next
        // frame stands in a later one.
        let lost_at = self.lost_at.filter(|_| found > due);
        if found != due && lost_at.is_none() {
            let stream = crate::StreamId::from_bytes(header.stream);
            return Err(Error::stream_offset(
                name,
                position,
                stream,
                crate::LogOffset(due),
                crate::LogOffset(found),
            ));
        }
        if let Some(lost_at) = lost_at {
            streams.advance(&header.stream, due, lost_at, found - due);
        }
        streams.advance(&header.stream, found, header.first_seq, count);
        Ok(())
    }

    /// The frames of segment `k` stop at `position`: says why.
    fn end(
        &mut self,
        file: &dyn StorageFile,
        scanner: &mut Scanner<'_>,
        name: &str,
        k: usize,
        position: u64,
        invalid: &Invalid,
    ) -> Result<()> {
        if self.verdict == Verdict::Peek && self.nothing_begun(scanner, position)? {
            return Ok(());
        }
        let judged = self.judge(scanner, name, k, position, invalid);
        if self.verdict == Verdict::Judge {
            return judged;
        }
        // A writer may have finished this frame, and later ones, while we looked.
        let finished = Scanner::new(file, name, scanner.salt())?.frame_at(position)?.is_ok();
        (self.replay.cut, self.replay.orphans) = (None, Vec::new());
        if finished { Ok(()) } else { judged }
    }

    /// No frame was begun at `position` as far as a look at it shows.
    fn nothing_begun(&self, scanner: &mut Scanner<'_>, position: u64) -> Result<bool> {
        let head = scanner.bytes(position, FRAME_HEADER_BYTES as u64)?;
        if head.iter().all(|b| *b == 0) {
            return Ok(true);
        }
        match self.header.filter(|header| header.recycled) {
            Some(header) => Ok(scanner.begun_bytes(position, self.replay.next_seq, &header)? == 0),
            None => Ok(false),
        }
    }

    /// Nothing valid stands at `position`, where `next_seq` was due: corrupt, or the end.
    fn judge(
        &mut self,
        scanner: &mut Scanner<'_>,
        name: &str,
        k: usize,
        position: u64,
        invalid: &Invalid,
    ) -> Result<()> {
        let due = self.replay.next_seq;
        let corrupt = |witness: String| {
            Error::corrupt(
                name,
                position.saturating_add(invalid.at),
                format!(
                    "{} of the frame of SeqId {due}, which was durable as {witness} says",
                    invalid.expected
                ),
                invalid.found.clone(),
            )
        };
        if self.replay.durable >= due {
            return Err(corrupt("an earlier frame or a checkpoint".into()));
        }
        let witness = scanner.next_valid(position + ALIGNMENT, |frame| frame.durable_upto >= due)?;
        if let Some((at, _)) = witness {
            return Err(corrupt(format!("the frame at {at}")));
        }
        let written = match &self.header {
            Some(header) => scanner.unfinished_bytes(position, due, header)?,
            None => 0,
        };
        for base in self.segments.iter().skip(k + 1) {
            self.judge_later(*base, due).map_err(|witness| match witness {
                Ok(witness) => corrupt(witness),
                Err(error) => error,
            })?;
            self.replay.orphans.push(*base);
        }
        if written > 0 {
            let base = self.segments.get(k).copied().unwrap_or_default();
            self.replay.cut = Some(Cut { base, position, bytes: written });
        }
        Ok(())
    }

    /// Whether segment `base`, behind a hole at SeqId `due`, says that `due` was durable.
    fn judge_later(&self, base: u64, due: u64) -> Result<(), Result<String, Error>> {
        let name = names::segment(base);
        let file =
            self.home.storage.open(&name, Access::Read).map_err(|e| Err(Error::io("open", &name, e)))?;
        let header = read_header(file.as_ref(), &name).map_err(Err)?;
        if header.durable_upto >= due {
            return Err(Ok(format!("the header of {name}")));
        }
        let mut scanner = Scanner::new(file.as_ref(), &name, header.salt).map_err(Err)?;
        match scanner.next_valid(DATA_START, |frame| frame.durable_upto >= due).map_err(Err)? {
            Some((at, _)) => Err(Ok(format!("the frame at {at} of {name}"))),
            None => Ok(()),
        }
    }
}

/// A segment ends before the place up to which a checkpoint says that it was durable.
fn cut_short(name: &str, position: u64, size: u64) -> Error {
    Error::corrupt(
        name,
        size,
        format!("at least {position} bytes, which were durable as the checkpoint says"),
        format!("a file of {size} bytes; restore it, or run a repair to go on without what is missing"),
    )
}

/// A segment does not begin where the one before it ends.
fn gap(name: &str, due: u64, base: u64) -> Error {
    Error::corrupt(
        name,
        32,
        format!("a segment that begins at SeqId {due}"),
        format!("one that begins at {base}; is a segment file missing?"),
    )
}
