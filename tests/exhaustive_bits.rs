//! Every single bit of every file of a small log, flipped in turn; and every length to which a file can
//! be cut. Either it is found, by the open, by a read or by `verify`, with file and position, or it is
//! harmless: every record, cursor and purge point is as it was. Never a panic, never other data.
//!
//! By itself it takes a fixed choice of bits and lengths; `EVERY=1`, best with `--release`, takes all.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use damage_support::{FramePlace, Reading, found, frames, image, segments, stream, verify, write};
use stratalog::check::{Finding, FrameKind, Inspected, Severity, VerifyReport};
use stratalog::storage::MemoryStorage;
use stratalog::{
    Batch, Cursor, Durability, Error, Log, LogOffset, Options, ProducerId, PurgePoint, Record, SeqId, Terms,
    check,
};

const SEGMENT_HEADER: u64 = 128;
const DATA_START: u64 = 4096;
const PRODUCER: ProducerId = ProducerId::from_u128(5);
const STREAMS: u64 = 5;

fn open(storage: &MemoryStorage) -> stratalog::Result<Log> {
    let options = Options::new().segment_bytes(64 << 10).idle_witness(Duration::from_secs(3600));
    options.durability(Durability::Sync).open_storage(std::sync::Arc::new(storage.clone()))
}

/// One life: every kind of frame, and with `freeing` a purge that gives the segments before it back.
fn live(storage: &MemoryStorage, life: u64, freeing: bool) -> Log {
    let log = open(storage).unwrap();
    for n in 0..14 {
        let mut batch = Batch::new();
        for k in 0..1 + (n * 5) % 4 {
            batch.push(
                format!("life {life}, batch {n}, record {k}{}", "~".repeat((n * 3 % 11) as usize)).as_bytes(),
            );
        }
        let terms = Terms::new().producer(PRODUCER, life * 100 + n);
        let terms = if n % 4 == 1 { terms } else { Terms::new() };
        let appended = log.append_on(&terms, stream(n % 3), &batch).unwrap();
        if n % 5 == 2 {
            log.advance_cursor(stream(n % 3), "reader", appended.first_seq_id).unwrap();
        }
        if n == 8 {
            log.checkpoint().unwrap();
        }
    }
    log.append(stream(3), &Batch::one(b"of a stream that goes")).unwrap();
    let gone = log.append(stream(4), &Batch::one(b"purged")).unwrap();
    log.advance_cursor(stream(4), "dropped", gone.first_seq_id).unwrap();
    log.drop_cursor(stream(4), "dropped").unwrap();
    log.purge(stream(4), gone.first_seq_id).unwrap();
    log.delete_stream(stream(3)).unwrap();
    if freeing {
        for n in 0..3 {
            log.advance_cursor(stream(n), "reader", log.committed()).unwrap();
            log.purge_passed(stream(n)).unwrap().unwrap();
        }
    }
    if let Some(cursor) = log.cursors().first().filter(|_| !freeing) {
        let back = SeqId(cursor.seq_id.0.saturating_sub(3));
        // What is purged stays so; a cursor before it may not be set.
        let _ = log.rollback_cursor(cursor.stream, &cursor.name, back);
    }
    log.append(stream(1), &Batch::one(b"the last of this life")).unwrap();
    log
}

/// Freed segments, closed lives, a killed one whose tail recovery wrote anew.
fn lives(storage: &MemoryStorage) {
    live(storage, 1, false).close().unwrap();
    live(storage, 2, true).close().unwrap();
    live(storage, 3, false).close().unwrap();
}

fn closed() -> MemoryStorage {
    let storage = MemoryStorage::new();
    lives(&storage);
    let crashed = live(&storage, 4, false);
    let storage = storage.snapshot().unwrap();
    drop(crashed);
    live(&storage, 5, false).close().unwrap();
    storage.snapshot().unwrap()
}

/// Not closed: behind the last checkpoint there are frames that only their followers witness.
fn killed() -> MemoryStorage {
    let storage = closed();
    let log = live(&storage, 6, false);
    let left = storage.snapshot().unwrap();
    drop(log);
    left
}

/// As an image, so that each case starts from the same bytes.
type Image = BTreeMap<String, Vec<u8>>;

