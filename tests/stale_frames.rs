//! Whole valid frames of another use of a file, standing just where the next frame is due, and whole
//! indexes of one, are never taken for those of this one.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

mod damage_support;
mod support;

use std::sync::Arc;

use damage_support::{content, frames, names, segments, verify, write};
use stratalog::storage::{Access, SimulatedStorage, Storage};
use stratalog::{Log, Options, Upkeep};
use support::{all, all_of, batch, stream};

fn open(storage: &SimulatedStorage) -> Log {
    let options = Options::new().segment_bytes(64 << 10).upkeep(Upkeep::Caller);
    options.open_storage(Arc::new(storage.clone())).unwrap()
}

/// A killed log with so many batches in its only segment.
fn killed(seed: u64, batches: u64) -> SimulatedStorage {
    let storage = SimulatedStorage::new(seed);
    let log = open(&storage);
    (0..batches).for_each(|n| assert!(log.append(stream(1), &batch(n, 1, 300)).is_ok()));
    storage.after_kill()
}

#[test]
fn a_frame_of_another_life_of_the_file_is_no_frame() {
    for batches in 1..4 {
        let (this, other) = (killed(1, batches), killed(2, batches + 2));
        let name = segments(&this).pop().unwrap();
        assert_eq!(segments(&other), std::slice::from_ref(&name));
        let (mine, others) = (frames(&this), frames(&other));
        let end = mine.last().unwrap().end;
        // In the other log the next frames stand right there, with the SeqIds that are due.
        assert_eq!(end, others[batches as usize].start);
        assert_eq!(mine.last().unwrap().seqs.end, others[batches as usize].seqs.start);
        let stale = content(&other, &name)[end as usize..others.last().unwrap().end as usize].to_vec();
        this.open(&name, Access::Write).unwrap().write_at(&stale, end).unwrap();

        assert!(verify(&this).is_clean());
        let log = open(&this);
        assert_eq!(all(&log).len() as u64, batches, "frames that were never submitted to this log");
        assert_eq!(log.recovery().torn.as_ref().unwrap().position, end);
        log.append(stream(1), &batch(9, 1, 300)).unwrap();
        assert_eq!(all(&log).len() as u64, batches + 1);
    }
}

#[test]
fn an_index_of_another_life_of_the_file_is_no_index() {
    let closed = |seed, len| {
        let storage = SimulatedStorage::new(seed);
        let log = open(&storage);
        (0..9).for_each(|n| assert!(log.append(stream(1), &batch(n, 2, len)).is_ok()));
        let records = all(&log);
        log.close().unwrap();
        (storage, records)
    };
    let ((this, records), (other, _)) = (closed(1, 300), closed(2, 900));
    let name = names(&this, ".index").pop().unwrap();
    assert_eq!(names(&other, ".index"), std::slice::from_ref(&name));
    write(&this, &name, &content(&other, &name));
    let log = open(&this);
    assert_eq!(all(&log), records);
    assert_eq!(all_of(&log, stream(1)), records);
}
