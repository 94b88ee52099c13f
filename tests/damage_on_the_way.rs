//! A point read finds its way by headers that nobody has verified. Whatever one of them claims, the read
//! gives the record that was asked for, or an error if that one was hit.
#![allow(clippy::unwrap_used)]

mod damage_support;

use std::sync::Arc;

use damage_support::{FramePlace, assert_only_lost, frames, open, options, stream, write_at};
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, ReadMode};

const BATCHES: u64 = 24;

/// Frames so small that a place of the index is in front of several.
fn fill(log: &Log) {
    for n in 0..BATCHES {
        let mut batch = Batch::new();
        for k in 0..1 + n % 3 {
            batch.push(&(n * 10 + k).to_le_bytes());
        }
        log.append(stream(n % 2), &batch).unwrap();
    }
}

fn frames_of_records(storage: &MemoryStorage) -> Vec<FramePlace> {
    frames(storage).into_iter().filter(|frame| !frame.seqs.is_empty()).collect()
}

/// What the header of frame `k` may claim: how many records it has, and how many bytes they are.
fn claims(frames: &[FramePlace], k: usize) -> Vec<(u32, u32)> {
    let frame = &frames[k];
    let records = (frame.seqs.end - frame.seqs.start) as u32;
    let body = (frame.end - frame.start) as u32 - 64 - 8 * records;
    let mut claims =
        vec![(records, 0), (0, body), (u32::MAX, body), (records, u32::MAX), (records + 3, body)];
    // To end where one of the next frames does, with its own records or with all of those.
    for later in frames.iter().skip(k + 1).take(6).filter(|later| later.file == frame.file) {
        let bytes = (later.end - frame.start) as u32;
        claims.push((records, bytes - 64 - 8 * records));
        let all = (later.seqs.end - frame.seqs.start) as u32;
        claims.extend(bytes.checked_sub(64 + 8 * all).map(|body| (all, body)));
    }
    claims
}

fn claim(storage: &MemoryStorage, frame: &FramePlace, (count, body): (u32, u32)) {
    write_at(storage, &frame.file, frame.start + 8, &[count.to_le_bytes(), body.to_le_bytes()].concat());
}

#[test]
fn whatever_a_header_claims_the_records_behind_it_are_found() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    fill(&log);
    let due = damage_support::all(&log);
    log.close().unwrap();
    let frames = frames_of_records(&storage);
    assert_eq!(frames.len() as u64, BATCHES);
    for (k, frame) in frames.iter().enumerate() {
        for claimed in claims(&frames, k) {
            for mode in [ReadMode::Mapped, ReadMode::Positioned] {
                let what = format!("frame {k} claims {claimed:?}, {mode:?}");
                let damaged = storage.snapshot().unwrap();
                claim(&damaged, frame, claimed);
                let log = options().read_mode(mode).open_storage(Arc::new(damaged)).unwrap();
                assert_only_lost(&log, &due, &frame.seqs, false, &what);
            }
        }
    }
}

/// The index was made while all was well, and still leads past the header.
#[test]
fn a_header_that_is_damaged_beneath_an_open_log_misleads_nobody() {
    let storage = MemoryStorage::new();
    let log = open(&storage).unwrap();
    fill(&log);
    let due = damage_support::all(&log);
    let frames = frames_of_records(&storage);
    assert!(due.iter().all(|record| log.record(record.seq_id).unwrap().as_ref() == Some(record)));
    for (k, frame) in frames.iter().enumerate() {
        let records = (frame.seqs.end - frame.seqs.start) as u32;
        let body = (frame.end - frame.start) as u32 - 64 - 8 * records;
        for claimed in claims(&frames, k) {
            claim(&storage, frame, claimed);
            assert_only_lost(&log, &due, &frame.seqs, false, &format!("frame {k} claims {claimed:?}"));
        }
        claim(&storage, frame, (records, body));
    }
}
