//! A reader at the tail loses nothing when an append fails under its eyes and goes on in a new
//! segment.
#![allow(clippy::unwrap_used)]

#[path = "support/faulty.rs"]
mod faulty;
mod support;

use std::sync::Arc;

use faulty::FaultyStorage;
use stratalog::storage::{MemoryStorage, Storage};
use stratalog::{Log, Reader, SeqId};
use support::{batch, buffered, small, stream};

fn drain(reader: &mut Reader, seen: &mut Vec<SeqId>) {
    while let Some(record) = reader.next_record().unwrap() {
        seen.push(record.seq_id);
    }
}

#[test]
fn a_reader_in_an_empty_segment_goes_on_in_the_one_that_takes_its_place() {
    let mut failed = 0;
    for (options, nth) in (1..120).flat_map(|nth| [(small(), nth), (buffered(), nth)]) {
        let storage = FaultyStorage::new(MemoryStorage::new());
        let log: Log = options.open_storage(Arc::new(storage.clone()) as Arc<dyn Storage>).unwrap();
        let (mut of_log, mut of_stream) =
            (log.reader(..).unwrap(), log.stream_reader(stream(1), ..).unwrap());
        let (mut seen, mut seen_of_stream) = (Vec::new(), Vec::new());
        storage.fail_nth(nth, false);
        let mut appended = 0;
        for n in 0..8 {
            // Large enough for a segment of its own.
            match log.append(stream(1), &batch(n, 1, 50 << 10)) {
                Ok(_) => appended += 1,
                Err(_) => failed += 1,
            }
            drain(&mut of_log, &mut seen);
            drain(&mut of_stream, &mut seen_of_stream);
        }
        let expected: Vec<SeqId> = (1..=appended).map(SeqId).collect();
        assert_eq!(seen, expected, "{nth} {options:?}");
        assert_eq!(seen_of_stream, expected, "{nth} {options:?}");
    }
    assert!(failed > 20, "only {failed} appends failed");
}
