//! A real log with arbitrary damage: every record that is read is the one that was appended under
//! its SeqId. Errors are right, wrong records never are; without damage all of them are there.
//!
//! Input: one byte of options, one that says how many operations, the operations, the damage (see
//! `history`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use stratalog::{Batch, SeqId, StreamId};
use stratalog_fuzz::{assert_reads_agree, files, history, open, open_read_only, options, read_all};

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, count], data)) = data.split_first_chunk::<2>() else { return };
    let options = options(choice);
    let (operations, damage) = data.split_at((usize::from(count % 24) * 2).min(data.len()));
    let (storage, model) = history::build(&options, operations, choice & 4 != 0);
    let damage = damage.as_chunks::<6>().0;
    damage.iter().take(8).for_each(|piece| history::damage(&storage, *piece));
    let before = files(&storage);
    let bytes = before.iter().map(|(_, content)| content.len()).sum();

    if let Ok(log) = open_read_only(&options, &storage) {
        let (records, _) = read_all(&log, bytes);
        records.iter().for_each(|record| model.assert_holds(record));
        model.assert_claims_nothing(&log);
        assert_reads_agree(&log, &records);
    }
    assert!(files(&storage) == before, "opening for reading changed something");

    let log = match open(&options, &storage) {
        Ok(log) => log,
        Err(error) => {
            assert!(!damage.is_empty(), "nothing is damaged: {error}");
            assert!(files(&storage) == before, "opening failed and changed something");
            return;
        }
    };
    let (records, errors) = read_all(&log, bytes);
    records.iter().for_each(|record| model.assert_holds(record));
    model.assert_claims_nothing(&log);
    assert_reads_agree(&log, &records);
    for seq_id in (1..=log.committed().0).map(SeqId) {
        if let Ok(found) = log.record(seq_id) {
            assert!(found.is_some() || !model.is_record(seq_id), "SeqId {seq_id} is committed");
            found.iter().for_each(|record| model.assert_holds(record));
        }
    }
    for stream in (1..8).map(StreamId::from_u128) {
        for record in log.stream_reader(stream, ..).expect("the log is open").take(10_000).flatten() {
            assert_eq!(record.stream, stream);
            model.assert_holds(&record);
        }
    }
    if damage.is_empty() {
        assert_eq!(errors, 0, "nothing is damaged");
        model.assert_all_there(&log, &records);
    }

    let appended =
        log.append(StreamId::from_u128(1), &Batch::one(b"one more")).expect("an open log takes more");
    let read = log.record(appended.first_seq_id).expect("just appended").expect("just appended");
    assert_eq!(&read.payload[..], b"one more");
    log.close().expect("memory does not fail");
    let log = open(&options, &storage).expect("what was closed can be opened");
    let (again, _) = read_all(&log, bytes + 65536);
    assert!(again.starts_with(&records) && again.len() == records.len() + 1, "a record more and none less");
});
