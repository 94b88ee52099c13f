//! The power goes, or the process dies, in the middle of submitting and consuming, and it is started
//! again: no batch is lost, none is there twice, and no cursor is ahead of what its consumer took.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use stratalog::ingest::{
    ConsumeOptions, Consumer, Ingest, IngestOptions, LocalIngest, LogRecord, OperationRecord, Producer,
    SubmitTerms,
};
use stratalog::storage::{SimulatedStorage, Survives};
use stratalog::{Delivery, Options, ProducerId, SeqId, StreamId};

const COLLECTION: StreamId = StreamId::from_u128(7);
const OTHER: StreamId = StreamId::from_u128(8);
const ME: ProducerId = ProducerId::from_u128(1);

fn open(storage: &SimulatedStorage) -> LocalIngest {
    let log = Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10);
    IngestOptions::new().log(log).open_storage(Arc::new(storage.clone())).unwrap()
}

/// Batch `sequence` of the producer: three records that say which ones they are.
fn submit(ingest: &LocalIngest, sequence: u64) -> Vec<SeqId> {
    let batch: Vec<_> = (0..3)
        .map(|k| OperationRecord::upsert(format!("{sequence}.{k}")).embedding(vec![k as f32; 40]))
        .collect();
    ingest.submit_with(COLLECTION, &batch, &SubmitTerms::new().producer(ME, sequence)).unwrap()
}

/// Takes everything, and says up to where before the cursor can know.
fn consume(ingest: &LocalIngest, delivery: Delivery) -> Arc<AtomicU64> {
    let taken = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&taken);
    let options = ConsumeOptions::new().from_cursor("c").advance_cursor(true).delivery(delivery);
    let consume = move |records: &[LogRecord]| {
        tell.store(records.last().map_or(0, |last| last.seq_id.0), Ordering::SeqCst);
        Ok(())
    };
    ingest.subscribe(COLLECTION, options, Box::new(consume)).unwrap();
    taken
}

fn ids(ingest: &LocalIngest) -> Vec<String> {
    let records = ingest.log().stream_reader(COLLECTION, ..).unwrap();
    records.map(|record| LogRecord::decode(record.unwrap()).unwrap().record.id().to_owned()).collect()
}

#[test]
fn a_producer_that_counts_loses_nothing_and_doubles_nothing_over_crashes() {
    let mut moved = 0;
    for (round, delivery) in [Delivery::Threaded, Delivery::Inline].into_iter().cycle().take(40).enumerate() {
        let seed = round as u64;
        let storage = SimulatedStorage::new(seed);
        let ingest = open(&storage);
        let taken = consume(&ingest, delivery);
        let (acknowledged, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let producer = thread::spawn({
            let (ingest, acknowledged, enough) = (ingest.clone(), acknowledged.clone(), enough.clone());
            move || {
                for sequence in 1.. {
                    submit(&ingest, sequence);
                    acknowledged.store(sequence, Ordering::SeqCst);
                    if enough.load(Ordering::SeqCst) {
                        return sequence;
                    }
                }
                unreachable!()
            }
        });
        let noise = thread::spawn({
            let (ingest, enough) = (ingest.clone(), enough.clone());
            move || {
                while !enough.load(Ordering::SeqCst) {
                    ingest.submit_embedding(OTHER, &OperationRecord::delete("x")).unwrap();
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 1 + seed * 3 {
            thread::yield_now();
        }
        // What was acknowledged before must be there; what the cursor says was taken until now.
        let before = acknowledged.load(Ordering::SeqCst);
        let crashed = match round % 4 {
            0 => storage.after_kill(),
            1 => storage.after_power_cut(Survives::Nothing, seed),
            _ => storage.after_power_cut(Survives::Chance(128), seed),
        };
        let applied = taken.load(Ordering::SeqCst);
        enough.store(true, Ordering::SeqCst);
        let last = producer.join().unwrap();
        noise.join().unwrap();
        ingest.close().unwrap();

        let ingest = open(&crashed);
        let found = ids(&ingest);
        assert_eq!(found.len() % 3, 0, "half a batch");
        let there = found.len() as u64 / 3;
        assert!((before..=last).contains(&there), "{before} acknowledged, {there} there, {last} submitted");
        let cursor = ingest.cursors(COLLECTION).unwrap().pop().map_or(SeqId(0), |cursor| cursor.seq_id);
        assert!(cursor.0 <= applied, "the cursor claims {cursor}, {applied} was taken");

        moved += usize::from(cursor > SeqId(0));

        // What it does not know the outcome of, it tries again.
        let tried_again = submit(&ingest, there);
        assert!(tried_again.iter().all(|seq_id| *seq_id <= ingest.log().committed()));
        (there + 1..=there + 5).for_each(|sequence| drop(submit(&ingest, sequence)));
        let due: Vec<_> = (1..=there + 5).flat_map(|n| (0..3).map(move |k| format!("{n}.{k}"))).collect();
        assert_eq!(ids(&ingest), due);
        ingest.close().unwrap();
    }
    assert!(moved > 10, "only {moved} cursors had moved");
}
