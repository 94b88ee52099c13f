//! A small log made by a sequence of operations, and what it must hold; and damage to its files.

use std::collections::{BTreeMap, BTreeSet};

use stratalog::storage::MemoryStorage;
use stratalog::{Appended, Batch, Log, LogOffset, Options, ProducerId, Record, SeqId, StreamId, Terms};

/// The one cursor of each stream.
pub const CURSOR: &str = "reader";

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub stream: StreamId,
    pub log_offset: LogOffset,
    pub payload: Vec<u8>,
}

/// What the log was told.
#[derive(Debug, Default)]
pub struct Model {
    /// By SeqId, purged ones as well. The SeqIds between are control records.
    records: BTreeMap<SeqId, Written>,
    next: BTreeMap<StreamId, u64>,
    cursors: BTreeMap<StreamId, SeqId>,
    /// Wherever a cursor ever stood.
    stood: BTreeMap<StreamId, BTreeSet<SeqId>>,
    purged: BTreeMap<StreamId, SeqId>,
    producers: BTreeMap<u128, (u64, StreamId, Appended)>,
}

impl Model {
    /// A record that was read is the one that was appended under its SeqId.
    pub fn assert_holds(&self, record: &Record) {
        let read = Written {
            stream: record.stream,
            log_offset: record.log_offset,
            payload: record.payload.to_vec(),
        };
        assert_eq!(Some(&read), self.records.get(&record.seq_id), "SeqId {}", record.seq_id);
    }

    pub fn is_record(&self, seq_id: SeqId) -> bool {
        self.records.contains_key(&seq_id)
    }

    /// Cursors stand where they once stood, or where a repair sets them: at the purge point. Purges
    /// reach no further than they did, and beyond no cursor.
    pub fn assert_claims_nothing(&self, log: &Log) {
        for cursor in log.cursors() {
            let purged = log.purge_point(cursor.stream).map_or(SeqId(0), |upto| upto.seq_id);
            let stood = self.stood.get(&cursor.stream).is_some_and(|stood| stood.contains(&cursor.seq_id));
            assert!(stood || cursor.seq_id == purged, "{cursor:?} never stood there");
            assert!(purged <= cursor.seq_id, "{cursor:?} stands before the purge point {purged}");
        }
        for n in 0..8 {
            let stream = StreamId::from_u128(n);
            let upto = log.purge_point(stream).map_or(SeqId(0), |upto| upto.seq_id);
            let most = self.purged.get(&stream).copied().unwrap_or_default();
            assert!(upto <= most, "stream {stream} is purged up to {upto}, it was asked up to {most}");
        }
    }

    /// Nothing is damaged: all of it is there.
    pub fn assert_all_there(&self, log: &Log, records: &[Record]) {
        let live = self
            .records
            .iter()
            .filter(|(seq_id, written)| self.purged.get(&written.stream).is_none_or(|upto| *seq_id > upto));
        let read: Vec<SeqId> = records.iter().map(|record| record.seq_id).collect();
        assert_eq!(read, live.map(|(seq_id, _)| *seq_id).collect::<Vec<_>>(), "the live records");
        let cursors: BTreeMap<StreamId, SeqId> =
            log.cursors().into_iter().map(|cursor| (cursor.stream, cursor.seq_id)).collect();
        assert_eq!(cursors, self.cursors);
    }

    fn append(&mut self, log: &Log, terms: &Terms, stream: u8, count: usize, len: usize) -> Appended {
        let stream = StreamId::from_u128(u128::from(stream) + 1);
        let mut batch = Batch::new();
        let n = self.records.len();
        let payloads: Vec<Vec<u8>> =
            (n..n + count).map(|n| (0..len).map(|k| (n * 31 + k * 7 + 1) as u8).collect()).collect();
        payloads.iter().for_each(|payload| batch.push(payload));
        let due = self.next.entry(stream).or_insert(1);
        let appended = log.append_on(terms, stream, &batch).expect("memory does not fail");
        assert_eq!(appended.first_log_offset, LogOffset(*due));
        let newest = self.records.keys().next_back().copied().unwrap_or_default();
        assert!(appended.first_seq_id > newest, "a SeqId is given out once");
        for (k, payload) in (0..).zip(payloads) {
            let written = Written { stream, log_offset: LogOffset(*due + k), payload };
            self.records.insert(SeqId(appended.first_seq_id.0 + k), written);
        }
        *due += count as u64;
        appended
    }

    fn produce(&mut self, log: &Log, argument: u8) {
        let producer = u128::from(argument % 2);
        let stream = argument % 4;
        let last = self.producers.get(&producer).copied();
        let terms = |sequence| Terms::new().producer(ProducerId::from_u128(producer), sequence);
        if let Some((sequence, stream, appended)) = last.filter(|_| argument & 0x80 != 0) {
            let again = log.append_on(&terms(sequence), stream, &Batch::one(b"again"));
            assert_eq!(again.expect("memory does not fail"), appended, "a retry");
            return;
        }
        let sequence = last.map_or(1, |(sequence, ..)| sequence + 1);
        let appended = self.append(log, &terms(sequence), stream, 1, usize::from(argument));
        let stream = StreamId::from_u128(u128::from(stream) + 1);
        self.producers.insert(producer, (sequence, stream, appended));
    }

