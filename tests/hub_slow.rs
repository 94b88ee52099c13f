//! A slow callback slows nobody, and costs neither memory nor the maps of old segments.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hub_support::{LONG, from_start, hub, in_time, listen, take, until};
use stratalog::storage::MemoryStorage;
use stratalog::{Hub, HubOptions, Log, SeqId, Start, SubscribeOptions};
use support::{batch, buffered, open, small, stream};

fn log() -> Log {
    open(&buffered(), &MemoryStorage::new())
}

#[test]
fn others_are_called_while_forty_sit_in_their_callbacks() {
    let log = log();
    let hub = hub(&log);
    let (entered, inside) = mpsc::channel();
    let (release, gates): (Vec<_>, Vec<_>) = (0..40).map(|_| mpsc::channel::<()>()).unzip();
    for gate in gates {
        let entered = entered.clone();
        hub.subscribe(stream(1), SubscribeOptions::new(), move |_| {
            let _ = entered.send(());
            let _ = gate.recv();
            Ok(())
        })
        .unwrap();
    }
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    (0..40).for_each(|_| inside.recv_timeout(LONG).expect("they wait for each other"));
    let (_, told) = listen(&hub, stream(1), from_start());
    for n in 1..20 {
        log.append(stream(1), &batch(n, 1, 20)).unwrap();
    }
    assert_eq!(take(&told, 20).len(), 20);
    drop(release);
    in_time("close", move || hub.close());
}

#[test]
fn with_all_threads_busy_the_others_have_their_turn_later() {
    let log = log();
    let hub = Hub::new(log.clone(), HubOptions::new().max_threads(2)).unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let inside = Arc::new(AtomicU64::new(0));
    let (tell, told) = mpsc::channel();
    for _ in 0..12 {
        let (most, inside, tell) = (Arc::clone(&most), Arc::clone(&inside), tell.clone());
        hub.subscribe(stream(1), SubscribeOptions::new(), move |_| {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            inside.fetch_sub(1, Ordering::SeqCst);
            let _ = tell.send(());
            Ok(())
        })
        .unwrap();
    }
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    (0..12).for_each(|_| told.recv_timeout(LONG).unwrap());
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_long_backfill_gives_others_their_turn_on_the_only_thread() {
    let log = log();
    for n in 0..40 {
        log.append(stream(1), &batch(n * 1_000, 1_000, 20)).unwrap();
    }
    let hub = Hub::new(log.clone(), HubOptions::new().max_threads(1)).unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let (counted, (begun, running)) = (Arc::clone(&taken), mpsc::channel());
    let long = from_start().max_batch_records(10);
    hub.subscribe(stream(1), long, move |records| {
        counted.fetch_add(records.len() as u64, Ordering::SeqCst);
        let _ = begun.send(());
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    })
    .unwrap();
    running.recv_timeout(LONG).unwrap();
    let (_, told) = listen(&hub, stream(2), SubscribeOptions::new());
    log.append(stream(2), &batch(0, 1, 20)).unwrap();
    assert_eq!(take(&told, 1), [40_001]);
    assert!(taken.load(Ordering::SeqCst) < 40_000, "it had to wait for all of it");
    in_time("close", move || hub.close());
}

#[test]
fn producers_do_not_wait_for_a_callback_that_never_returns() {
    let log = log();
    let hub = hub(&log);
    let (entered, inside) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let id = hub
        .subscribe(stream(1), SubscribeOptions::new(), move |_| {
            let _ = entered.send(());
            let _ = gate.recv();
            Ok(())
        })
        .unwrap();
    log.append(stream(1), &batch(0, 1, 20)).unwrap();
    inside.recv_timeout(LONG).unwrap();
    let begun = Instant::now();
    for n in 0..2_000 {
        hub.append(stream(1), &batch(n, 1, 100)).unwrap();
    }
    assert!(begun.elapsed() < LONG);
    let status = hub.status(&id).unwrap();
    assert_eq!((status.lag_records, status.lag_bytes), (2_001, 2_000 * 100 + 20));
    drop(release);
    until("it catches up", || hub.status(&id).unwrap().lag_records == 0);
}

/// Segments that were removed and are mapped all the same.
fn removed_and_mapped(directory: &std::path::Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let of_log = |line: &&str| line.contains(directory.to_str().unwrap()) && line.ends_with("(deleted)");
    maps.lines().filter(of_log).count()
}

#[test]
fn who_is_idle_lets_go_of_segments_that_were_purged() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().durability(stratalog::Durability::Buffered).open(dir.path()).unwrap();
    let hub = hub(&log);
    let (id, told) = listen(&hub, stream(1), from_start());
    let mut pull = hub.pull(stream(1), Start::After(SeqId(0)), None).unwrap();
    log.append(stream(1), &batch(0, 1, 1_000)).unwrap();
    assert_eq!(take(&told, 1), [1]);
    assert_eq!(pull.next_batch(None).unwrap().len(), 1);
    let waiting = std::thread::spawn(move || pull.next_batch(None));
    for n in 0..400 {
        log.append(stream(2), &batch(n, 1, 2_000)).unwrap();
    }
    log.purge(stream(1), SeqId(1)).unwrap();
    log.purge(stream(2), log.committed()).unwrap();
    assert!(log.stats().unwrap().segments[0].first_seq_id > SeqId(1), "nothing was freed");
    until("they are let go of", || removed_and_mapped(dir.path()) == 0);
    // And find their place again.
    let last = log.append(stream(1), &batch(400, 1, 1_000)).unwrap().last_seq_id().unwrap();
    assert_eq!(take(&told, 1), [last.0]);
    assert_eq!(waiting.join().unwrap().unwrap()[0].seq_id, last);
    assert_eq!(hub.status(&id).unwrap().failures, 0);
}
