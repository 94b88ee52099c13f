//! From what a crash left to a log that can be appended to.
//!
//! Order, and what a crash in between leaves:
//!
//! 1. Replay from the checkpoint; nothing is written.
//! 2. What is cut is copied aside. Cut off here: it is copied again.
//! 3. Frames of which nothing says that they are on the disk are written to new files, synced,
//!    renamed, and the directory is synced, segment by segment in order. Cut off here: what got
//!    its name says in its header that it is durable, the rest is in doubt again.
//! 4. Segments behind the cut get a name that no longer counts. Cut off here: they are still
//!    behind the cut.
//! 5. What was preallocated behind the ends is given back, debris goes, and so do freed segments. Cut off here: more space is
//!    taken than needed, until the next open. No order matters: a segment ends where the next begins.
//!
//! The next append begins a new segment: a file is appended to by one process life only.

use std::sync::Arc;

use super::directory::Survey;
use super::registry::Registry;
use super::replay::{Cut, Doubt, Replay, Scanned, Start};
use crate::error::{Error, Result};
use crate::format::frame::{self, FrameHeader};
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES};
use crate::ids::SeqId;
use crate::segment::scan::Scanner;
use crate::segment::{Home, Segment, names};
use crate::storage::{Access, read_full};

/// What opening the log found and did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The log had been closed, or was new: there was nothing to recover.
    pub clean: bool,
    /// The newest SeqId after recovery; 0 if there is none.
    pub last_seq_id: SeqId,
    /// Bytes of frames that were scanned.
    pub scanned_bytes: u64,
    /// Records found behind the checkpoint.
    pub scanned_records: u64,
    /// Records that were in the page cache with nothing to say that they were on the disk;
    /// they were written again and synced.
    pub rewritten_records: u64,
    /// An unfinished last commit, cut off.
    pub torn: Option<TornTail>,
    /// Checkpoints that could not be used, and why; they cost a longer scan and nothing else.
    pub damaged_checkpoints: Vec<String>,
    /// Files of ours that a crash had left half made, removed.
    pub debris: Vec<String>,
}

/// An unfinished commit at the end of the log: never acknowledged, cut off, kept aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: String,
    /// Where it was cut, in bytes from the start of the file.
    pub position: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// The file that keeps them.
    pub kept_as: String,
}