fn stored(image: &Image) -> MemoryStorage {
    let storage = MemoryStorage::new();
    image.iter().for_each(|(name, bytes)| write(&storage, name, bytes));
    storage
}

/// All that a user of the log can see.
#[derive(Debug, PartialEq, Clone)]
struct Known {
    records: Vec<Record>,
    of_streams: Vec<Vec<Record>>,
    cursors: Vec<Cursor>,
    purged: Vec<Option<PurgePoint>>,
    next: Vec<Option<LogOffset>>,
}

fn known(log: &Log) -> (Known, Vec<Error>) {
    let mut whole = Reading::of(log.reader(..).unwrap());
    let mut of_streams = Vec::new();
    for n in 0..STREAMS {
        let reading = Reading::of(log.stream_reader(stream(n), ..).unwrap());
        whole.errors.extend(reading.errors);
        of_streams.push(reading.records);
    }
    let known = Known {
        records: whole.records,
        of_streams,
        cursors: log.cursors(),
        purged: (0..STREAMS).map(|n| log.purge_point(stream(n))).collect(),
        next: (0..STREAMS).map(|n| log.stream(stream(n)).map(|stats| stats.next_log_offset)).collect(),
    };
    (known, whole.errors)
}

/// What became of a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The open refused it.
    Opening,
    /// Reading gave an error for what was hit, and all else.
    Reading,
    /// Only `verify` sees it; nothing that can be read is different.
    Verifying,
    /// Nobody sees it, and nothing is different.
    Harmless,
    /// It was in the last commit, which nothing witnesses: cut off as a torn one.
    Torn,
}

struct Case<'a> {
    before: &'a Known,
    frames: &'a [FramePlace],
    what: String,
    file: &'a str,
    /// Which bytes were damaged.
    at: Range<u64>,
}

