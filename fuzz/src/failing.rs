//! A log on a storage whose calls fail, and what must hold of it whatever fails when.
//!
//! A program is a list of operations of two bytes each (see [`Run::step`]). After each crash of the
//! process, and at the end, the files are looked at as they are, on a storage that fails nothing:
//! what was acknowledged is there, what was never submitted is not, batches are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, Options, Record, SeqId, StreamId, check};

use crate::faulty::{Call, FaultyStorage};

const CURSOR: &str = "reader";

const CALLS: [Call; 11] = [
    Call::List,
    Call::Create,
    Call::Open,
    Call::Rename,
    Call::Remove,
    Call::SyncDirectory,
    Call::Read,
    Call::Write,
    Call::SetLen,
    Call::Sync,
    Call::Map,
];
const ERRORS: [ErrorKind; 3] = [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::PermissionDenied];

/// A batch as it was submitted. Its records say which batch they are of, and which of it.
#[derive(Debug)]
struct Submitted {
    stream: StreamId,
    count: u32,
    bytes: usize,
    /// Its first SeqId, once it was acknowledged.
    first: Option<SeqId>,
}

impl Submitted {
    fn payload(&self, batch: u32, k: u32) -> Vec<u8> {
        let mut payload = [batch.to_le_bytes(), k.to_le_bytes()].concat();
        payload.resize(8 + self.bytes, batch as u8 | 1);
        payload
    }
}

#[derive(Debug)]
pub struct Run {
    options: Options,
    storage: FaultyStorage,
    log: Option<Log>,
    follower: Option<Log>,
    batches: Vec<Submitted>,
    /// As far as each stream may have been purged, by a call that failed too.
    purged: BTreeMap<StreamId, SeqId>,
    /// Where each cursor may stand: where it was acknowledged last, or was to be moved since.
    cursors: BTreeMap<StreamId, BTreeSet<Option<SeqId>>>,
}

