//! Fill, purge, fill again: a real directory takes what is live and a constant, and so does the heap.
#![allow(clippy::unwrap_used)]

#[path = "support/heap.rs"]
mod heap;
mod support;

use std::path::Path;

use heap::heap;
use stratalog::{Batch, Durability, LogOffset, Options};
use support::{payload, stream};

const SEGMENT: u64 = 1 << 20;

fn disk(directory: &Path) -> u64 {
    // A file that the log's own thread renames or removes meanwhile takes no room of its own.
    let files = std::fs::read_dir(directory).unwrap().filter_map(|entry| entry.unwrap().metadata().ok());
    files.map(|file| file.len()).sum()
}

#[test]
fn ten_segments_are_filled_and_purged_twenty_times_in_the_same_space() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options::new().segment_bytes(SEGMENT).checkpoint_bytes(SEGMENT).durability(Durability::Buffered);
    let log = options.open(directory.path()).unwrap();
    // Something that stays, so that live data is not nothing.
    log.append(stream(9), &Batch::one(&payload(0, 100_000))).unwrap();
    log.advance_cursor(stream(9), "holds", stratalog::SeqId(0)).unwrap();
    let record = payload(1, 2_000);
    let (mut filled, mut purged, mut heaps) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20u64 {
        let mut last = None;
        let mut batch = Batch::new();
        (0..50).for_each(|_| batch.push(&record));
        for _ in 0..105 {
            last = log.append(stream(u128::from(round % 3)), &batch).unwrap().last_seq_id();
        }
        filled.push(disk(directory.path()));
        log.advance_cursor(stream(u128::from(round % 3)), "consumer", last.unwrap()).unwrap();
        log.purge_passed(stream(u128::from(round % 3))).unwrap();
        purged.push(disk(directory.path()));
        heaps.push(heap());
    }
    println!("filled to {filled:?}\npurged to {purged:?}\nheap {heaps:?}");
    let most = |of: &[u64]| of.iter().copied().max().unwrap();
    // The segment with the record that stays, the last one, the spare, checkpoints and indexes.
    assert!(most(&purged) <= 4 * SEGMENT, "{purged:?}");
    assert!(most(&filled) <= 15 * SEGMENT, "{filled:?}");
    let grown = heaps[19].saturating_sub(heaps[3]);
    assert!(grown < 64 << 10, "the heap grew by {grown} bytes: {heaps:?}");
    assert_eq!(log.stream(stream(0)).unwrap().next_log_offset, LogOffset(7 * 105 * 50 + 1));
    assert_eq!(log.reader(..).unwrap().count(), 1);
}