impl Case<'_> {
    /// Records that may be lost.
    fn hit(&self) -> Vec<u64> {
        let here = self.frames.iter().filter(|frame| frame.file == self.file);
        let mut hit = Vec::new();
        for frame in here.filter(|frame| frame.start < self.at.end && self.at.start < frame.end) {
            match self.at.end - self.at.start {
                1 => hit.extend(frame.hit(self.at.start)),
                _ => hit.extend(frame.seqs.clone()),
            }
        }
        // Without its header, or with another length, no frame of a segment can be trusted.
        if self.file.ends_with(".segment") && self.at.start < SEGMENT_HEADER {
            let here = self.frames.iter().filter(|frame| frame.file == self.file);
            hit.extend(here.flat_map(|frame| frame.seqs.clone()));
        }
        hit
    }

    /// A log as it is after the damage; says what became of it, and panics if that may not be.
    fn judge(&self, damaged: &Image) -> Outcome {
        let storage = stored(damaged);
        let report = check::verify(&storage, &mut |_| ());
        let seen = self.told(&report);
        let log = match open(&storage) {
            Err(error) => {
                assert!(self.names_it(&error), "{}: {error}", self.what);
                assert!(seen, "{}: the open says {error}, verify {report:#?}", self.what);
                return Outcome::Opening;
            }
            Ok(log) => log,
        };
        let (now, errors) = known(&log);
        // Cut right behind a frame, it looks as if nothing had ever followed.
        let cut_behind_a_frame = self.at.end - self.at.start > 1 && !log.recovery().clean;
        if !seen && (log.recovery().torn.is_some() || (cut_behind_a_frame && now != *self.before)) {
            return self.torn(&now, &errors);
        }
        // What a stream's frames lack is told as well by the ones behind it.
        let told = errors.iter().all(Error::is_corruption) && errors.iter().any(|error| self.names_it(error));
        assert!(errors.is_empty() || told, "{}: {errors:?}", self.what);
        assert_eq!(
            (&now.cursors, &now.purged, &now.next),
            (&self.before.cursors, &self.before.purged, &self.before.next),
            "{}",
            self.what
        );
        if errors.is_empty() {
            assert_eq!(&now, self.before, "{}: silently", self.what);
            return if seen { Outcome::Verifying } else { Outcome::Harmless };
        }
        assert!(seen, "{}: reading gives {errors:?}, verify {report:#?}", self.what);
        let hit = self.hit();
        let left = |records: &[Record]| -> Vec<Record> {
            records.iter().filter(|record| !hit.contains(&record.seq_id.0)).cloned().collect()
        };
        let ids = |records: &[Record]| records.iter().map(|record| record.seq_id.0).collect::<Vec<_>>();
        assert_eq!(ids(&now.records), ids(&left(&self.before.records)), "{}: {errors:?}", self.what);
        assert_eq!(now.records, left(&self.before.records), "{}", self.what);
        for (now, before) in now.of_streams.iter().zip(&self.before.of_streams) {
            assert_eq!(*now, left(before), "{}", self.what);
        }
        Outcome::Reading
    }

    /// Only the last commit may pass for one that was never finished.
    fn torn(&self, now: &Known, errors: &[Error]) -> Outcome {
        let last = self.frames.last().unwrap();
        assert!(errors.is_empty(), "{}: {errors:?}", self.what);
        assert!(self.file == last.file && self.at.end > last.start, "{}: taken for a torn tail", self.what);
        // Cut at the end of the file, it has lost who said that what stood before was durable.
        let lost = self.frames.iter().find(|frame| frame.file == last.file && frame.end > self.at.start);
        let first = lost.map_or(u64::MAX, |frame| frame.seqs.start);
        let due = self.before.records.iter().filter(|record| record.seq_id.0 < first);
        // A purge that was cut off hides nothing.
        let hidden = [stream(3), stream(4)];
        let left = now
            .records
            .iter()
            .filter(|record| self.before.records.contains(record) || !hidden.contains(&record.stream));
        assert!(left.eq(due), "{}: {:#?}", self.what, now.records);
        assert!(now.records.last().is_none_or(|record| record.seq_id.0 < first), "{}", self.what);
        Outcome::Torn
    }

    /// Where findings and errors may point: the frame, or the file's header.
    fn place(&self) -> Range<u64> {
        let frame = self
            .frames
            .iter()
            .find(|frame| frame.file == self.file && (frame.start..frame.end).contains(&self.at.start));
        match frame {
            Some(frame) => frame.start..frame.end.max(self.at.end) + 1,
            None => 0..u64::MAX,
        }
    }

    fn told(&self, report: &stratalog::Result<VerifyReport>) -> bool {
        match report {
            Ok(report) => {
                assert_eq!(
                    report.is_clean(),
                    !report.findings.iter().any(|finding| finding.severity > Severity::Note)
                );
                // A sealed segment that ends with a whole frame may as well be one before a missing one.
                let cut_short = |finding: &Finding| {
                    self.at.end - self.at.start > 1 && finding.found.contains("cut short")
                };
                assert!(
                    report.is_clean()
                        || found(report, self.file, self.place())
                        || report.findings.iter().any(cut_short),
                    "{}: {:#?}",
                    self.what,
                    report.findings
                );
                !report.is_clean()
            }
            Err(error) => panic!("{}: verify fails with {error}", self.what),
        }
    }

    fn names_it(&self, error: &Error) -> bool {
        let text = error.to_string();
        match error {
            Error::Version { .. } => text.contains(self.file),
            Error::Corrupt(found) => found.file == self.file && self.place().contains(&found.position),
            _ => false,
        }
    }
}

/// Every kind of frame and of file is in it.
fn assert_complete(storage: &MemoryStorage, image: &Image) {
    let mut kinds = BTreeMap::new();
    let mut notes = 0;
    for file in segments(storage) {
        check::inspect(storage, &file, &mut |item| {
            if let Inspected::Frame(facts) = item {
                *kinds.entry(format!("{:?}", facts.kind)).or_insert(0) += 1;
                notes += u64::from(facts.note.is_some());
            }
            Ok(())
        })
        .unwrap();
    }
    let count = |kind: FrameKind| kinds.get(&format!("{kind:?}")).copied().unwrap_or(0);
    let counts = [count(FrameKind::Batch), count(FrameKind::Control), count(FrameKind::Witness), notes];
    assert!(counts.iter().zip([50, 20, 3, 8]).all(|(found, least)| *found >= least), "{counts:?}");
    let files = |ending: &str| image.keys().filter(|name| name.ends_with(ending)).count();
    assert!(files(".segment") >= 3 && files(".index") >= 2, "{:?}", image.keys());
    assert!(!image.contains_key("00000000000000000001.segment"), "nothing was freed");
}

