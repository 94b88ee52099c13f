//! Somebody who only reads, beside a writer that rolls, crashes and recovers.
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hooked::{Hook, Hooked, nothing};
use stratalog::storage::{DiskStorage, MemoryStorage, Storage};
use stratalog::{Durability, Error, Options, SeqId, Upkeep};
use support::{abandon, all, batch, open, payload, small, stream};

fn quiet() -> Options {
    small().idle_witness(Duration::from_secs(3600))
}

#[test]
fn a_follower_goes_on_after_the_writer_crashed_and_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let storage = || -> Arc<dyn Storage> {
        let disk = Arc::new(DiskStorage::existing(dir.path()).unwrap());
        Arc::new(Hooked::new(disk, nothing(), nothing()).lockless())
    };
    // A killed writer has no threads that go on.
    let options = quiet().durability(Durability::Buffered).upkeep(Upkeep::Caller);
    let writer = options.open_storage(storage()).unwrap();
    for n in 0..100 {
        writer.append(stream(1), &batch(n, 1, 400)).unwrap();
        if n == 9 {
            writer.sync().unwrap();
        }
    }
    let follower = options.open_read_only(dir.path()).unwrap();
    let held = all(&follower);
    assert_eq!(held.len(), 100);
    abandon(writer);
    let writer = options.open_storage(storage()).unwrap();
    assert_eq!(writer.recovery().rewritten_records, 90);
    // What the follower holds is still there, though it has been written again elsewhere.
    assert!(held.iter().enumerate().all(|(k, record)| record.payload == payload(k as u64, 400)));
    for n in 100..150 {
        writer.append(stream(1), &batch(n, 1, 400)).unwrap();
    }
    follower.refresh().unwrap();
    assert_eq!(follower.committed(), SeqId(150));
    assert_eq!(all(&follower), all(&writer));
}

#[test]
fn opening_beside_a_roll_and_a_checkpoint_finds_no_damage() {
    let memory = MemoryStorage::new();
    let writer = open(&quiet(), &memory);
    writer.append(stream(1), &batch(0, 1, 1_000)).unwrap();
    writer.checkpoint().unwrap();
    writer.checkpoint().unwrap();
    let (writing, done) = (writer.clone(), AtomicBool::new(false));
    let after: Hook = Arc::new(move |operation, _| {
        if operation == "list" && !done.swap(true, Ordering::SeqCst) {
            for n in 0..20 {
                writing.append(stream(1), &batch(n, 1, 30_000)).unwrap();
            }
            writing.checkpoint().unwrap();
        }
        Ok(())
    });
    let follower = quiet().open_storage_read_only(Arc::new(Hooked::new(Arc::new(memory), nothing(), after)));
    assert_eq!(all(&follower.unwrap()).len(), 21);
}

#[test]
fn a_follower_claims_nothing_durable_that_is_not() {
    let memory = MemoryStorage::new();
    let options = quiet().durability(Durability::Buffered);
    let writer = open(&options, &memory);
    writer.append(stream(1), &batch(0, 10, 100)).unwrap();
    let follower = options.open_storage_read_only(Arc::new(memory)).unwrap();
    for _ in 0..3 {
        assert_eq!((follower.committed(), follower.durable()), (SeqId(10), SeqId(0)));
        follower.refresh().unwrap();
    }
    assert!(matches!(follower.append(stream(1), &batch(0, 1, 1)), Err(Error::Invalid(_))));
}

#[test]
fn damage_to_the_last_header_is_no_silent_end() {
    let memory = MemoryStorage::new();
    let writer = open(&quiet(), &memory);
    for n in 0..40 {
        writer.append(stream(1), &batch(n, 1, 5_000)).unwrap();
    }
    writer.close().unwrap();
    let names = memory.list().unwrap().into_iter().map(|entry| entry.name);
    let last = names.filter(|name| name.ends_with(".segment")).max().unwrap();
    for (position, byte) in (0..128).map(|position| (position, 0x40)) {
        let damaged = memory.snapshot().unwrap();
        let file = damaged.open(&last, stratalog::storage::Access::Write).unwrap();
        let mut bytes = [0];
        file.read_at(&mut bytes, position).unwrap();
        file.write_at(&[bytes[0] ^ byte], position).unwrap();
        let opened = quiet().open_storage_read_only(Arc::new(damaged));
        assert!(opened.is_err_and(|error| error.is_corruption()), "byte {position}");
    }
    for len in (0..4_096).step_by(50) {
        let cut = memory.snapshot().unwrap();
        cut.open(&last, stratalog::storage::Access::Write).unwrap().set_len(len).unwrap();
        let opened = quiet().open_storage_read_only(Arc::new(cut));
        assert!(opened.is_err_and(|error| error.is_corruption()), "cut to {len}");
    }
}

#[test]
fn a_log_that_was_empty_when_it_was_opened_is_followed_from_its_first_record_on() {
    let storage = MemoryStorage::new();
    let writer = open(&small().durability(Durability::Buffered), &storage);
    let follower = small().open_storage_read_only(Arc::new(storage) as Arc<dyn Storage>).unwrap();
    assert_eq!(all(&follower), []);
    writer.append(stream(1), &batch(0, 3, 20)).unwrap();
    assert!(follower.refresh().unwrap());
    assert_eq!(all(&follower), all(&writer));
}
