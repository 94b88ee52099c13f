//! A log whose numbers come to their end: a made-up directory, because nobody appends that much.

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use std::sync::Arc;

    use crate::Log;
    use crate::error::Error;
    use crate::format::DATA_START;
    use crate::format::checkpoint::{self, CheckpointHead, StreamState};
    use crate::format::segment_header::SegmentHeader;
    use crate::segment::names;
    use crate::storage::{MemoryStorage, Storage};
    use crate::{Batch, LogOffset, Options, SeqId, StreamId};

    const STREAM: StreamId = StreamId::from_u128(1);
    const LOG_ID: [u8; 16] = [7; 16];

    /// A closed log in which `next_seq` and the stream's `next_log_offset` come next.
    fn closed(next_seq: u64, next_log_offset: u64) -> MemoryStorage {
        let storage = MemoryStorage::new();
        let header = SegmentHeader {
            log_id: LOG_ID,
            base: next_seq,
            durable_upto: next_seq - 1,
            created_micros: 0,
            salt: 1,
            rewritten: false,
            recycled: false,
            end: 0,
        };
        let write = |name: &str, bytes: &[u8]| {
            storage
                .create(name, bytes.len() as u64)
                .and_then(|file| file.write_at(bytes, 0))
                .expect("memory");
        };
        let mut segment = header.encode().to_vec();
        segment.resize(DATA_START as usize, 0);
        write(&names::segment(next_seq), &segment);
        let head = CheckpointHead {
            log_id: LOG_ID,
            generation: 1,
            next_seq,
            scan_base: next_seq,
            scan_position: DATA_START,
            last_micros: 0,
            clean: true,
        };
        let known = StreamState { next_log_offset, first_seq: next_seq - 1, last_seq: next_seq - 1 };
        let streams = [(*STREAM.as_bytes(), known)].into_iter();
        write(names::CHECKPOINTS[1], &checkpoint::encode(&head, &[next_seq], streams, &[]));
        storage
    }

    fn open(storage: &MemoryStorage) -> Log {
        Options::new().open_storage(Arc::new(storage.clone())).expect("a made-up log")
    }

    fn batch(records: usize) -> Batch {
        let mut batch = Batch::new();
        (0..records).for_each(|_| batch.push(b"record"));
        batch
    }

    #[test]
    fn the_last_seq_id_is_given_out_once_and_none_behind_it() {
        let storage = closed(SeqId::MAX.0 - 2, 1);
        let log = open(&storage);
        assert_eq!(
            log.append(STREAM, &batch(2)).expect("two are left").first_seq_id,
            SeqId(SeqId::MAX.0 - 2)
        );
        assert!(matches!(log.append(STREAM, &batch(2)), Err(Error::Exhausted)));
        assert_eq!(log.append(STREAM, &batch(1)).expect("the last one").first_seq_id, SeqId::MAX);
        for _ in 0..2 {
            assert!(matches!(log.append(STREAM, &batch(1)), Err(Error::Exhausted)));
            assert!(matches!(log.advance_cursor(STREAM, "reader", SeqId::MAX), Err(Error::Exhausted)));
            assert!(matches!(log.purge(STREAM, SeqId::MAX), Err(Error::Exhausted)));
            log.checkpoint().expect("takes no number");
        }
        let read = |log: &Log| -> Vec<u64> {
            let records = log.reader(SeqId(SeqId::MAX.0 - 2)..).expect("in range");
            records.map(|record| record.expect("whole").seq_id.0).collect()
        };
        let all = [SeqId::MAX.0 - 2, SeqId::MAX.0 - 1, SeqId::MAX.0];
        assert_eq!(read(&log), all);
        let crashed = open(&storage.snapshot().expect("memory"));
        assert_eq!(read(&crashed), all);
        assert!(matches!(crashed.append(STREAM, &batch(1)), Err(Error::Exhausted)));
        log.close().expect("nothing is left to do");
        let again = open(&storage);
        assert_eq!(read(&again), all);
        assert!(matches!(again.append(STREAM, &batch(1)), Err(Error::Exhausted)));
    }

    #[test]
    fn the_last_log_offset_of_a_stream_stops_no_other_stream() {
        let log = open(&closed(1_000, SeqId::MAX.0 - 1));
        assert_eq!(
            log.append(STREAM, &batch(1)).expect("one is left").first_log_offset,
            LogOffset(SeqId::MAX.0 - 1)
        );
        assert!(matches!(log.append(STREAM, &batch(2)), Err(Error::Exhausted)));
        log.append(StreamId::from_u128(2), &batch(2)).expect("another stream");
    }
}