    /// What a consumer does; a refusal is no failure.
    fn consume(&mut self, log: &Log, operation: u8, argument: u8) {
        let stream = StreamId::from_u128(u128::from(argument % 4) + 1);
        let at = SeqId(log.committed().0 * u64::from(argument / 4) / 63);
        let mut moved = |cursors: &mut BTreeMap<_, _>, to| {
            cursors.insert(stream, to);
            self.stood.entry(stream).or_default().insert(to);
        };
        match operation {
            8 | 9 => {
                let known = self.cursors.get(&stream).copied().unwrap_or_default();
                if let Ok(cursor) = log.advance_cursor(stream, CURSOR, at.max(known)) {
                    moved(&mut self.cursors, cursor.seq_id);
                }
            }
            10 => {
                if let Ok(cursor) = log.rollback_cursor(stream, CURSOR, at) {
                    moved(&mut self.cursors, cursor.seq_id);
                }
            }
            11 => {
                let was = log.drop_cursor(stream, CURSOR).expect("memory does not fail");
                assert_eq!(was, self.cursors.remove(&stream).is_some());
            }
            12 => {
                log.delete_stream(stream).expect("memory does not fail");
                self.cursors.remove(&stream);
                self.purged.insert(stream, log.committed());
            }
            13 => {
                if let Ok(upto) = log.purge(stream, at) {
                    assert!(self.cursors.get(&stream).is_none_or(|cursor| upto.seq_id <= *cursor));
                    self.purged_up_to(stream, upto.seq_id);
                }
            }
            _ => {
                if let Some(upto) = log.purge_passed(stream).expect("memory does not fail") {
                    self.purged_up_to(stream, upto.seq_id);
                }
            }
        }
    }

    fn purged_up_to(&mut self, stream: StreamId, upto: SeqId) {
        let held = self.purged.entry(stream).or_default();
        *held = upto.max(*held);
    }
}

/// Runs the operations, two bytes each, and leaves the log closed, or as a crash would.
pub fn build(options: &Options, operations: &[u8], crash: bool) -> (MemoryStorage, Model) {
    let mut storage = MemoryStorage::new();
    let mut model = Model::default();
    let mut log = crate::open(options, &storage).expect("an empty directory can be opened");
    for &[operation, argument] in operations.as_chunks::<2>().0 {
        let size = usize::from(argument);
        let operation = operation % 16;
        match operation {
            0..=3 => {
                model.append(&log, &Terms::new(), operation, 1 + size % 4, size * 3);
            }
            4 => {
                model.append(&log, &Terms::new(), argument % 4, 1, 8000 + size * 150);
            }
            5 if argument & 1 == 0 => log.checkpoint().expect("memory does not fail"),
            5 => log.tend().expect("memory does not fail"),
            6 => {
                log.close().expect("memory does not fail");
                log = crate::open(options, &storage).expect("a closed log can be opened");
            }
            7 => {
                storage = storage.snapshot().expect("there is memory");
                log = crate::open(options, &storage).expect("a crashed log can be opened");
            }
            15 => model.produce(&log, argument),
            _ => model.consume(&log, operation, argument),
        }
    }
    if crash {
        storage = storage.snapshot().expect("there is memory");
    } else {
        log.close().expect("memory does not fail");
    }
    (storage, model)
}

/// One piece of damage, six bytes: what, file, position (two bytes), length, pattern.
pub fn damage(storage: &MemoryStorage, piece: [u8; 6]) {
    let [what, file, low, high, len, pattern] = piece;
    // Files that the background may or may not have made by now are left alone.
    let mut names: Vec<String> = crate::files(storage).into_iter().map(|(name, _)| name).collect();
    names.retain(|name| name.ends_with(".segment") || name.starts_with("checkpoint"));
    let pick = |k: u8| names.get(usize::from(k).checked_rem(names.len())?);
    let Some(name) = pick(file) else { return };
    let mut bytes = crate::content(storage, name);
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Most positions in what was written, some in the zeros behind it.
    let space = if what & 0x80 == 0 { used } else { bytes.len() };
    let at = |position: usize| position.checked_rem(space).unwrap_or(0);
    let start = at(usize::from(u16::from_le_bytes([low, high])));
    let end = (start + 1 + usize::from(len)).min(bytes.len());
    match what % 8 {
        0 => {
            if let Some(byte) = bytes.get_mut(start) {
                *byte ^= 1 << (pattern % 8);
            }
        }
        1 => bytes.truncate(start),
        2 => bytes.get_mut(start..end).unwrap_or_default().fill(0),
        3 => bytes.get_mut(start..end).unwrap_or_default().fill(pattern),
        4 => {
            let target =
                at(usize::from(pattern) * 64).min(bytes.len().saturating_sub(end.saturating_sub(start)));
            if start < end {
                bytes.copy_within(start..end, target);
            }
        }
        5 => {
            use stratalog::storage::Storage;
            return storage.remove(name).expect("the file was listed");
        }
        6 => {
            let Some(other) = pick(pattern) else { return };
            crate::put(storage, name, &crate::content(storage, other));
            return crate::put(storage, other, &bytes);
        }
        _ => bytes.resize(bytes.len() + usize::from(len) * 64, pattern),
    }
    crate::put(storage, name, &bytes);
}
