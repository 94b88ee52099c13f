//! A directory of arbitrary files under a log's names: opening it is an error that changes
//! nothing, or gives a log that can be read, appended to, closed and opened again.
//!
//! Input: one byte of options, then files (see `directory`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Error, Log, Record, StreamId};
use stratalog_fuzz::{assert_reads_agree, directory, files, open, open_read_only, options, read_all};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let options = options(*choice);
    let storage = MemoryStorage::new();
    let forged = directory::fill(&storage, data);
    let before = files(&storage);
    let bytes = before.iter().map(|(_, content)| content.len()).sum();

    if let Ok(log) = open_read_only(&options, &storage) {
        let (records, _) = read_all(&log, bytes);
        reads(&log, &records, forged);
        let _ = (log.refresh(), log.stats(), log.streams(), log.directory());
        log.close().expect("a log opened for reading has nothing to fail at");
    }
    assert!(files(&storage) == before, "opening for reading changed something");

    let log = match open(&options, &storage) {
        Ok(log) => log,
        Err(_) => {
            assert!(files(&storage) == before, "opening failed and changed something");
            return;
        }
    };
    let (records, errors) = read_all(&log, bytes);
    reads(&log, &records, forged);
    let _ = (log.stats(), log.streams(), log.directory());
    let stream = StreamId::from_u128(7);
    let appended = match log.append(stream, &Batch::one(b"one more")) {
        Ok(appended) => appended,
        Err(Error::Exhausted) => return,
        Err(error) => panic!("appending to an open log: {error}"),
    };
    let read = log.record(appended.first_seq_id).expect("just appended").expect("just appended");
    assert_eq!((&read.payload[..], read.log_offset), (&b"one more"[..], appended.first_log_offset));
    let closed = log.close();
    if forged {
        let _ = open(&options, &storage).map(|log| read_all(&log, bytes + 65536));
        return;
    }

    closed.expect("memory does not fail");
    let log = open(&options, &storage).expect("what was closed can be opened");
    assert!(log.recovery().clean);
    let (again, errors_again) = read_all(&log, bytes + 65536);
    assert_eq!(errors_again, errors);
    assert!(again.starts_with(&records) && again.len() == records.len() + 1, "a record more and none less");
});

fn reads(log: &Log, records: &[Record], forged: bool) {
    if forged {
        for record in records {
            let _ = (log.record(record.seq_id), log.record_at(record.stream, record.log_offset));
        }
    } else {
        assert_reads_agree(log, records);
    }
}