impl Run {
    pub fn new(options: Options) -> Run {
        let storage = FaultyStorage::new(MemoryStorage::new());
        Run {
            options,
            storage,
            log: None,
            follower: None,
            batches: Vec::new(),
            purged: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    pub fn step(&mut self, operation: u8, argument: u8) {
        let size = usize::from(argument);
        if self.log.is_none() {
            self.log = self.options.open_storage(Arc::new(self.storage.clone())).ok();
        }
        match operation % 16 {
            0..=2 => self.append(argument, size % 4 + 1, size),
            3 => self.append(argument, 1, 8_000 + size * 150),
            4 => self.told(|log| log.checkpoint()),
            5 => self.told(|log| log.tend()),
            6 => self.move_cursor(argument, size / 4),
            7 => self.purge(argument, size / 4),
            8 => self.follow(argument),
            9 => {
                if let Some(log) = self.log.take() {
                    let _ = log.close();
                }
            }
            10 => self.crash(argument),
            11 => {
                self.storage.fail_nth(self.storage.calls() + 1 + u64::from(argument % 64), argument & 64 != 0)
            }
            12 => self.storage.fail(CALLS[size % 11], ERRORS[size / 11 % 3]),
            13 => self.storage.heal(),
            14 => self.look_at_log(),
            _ => self.storage.make_special(match argument % 8 {
                0 => "checkpoint-0",
                1 => "00000000000000000001.segment",
                2 => "spare",
                3 => "notes.txt",
                _ => "",
            }),
        }
    }

    fn told(&self, call: impl Fn(&Log) -> stratalog::Result<()>) {
        // An error is an answer. What it did is seen when the files are looked at.
        let _ = self.log.as_ref().map(call);
    }

    fn stream(argument: u8) -> StreamId {
        StreamId::from_u128(u128::from(argument % 4) + 1)
    }

    fn append(&mut self, argument: u8, count: usize, bytes: usize) {
        let Some(log) = &self.log else { return };
        let batch = self.batches.len() as u32;
        let mut submitted =
            Submitted { stream: Self::stream(argument), count: count as u32, bytes, first: None };
        let mut records = Batch::new();
        (0..submitted.count).for_each(|k| records.push(&submitted.payload(batch, k)));
        if let Ok(appended) = log.append(submitted.stream, &records) {
            assert_eq!(appended.count, submitted.count);
            submitted.first = Some(appended.first_seq_id);
            let record = log.record(appended.first_seq_id);
            if let Ok(found) = record {
                let found = found.expect("what was acknowledged can be read");
                assert_eq!(&found.payload[..], submitted.payload(batch, 0));
            }
        }
        self.batches.push(submitted);
    }

    fn move_cursor(&mut self, argument: u8, at: usize) {
        let Some(log) = &self.log else { return };
        let stream = Self::stream(argument);
        let may = self.cursors.entry(stream).or_insert_with(|| BTreeSet::from([None]));
        let to = SeqId(log.committed().0 * at as u64 / 63);
        let outcome = match at % 8 {
            0 => log.drop_cursor(stream, CURSOR).map(|_| None),
            1 => log.rollback_cursor(stream, CURSOR, to).map(|cursor| Some(cursor.seq_id)),
            _ => log.advance_cursor(stream, CURSOR, to).map(|cursor| Some(cursor.seq_id)),
        };
        match outcome {
            Ok(stands) => *may = BTreeSet::from([stands]),
            Err(_) => drop(may.insert((at % 8 != 0).then_some(to))),
        }
    }

    fn purge(&mut self, argument: u8, at: usize) {
        let Some(log) = &self.log else { return };
        let stream = Self::stream(argument);
        let upto = SeqId(log.committed().0 * at as u64 / 63);
        let may = match at % 8 {
            0 => {
                let may = self.cursors.entry(stream).or_insert_with(|| BTreeSet::from([None]));
                match log.delete_stream(stream) {
                    Ok(()) => *may = BTreeSet::from([None]),
                    Err(_) => drop(may.insert(None)),
                }
                log.committed()
            }
            1 => {
                let _ = log.purge_passed(stream);
                self.cursors.get(&stream).and_then(|may| may.last().copied().flatten()).unwrap_or_default()
            }
            _ => {
                let _ = log.purge(stream, upto);
                upto
            }
        };
        let held = self.purged.entry(stream).or_default();
        *held = may.max(*held);
    }

    fn follow(&mut self, argument: u8) {
        if argument & 1 == 0 || self.follower.is_none() {
            self.follower = self.options.open_storage_read_only(Arc::new(self.storage.clone())).ok();
        }
        if let Some(follower) = &self.follower {
            let _ = follower.refresh();
            for record in self.read(follower) {
                self.is_of(&record);
            }
        }
    }

    /// The process dies, and so does what made calls fail. A new one opens the log, and its calls
    /// fail as `argument` says.
    fn crash(&mut self, argument: u8) {
        let left = self.storage.inner.snapshot().expect("there is memory");
        (self.log, self.follower) = (None, None);
        self.storage = FaultyStorage::new(left);
        self.look_at_files();
        if argument != 0 {
            self.storage.fail_nth(u64::from(argument & 127), argument & 128 != 0);
        }
    }

    fn look_at_log(&self) {
        let Some(log) = &self.log else { return };
        for record in self.read(log) {
            self.is_of(&record);
        }
        for record in
            log.stream_reader(StreamId::from_u128(1), ..).into_iter().flatten().map_while(Result::ok)
        {
            self.is_of(&record);
        }
        let _ = (log.stats(), log.directory(), log.committed_streams());
    }

    /// Up to the first error: a reader stays where a call failed.
    fn read(&self, log: &Log) -> Vec<Record> {
        let most = self.batches.len() * 4;
        let read: Vec<Record> =
            log.reader(..).into_iter().flatten().map_while(Result::ok).take(most + 1).collect();
        assert!(read.len() <= most, "reading does not end");
        read
    }

    /// The batch that a record is of, which must have been submitted as it was read.
    fn is_of(&self, record: &Record) -> (u32, u32) {
        let (batch, rest) = record.payload.split_first_chunk().expect("a number in front");
        let k = rest.first_chunk().copied().map(u32::from_le_bytes).expect("a number behind it");
        let batch = u32::from_le_bytes(*batch);
        let submitted = self.batches.get(batch as usize).expect("it was submitted");
        assert_eq!(record.stream, submitted.stream);
        assert!(k < submitted.count && record.payload[..] == submitted.payload(batch, k), "{record:?}");
        let first = submitted.first.map(|first| first.0 + u64::from(k));
        assert!(first.is_none_or(|due| due == record.seq_id.0), "{record:?} was acknowledged as {first:?}");
        (batch, k)
    }

    /// Opens a copy of the files, where nothing fails.
    pub fn look_at_files(&self) {
        let copy = self.storage.inner.snapshot().expect("there is memory");
        let log = crate::open(&self.options, &copy).expect("no error damages a log");
        let records: Vec<Record> =
            log.reader(..).expect("it is open").map(|record| record.expect("nothing is damaged")).collect();
        let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut offsets = BTreeMap::new();
        for (before, record) in [None].into_iter().chain(records.iter().map(Some)).zip(&records) {
            assert!(before.is_none_or(|before| before.seq_id < record.seq_id));
            let newer =
                offsets.insert(record.stream, record.log_offset).is_none_or(|o| o < record.log_offset);
            assert!(newer, "{record:?} has a log_offset that was used before");
            let (batch, k) = self.is_of(record);
            found.entry(batch).or_default().push(k);
        }
        for (batch, submitted) in (0..).zip(&self.batches) {
            let parts = found.remove(&batch).unwrap_or_default();
            let purged = self.purged.get(&submitted.stream).copied().unwrap_or_default();
            let last = submitted.first.map(|first| first.0 + u64::from(submitted.count) - 1);
            // Between the records of a batch a purge may divide.
            if last.is_some_and(|last| last <= purged.0) || submitted.first.is_none() && purged > SeqId(0) {
                continue;
            }
            let first = submitted.first.unwrap_or_default();
            let cut = (0..submitted.count).find(|k| first.0 + u64::from(*k) > purged.0).unwrap_or(0);
            let due: Vec<u32> = (cut..submitted.count).collect();
            let all_there = parts.ends_with(&due) && parts.len() <= submitted.count as usize;
            let none_there = submitted.first.is_none() && parts.is_empty();
            assert!(all_there || none_there, "of batch {batch}, {submitted:?}, there are {parts:?}");
        }
        for (stream, may) in &self.cursors {
            let stands = log.cursor(*stream, CURSOR).map(|cursor| cursor.seq_id);
            assert!(
                may.contains(&stands),
                "the cursor of {stream} stands at {stands:?}, not at one of {may:?}"
            );
            let purged = log.purge_point(*stream).map(|upto| upto.seq_id).unwrap_or_default();
            assert!(stands.is_none_or(|stands| purged <= stands), "purged up to {purged}, beyond the cursor");
        }
        let written = log.committed() > SeqId(0);
        log.close().expect("memory does not fail");
        if written {
            let report = check::verify(&copy, &mut |_| {}).expect("there is a log");
            assert!(report.is_clean(), "{:#?}", report.findings);
        }
    }
}