/// With `EVERY=1` all of them; else one in so many, beginning elsewhere in every file.
fn stride(otherwise: usize) -> usize {
    if std::env::var_os("EVERY").is_some() { 1 } else { otherwise }
}

fn each_image(check: impl Fn(&str, &Image, &Known, &[FramePlace]) -> BTreeMap<Outcome, u64>) {
    for (name, storage) in [("closed", closed()), ("killed", killed())] {
        let image: Image =
            image(&storage).into_iter().filter(|(file, _)| file != "lock" && file != "spare").collect();
        assert_complete(&storage, &image);
        let log = open(&stored(&image)).unwrap();
        let (before, errors) = known(&log);
        assert!(errors.is_empty() && log.recovery().torn.is_none());
        assert!(verify(&stored(&image)).is_clean());
        let frames = live_frames(&stored(&image));
        let outcomes = check(name, &image, &before, &frames);
        let bytes: usize = image.values().map(Vec::len).sum();
        println!("{name}: {} frames, {} files, {bytes} bytes: {outcomes:?}", frames.len(), image.len());
    }
}

/// Without what stands behind the end of a segment: that is where the next one begins.
fn live_frames(storage: &MemoryStorage) -> Vec<FramePlace> {
    let bases: Vec<(String, u64)> = segments(storage)
        .into_iter()
        .map(|name| {
            let base = name.trim_end_matches(".segment").parse().unwrap();
            (name, base)
        })
        .collect();
    let mut frames = frames(storage);
    frames.retain(|frame| {
        let next = bases.iter().find(|(name, _)| *name > frame.file);
        next.is_none_or(|(_, base)| frame.seqs.start < *base)
    });
    frames
}

/// The bytes of a file that mean something.
fn used(file: &str, len: u64, frames: &[FramePlace]) -> Vec<Range<u64>> {
    let whole = 0..len;
    if !file.ends_with(".segment") {
        return vec![whole];
    }
    let end = frames.iter().filter(|frame| frame.file == file).map(|frame| frame.end).max();
    vec![0..SEGMENT_HEADER, DATA_START..end.unwrap_or(DATA_START)]
}

#[test]
fn every_flipped_bit_of_every_file_is_found_or_harmless() {
    each_image(|log, image, before, frames| {
        let mut outcomes = BTreeMap::new();
        for (file, bytes) in image {
            let used = used(file, bytes.len() as u64, frames);
            let is_used = |at: u64| used.iter().any(|range| range.contains(&at));
            let stride = stride(127);
            let mut damaged = image.clone();
            for bit in (bytes.len() % stride..bytes.len() * 8).step_by(stride) {
                let at = bit as u64 / 8;
                if !is_used(at) && bit % (stride * 61) >= stride && stride > 1 {
                    continue;
                }
                damaged.get_mut(file).unwrap()[bit / 8] ^= 1 << (bit % 8);
                let what = format!("{log}: bit {bit} of {file}");
                let case = Case { before, frames, what, file, at: at..at + 1 };
                let outcome = case.judge(&damaged);
                damaged.get_mut(file).unwrap()[bit / 8] ^= 1 << (bit % 8);
                let may = match outcome {
                    Outcome::Harmless => !is_used(at),
                    // Behind the last frame there should be zeros.
                    Outcome::Torn => is_used(at) || case.place().end == u64::MAX,
                    _ => is_used(at),
                };
                assert!(may, "{}: {outcome:?}", case.what);
                *outcomes.entry(outcome).or_insert(0) += 1;
            }
        }
        outcomes
    });
}

#[test]
fn every_length_a_file_can_be_cut_to_is_found_or_harmless() {
    each_image(|log, image, before, frames| {
        let mut outcomes = BTreeMap::new();
        for (file, bytes) in image {
            let stride = stride(31);
            let mut damaged = image.clone();
            for len in (bytes.len() % stride..bytes.len()).step_by(stride) {
                let what = format!("{log}: {file} cut to {len}");
                damaged.get_mut(file).unwrap().truncate(len);
                let at = len as u64..bytes.len() as u64;
                let case = Case { before, frames, what, file, at };
                let outcome = case.judge(&damaged);
                damaged.insert(file.clone(), bytes.clone());
                *outcomes.entry(outcome).or_insert(0) += 1;
            }
        }
        outcomes
    });
}
