//! Readers, followers, cursors and purges at once.
#![allow(clippy::unwrap_used)]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stratalog::storage::MemoryStorage;
use stratalog::{Batch, Durability, Error, LogOffset, ReadMode, SeqId};
use support::{payload, small, stream};

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn stress(durability: Durability, mode: ReadMode, disk: bool) {
    let storage = MemoryStorage::new();
    let dir = tempfile::tempdir().unwrap();
    let options = small().durability(durability).read_mode(mode).idle_witness(Duration::from_millis(1));
    let log = if disk {
        options.open(dir.path()).unwrap()
    } else {
        options.open_storage(Arc::new(storage.clone())).unwrap()
    };
    log.append(stream(1), &Batch::one(&payload(1, 100))).unwrap();
    let stop = AtomicBool::new(false);
    let errors: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let note = |who: &str, e: &Error| {
        let mut text: String = format!("{who}: {e:?}");
        text.retain(|c| !c.is_ascii_digit());
        text.truncate(260);
        *errors.lock().entry(text).or_default() += 1;
    };
    let seconds: u64 = std::env::var("SECONDS_EACH").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut r = Random(1);
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                if let Err(e) = log.append(stream(1 + r.below(3) as u128), &Batch::one(&payload(n, 3_000))) {
                    note("append", &e);
                }
                if disk || n % 50 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        scope.spawn(|| {
            let mut r = Random(2);
            while !stop.load(Ordering::Relaxed) {
                let s = stream(1 + r.below(3) as u128);
                let newest = log.committed().0;
                let at = SeqId(newest.saturating_sub(r.below(40)));
                match r.below(4) {
                    0 => {
                        if let Err(e) = log.purge(s, at)
                            && !matches!(e, Error::Held { .. })
                        {
                            note("purge", &e)
                        }
                    }
                    1 => {
                        if let Err(e) = log.purge_passed(s) {
                            note("purge_passed", &e)
                        }
                    }
                    2 => {
                        if let Err(e) = log.advance_cursor(s, "c", at)
                            && !matches!(e, Error::Invalid(_) | Error::Purged { .. })
                        {
                            note("advance", &e)
                        }
                    }
                    _ => {
                        if r.below(10) == 0
                            && let Err(e) = log.delete_stream(s)
                        {
                            note("delete", &e)
                        }
                    }
                }
                // A purge never passes a cursor.
                for c in log.cursors() {
                    // Only this thread moves them.
                    if let Some(p) = log.purge_point(c.stream) {
                        assert!(p.log_offset <= c.log_offset, "{p:?} {c:?}");
                    }
                }
            }
        });
        for k in 0..2 {
            let (log, stop, note) = (&log, &stop, &note);
            scope.spawn(move || {
                let mut r = Random(10 + k);
                while !stop.load(Ordering::Relaxed) {
                    let s = stream(1 + r.below(3) as u128);
                    let newest = log.committed().0;
                    let from = newest.saturating_sub(r.below(120)).max(1);
                    match r.below(5) {
                        0 => {
                            let mut reader = log.reader(SeqId(from)..).unwrap();
                            let mut last = 0;
                            for _ in 0..60 {
                                match reader.next_record() {
                                    Ok(Some(rec)) => {
                                        assert!(rec.seq_id.0 > last);
                                        last = rec.seq_id.0;
                                    }
                                    Ok(None) => break,
                                    Err(e) => note("log reader", &e),
                                }
                            }
                        }
                        1 | 2 => {
                            let mut reader = log.stream_reader_by_seq_id(s, SeqId(from)..).unwrap();
                            let mut next = None;
                            for _ in 0..60 {
                                match reader.next_record() {
                                    Ok(Some(rec)) => {
                                        if let Some(n) = next
                                            && rec.log_offset.0 != n
                                        {
                                            note("gap", &Error::Invalid("a gap".into()));
                                        }
                                        next = Some(rec.log_offset.0 + 1);
                                        assert_eq!(rec.stream, s);
                                    }
                                    Ok(None) => break,
                                    Err(Error::Purged { log_offset, .. }) => {
                                        next = next.map(|n: u64| n.max(log_offset.0 + 1))
                                    }
                                    Err(e) => note("seq reader", &e),
                                }
                            }
                        }
                        3 => {
                            let at = log
                                .stream(s)
                                .map_or(1, |st| st.next_log_offset.0)
                                .saturating_sub(r.below(50))
                                .max(1);
                            let mut reader = log.stream_reader(s, LogOffset(at)..).unwrap();
                            for _ in 0..60 {
                                match reader.next_record() {
                                    Ok(Some(_)) => {}
                                    Ok(None) => break,
                                    Err(Error::Purged { .. }) => {}
                                    Err(e) => note("offset reader", &e),
                                }
                            }
                        }
                        _ => match log.record(SeqId(from)) {
                            Ok(_) | Err(Error::Purged { .. } | Error::Gone { .. }) => {}
                            Err(e) => note("record", &e),
                        },
                    }
                    if r.below(50) == 0 {
                        if let Err(e) = log.segment_life() {
                            note("segment_life", &e)
                        }
                        if let Err(e) = log.backlogs("c", 1) {
                            note("backlogs", &e)
                        }
                        if let Err(e) = log.committed_streams() {
                            note("committed_streams", &e)
                        }
                    }
                }
            });
        }
        {
            let (stop, note, options, storage, dir) = (&stop, &note, &options, &storage, &dir);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let follower = if disk {
                        options.open_read_only(dir.path())
                    } else {
                        options.open_storage_read_only(Arc::new(storage.clone()))
                    };
                    let follower = match follower {
                        Ok(f) => f,
                        Err(e) => {
                            note("open_read_only", &e);
                            continue;
                        }
                    };
                    for _ in 0..20 {
                        if let Err(e) = follower.refresh() {
                            note("refresh", &e);
                            break;
                        }
                        let newest = follower.committed().0;
                        let mut last = 0;
                        for rec in follower.reader(SeqId(newest.saturating_sub(20).max(1))..).unwrap() {
                            match rec {
                                Ok(rec) => {
                                    assert!(rec.seq_id.0 > last);
                                    last = rec.seq_id.0;
                                }
                                Err(e) => {
                                    note("follower", &e);
                                    break;
                                }
                            }
                        }
                    }
                }
            });
        }
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let errors = errors.lock();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn a_synced_log_through_maps() {
    stress(Durability::Sync, ReadMode::Mapped, false);
}
#[test]
fn a_buffered_log_by_position() {
    stress(Durability::Buffered, ReadMode::Positioned, false);
}
#[test]
fn a_buffered_log_on_a_disk() {
    stress(Durability::Buffered, ReadMode::Mapped, true);
}
