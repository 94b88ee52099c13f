//! A small log made by a sequence of operations, and what it must hold; and damage to its files.

use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, LogOffset, Options, Record, SeqId, StreamId};

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub stream: StreamId,
    pub log_offset: LogOffset,
    pub payload: Vec<u8>,
}

/// What was appended, by SeqId.
#[derive(Debug, Default)]
pub struct Model {
    pub records: Vec<Written>,
}

impl Model {
    /// A record that was read is the one that was appended under its SeqId.
    pub fn assert_holds(&self, record: &Record) {
        let written = record.seq_id.0.checked_sub(1).and_then(|k| self.records.get(k as usize));
        let read = Written {
            stream: record.stream,
            log_offset: record.log_offset,
            payload: record.payload.to_vec(),
        };
        assert_eq!(Some(&read), written, "SeqId {}", record.seq_id);
    }

    fn append(&mut self, log: &Log, stream: u8, count: usize, len: usize) {
        let stream = StreamId::from_u128(u128::from(stream) + 1);
        let mut batch = Batch::new();
        let mut log_offset = self.records.iter().filter(|record| record.stream == stream).count() as u64;
        let first = self.records.len() as u64 + 1;
        for _ in 0..count {
            let n = self.records.len();
            let payload: Vec<u8> = (0..len).map(|k| (n * 31 + k * 7 + 1) as u8).collect();
            batch.push(&payload);
            log_offset += 1;
            self.records.push(Written { stream, log_offset: LogOffset(log_offset), payload });
        }
        let appended = log.append(stream, &batch).expect("memory does not fail");
        assert_eq!(appended.first_seq_id, SeqId(first));
    }
}

/// Runs the operations, two bytes each, and leaves the log closed, or as a crash would.
pub fn build(options: &Options, operations: &[u8], crash: bool) -> (MemoryStorage, Model) {
    let mut storage = MemoryStorage::new();
    let mut model = Model::default();
    let mut log = crate::open(options, &storage).expect("an empty directory can be opened");
    for &[operation, argument] in operations.as_chunks::<2>().0 {
        let argument = usize::from(argument);
        match operation % 8 {
            0..=3 => model.append(&log, operation % 8, 1 + argument % 4, argument * 3),
            4 => model.append(&log, 5, 1, 8000 + argument * 150),
            5 => log.checkpoint().expect("memory does not fail"),
            6 => {
                log.close().expect("memory does not fail");
                log = crate::open(options, &storage).expect("a closed log can be opened");
            }
            _ => {
                storage = storage.snapshot().expect("there is memory");
                log = crate::open(options, &storage).expect("a crashed log can be opened");
            }
        }
        assert_eq!(log.committed(), SeqId(model.records.len() as u64));
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
