//! A writer that frees segments while somebody looks at its directory is no damage to who looks.
#![allow(clippy::unwrap_used)]
#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hooked::{Hook, Hooked};
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Log, SeqId, check};
use support::{open, payload, small, stream};

/// Fills some segments, each time to other places.
fn fill(log: &Log) -> SeqId {
    let mut last = SeqId(0);
    let len = 3_000 + 1_000 * (log.committed().0 % 3) as usize;
    // Its segment stays, between those that go.
    log.append(stream(2), &Batch::one(b"stays")).unwrap();
    for n in 0..64 {
        last = log.append(stream(1), &Batch::one(&payload(n, len))).unwrap().first_seq_id;
    }
    last
}

/// Frees all that it can.
fn free(log: &Log) {
    log.purge(stream(1), SeqId(log.committed().0 - 1)).unwrap();
}

fn churn(log: &Log) -> SeqId {
    let last = fill(log);
    free(log);
    last
}

/// Counts the looks at the directory, from the moment it is told to.
#[derive(Clone)]
struct Looks(Arc<AtomicU64>);

impl Looks {
    fn new() -> Looks {
        Looks(Arc::new(AtomicU64::new(u64::MAX)))
    }
    fn count(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
    fn counted(&self) -> u64 {
        self.0.swap(u64::MAX, Ordering::Relaxed)
    }
    /// What the writer does before and after those looks.
    fn hooks(&self, log: &Log, (from, upto): (u64, u64), busy: Busy) -> (Hook, Hook) {
        let (looks, writer) = (Arc::clone(&self.0), log.clone());
        let at = move |looks: &AtomicU64| (from..=upto).contains(&looks.load(Ordering::Relaxed));
        let before = move |operation: &str, _: &str| {
            if operation == "list" && looks.load(Ordering::Relaxed) < 1_000 {
                looks.fetch_add(1, Ordering::Relaxed);
                if at(&looks) {
                    match busy {
                        Busy::Before => {
                            churn(&writer);
                        }
                        Busy::Around => {
                            fill(&writer);
                        }
                        Busy::After => {}
                    }
                }
            }
            Ok(())
        };
        let (looks, writer) = (Arc::clone(&self.0), log.clone());
        let after = move |operation: &str, _: &str| {
            if operation == "list" && at(&looks) {
                match busy {
                    Busy::Before => {}
                    Busy::Around | Busy::After => {
                        churn(&writer);
                    }
                }
            }
            Ok(())
        };
        (Arc::new(before), Arc::new(after))
    }
}

/// When the writer fills and frees. Around the look at the names it begins segments before, which
/// are gone after; what says so stands in one that was not listed.
#[derive(Clone, Copy, Debug)]
enum Busy {
    Before,
    Around,
    After,
}

fn cases() -> impl Iterator<Item = ((u64, u64), Busy)> {
    let busy = [Busy::Before, Busy::Around, Busy::After];
    WHEN.into_iter().flat_map(move |when| busy.into_iter().map(move |busy| (when, busy)))
}

/// The first and the last look at which the writer is busy.
const WHEN: [(u64, u64); 9] = [(1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 3), (2, 4), (1, 4), (3, 6)];

/// A storage with a log in it, and what somebody who looks sees of it.
fn looked_at(when: (u64, u64), busy: Busy) -> (Log, Looks, Hooked) {
    let storage = MemoryStorage::new();
    let log = open(&small(), &storage);
    churn(&log);
    churn(&log);
    let looks = Looks::new();
    let (before, after) = looks.hooks(&log, when, busy);
    (log, looks, Hooked::new(Arc::new(storage), before, after))
}

#[test]
fn a_follower_whose_place_is_freed_again_and_again_goes_on() {
    for (when, busy) in cases() {
        let (log, looks, seen) = looked_at(when, busy);
        let follower = small().open_storage_read_only(Arc::new(seen)).unwrap();
        churn(&log);
        let last = churn(&log);
        looks.count();
        while follower.refresh().unwrap() {}
        let looked = looks.counted();
        assert!(looked >= 2, "{looked} looks do not reach the place that was freed");
        assert!(follower.committed() >= last, "{when:?} {busy:?}: {} of {last}", follower.committed());
    }
}

#[test]
fn opening_for_reading_finds_its_place() {
    for (when, busy) in cases() {
        let (log, looks, seen) = looked_at(when, busy);
        // Of the last record nothing says yet that it is durable.
        let last = SeqId(fill(&log).0 - 1);
        looks.count();
        let follower = small().open_storage_read_only(Arc::new(seen)).unwrap();
        assert!(follower.committed() >= last, "{when:?} {busy:?}: {} of {last}", follower.committed());
    }
}

/// Also where names are listed whose files are gone a moment later.
#[test]
fn verify_finds_no_segment_missing() {
    for (when, busy) in cases() {
        let (_log, looks, seen) = looked_at(when, busy);
        looks.count();
        let report = check::verify(&seen, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{when:?} {busy:?}: {:#?}", report.findings);
    }
}