/// Carries out what a replay found. Returns the segments in order.
pub(super) fn settle(
    home: &Arc<Home>,
    survey: &Survey,
    registry: &Registry,
    start: &Start,
    replay: &mut Replay,
    report: &mut RecoveryReport,
) -> Result<Vec<Arc<Segment>>> {
    let clean = start.clean && replay.next_seq == start.next_seq;
    if !clean && !survey.is_new() {
        // A recovery before this one may have been killed when it had given a file its name and not yet
        // made that durable. What the file says is durable holds only from here on.
        let storage = &home.storage;
        storage.sync_directory().map_err(|e| Error::io("sync directory", storage.name(), e))?;
    }
    if let Some(cut) = &replay.cut {
        report.torn = Some(keep_aside(home, cut)?);
    }
    report.rewritten_records = replay.doubts.iter().map(|doubt| doubt.next_seq - doubt.first_seq).sum();
    let rewritten = rewrite(home, replay)?;
    retire(home, &replay.orphans)?;
    trim(home, replay, &rewritten);
    report.debris = sweep(home, survey, &rewritten, replay);

    let before = survey.segments.iter().copied().take_while(|base| *base < start.base);
    let mut ends: Vec<(u64, Option<(u64, u64)>)> = before.map(|base| (base, None)).collect();
    let first_rewritten = rewritten.first().map_or(u64::MAX, |file| file.base);
    for scanned in replay.scanned.iter().chain(&rewritten) {
        let fresh = rewritten.iter().any(|file| std::ptr::eq(file, scanned));
        if fresh || scanned.base < first_rewritten {
            ends.push((scanned.base, Some((scanned.end_seq, scanned.end_position))));
        }
    }
    let mut segments = Vec::new();
    for (k, (base, end)) in ends.iter().enumerate() {
        let next = ends.get(k + 1).map_or(replay.next_seq, |(base, _)| *base);
        let next = registry.end_of(*base, next);
        let segment = Segment::sealed(home, *base, next);
        // What a segment holds beyond the next one's base has been written anew there.
        if let Some((end_seq, end_position)) = end
            && *end_seq == next
        {
            segment.publish(next, *end_position);
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// Copies what is cut into a file of its own. Run again, it writes the same file again.
fn keep_aside(home: &Home, cut: &Cut) -> Result<TornTail> {
    let (file, kept_as) = (names::segment(cut.base), names::aside(cut.base, cut.position));
    let storage = &home.storage;
    let source = storage.open(&file, Access::Read).map_err(|e| Error::io("open", &file, e))?;
    let copy = storage.create(&kept_as, cut.bytes).map_err(|e| Error::io("create", &kept_as, e))?;
    let mut piece = vec![0; (1 << 20).min(cut.bytes as usize)];
    let mut done = 0;
    while done < cut.bytes {
        let want = piece.len().min((cut.bytes - done) as usize);
        let bytes = piece.get_mut(..want).unwrap_or_default();
        let n = read_full(source.as_ref(), bytes, cut.position + done)
            .map_err(|e| Error::io("read", &file, e))?;
        if n == 0 {
            break;
        }
        copy.write_at(bytes.get(..n).unwrap_or_default(), done)
            .map_err(|e| Error::io("write", &kept_as, e))?;
        done += n as u64;
    }
    copy.sync().map_err(|e| Error::io("sync", &kept_as, e))?;
    storage.sync_directory().map_err(|e| Error::io("sync directory", storage.name(), e))?;
    Ok(TornTail { file, position: cut.position, bytes: cut.bytes, kept_as })
}

/// Writes the frames in doubt to new segments, one for each old one.
fn rewrite(home: &Home, replay: &mut Replay) -> Result<Vec<Scanned>> {
    let doubts: Vec<Doubt> = replay.doubts.iter().copied().collect();
    let mut written = Vec::new();
    for run in doubts.chunk_by(|a, b| a.segment == b.segment) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let Some(old) = replay.scanned.get(first.segment) else { continue };
        let header = SegmentHeader {
            log_id: home.own_log_id(),
            base: first.first_seq,
            // True once the file has its name, which it gets only after it was synced.
            durable_upto: last.next_seq - 1,
            created_micros: replay.last_micros,
            salt: home.storage.random() as u32,
            rewritten: false,
            recycled: false,
            end: 0,
        };
        written.push(rewrite_segment(home, old, run, header)?);
        replay.durable = replay.durable.max(header.durable_upto);
    }
    Ok(written)
}

fn rewrite_segment(home: &Home, old: &Scanned, run: &[Doubt], header: SegmentHeader) -> Result<Scanned> {
    let old_name = names::segment(old.base);
    let name = names::segment(header.base);
    let temporary = names::temporary(&name);
    let mut scanner = Scanner::new(old.file.as_ref(), &old_name, old.salt)?;
    let len = run.first().map_or(0, |first| old.end_position - first.position);
    let storage = &home.storage;
    let file =
        storage.create(&temporary, DATA_START + len).map_err(|e| Error::io("create", &temporary, e))?;
    let write = |bytes: &[u8], position| {
        file.write_at(bytes, position).map_err(|e| Error::io("write", &temporary, e))
    };
    write(&header.encode(), 0)?;
    let mut position = DATA_START;
    let mut bytes = Vec::new();
    for doubt in run {
        let frame = match scanner.frame_at(doubt.position)? {
            Ok(frame) => frame,
            Err(invalid) => return Err(invalid.in_file(&old_name, doubt.position)),
        };
        bytes.clear();
        move_frame(&frame, scanner.frame_content(doubt.position, &frame)?, header.salt, position, &mut bytes);
        write(&bytes, position)?;
        position += bytes.len() as u64;
    }
    file.sync().map_err(|e| Error::io("sync", &temporary, e))?;
    storage.rename(&temporary, &name).map_err(|e| Error::io("rename", &temporary, e))?;
    storage.sync_directory().map_err(|e| Error::io("sync directory", storage.name(), e))?;
    let end_seq = run.last().map_or(header.base, |last| last.next_seq);
    Ok(Scanned { base: header.base, file, salt: header.salt, end_seq, end_position: position })
}

/// Appends to `out` the frame `content` as it must stand at `position` of a segment with `salt`.
pub(super) fn move_frame(frame: &FrameHeader, content: &[u8], salt: u32, position: u64, out: &mut Vec<u8>) {
    let (head, body) = content.split_at(frame.head_bytes().min(content.len()));
    let table = head.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    frame.encode_moved(table, frame::seed(salt, position), out);
    out.extend_from_slice(body);
}

/// Gives back what was preallocated behind the end of segments that nobody will append to. What
/// stood there is kept aside or written anew by now; a failure costs the space and nothing else.
fn trim(home: &Home, replay: &Replay, rewritten: &[Scanned]) {
    for scanned in &replay.scanned {
        if rewritten.iter().any(|file| file.base == scanned.base) {
            continue;
        }
        let last = replay.scanned.last().is_some_and(|last| last.base == scanned.base);
        let end = if last { scanned.end_position } else { whole_frames_end(scanned) };
        if scanned.file.size().is_ok_and(|size| size > end)
            && let Ok(file) = home.storage.open(&names::segment(scanned.base), Access::Write)
        {
            let _ = file.set_len(end);
        }
    }
}

/// Frames that were written anew, now or by an earlier recovery, stay where they stood first: somebody
/// who only reads may know them from there, and have them mapped.
fn whole_frames_end(scanned: &Scanned) -> u64 {
    let name = names::segment(scanned.base);
    let mut end = scanned.end_position;
    let Ok(mut scanner) = Scanner::new(scanned.file.as_ref(), &name, scanned.salt) else { return u64::MAX };
    loop {
        match scanner.frame_at(end) {
            Ok(Ok(frame)) => end += frame.frame_bytes(),
            Ok(Err(_)) => return end,
            Err(_) => return u64::MAX,
        }
    }
}

/// Takes their names from segments that lie behind the cut, and keeps them.
fn retire(home: &Home, orphans: &[u64]) -> Result<()> {
    let storage = &home.storage;
    for base in orphans.iter().rev() {
        let name = names::segment(*base);
        storage.rename(&name, &names::aside(*base, 0)).map_err(|e| Error::io("rename", &name, e))?;
    }
    if !orphans.is_empty() {
        storage.sync_directory().map_err(|e| Error::io("sync directory", storage.name(), e))?;
    }
    Ok(())
}

/// Removes what is of no use to anybody. A failure leaves it for the next open.
fn sweep(home: &Home, survey: &Survey, rewritten: &[Scanned], replay: &Replay) -> Vec<String> {
    let gone = |base: &u64| {
        survey.segments.binary_search(base).is_err()
            || replay.orphans.contains(base)
            || rewritten.iter().any(|file| file.base == *base)
    };
    let indexes = survey.indexes.iter().filter(|base| gone(base)).map(|base| names::index(*base));
    let freed = survey.freed.iter().map(|base| names::segment(*base));
    // No debris, and not adopted either: they are full-sized, and who opens a log may want little.
    for name in &survey.free {
        let _ = home.storage.remove(name);
    }
    let debris: Vec<String> = survey.temporary.iter().cloned().chain(indexes).chain(freed).collect();
    debris.into_iter().filter(|name| home.storage.remove(name).is_ok()).collect()
}
