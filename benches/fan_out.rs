//! What subscriptions cost those who append, and what they deliver:
//! `cargo bench --bench fan_out [-- DIRECTORY]`.
//!
//! Ratios are taken within a round, one side after the other in turns, the median over the rounds.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratalog::{
    Batch, Delivery, Durability, Hub, HubOptions, Log, Options, SeqId, Start, StreamId, SubscribeOptions,
};

const ROUNDS: usize = 41;
const RECORD: usize = 512;
const PRODUCERS: u64 = 4;

fn main() {
    // Cargo passes `--bench`; a directory may follow.
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    let place = given.unwrap_or_else(|| PathBuf::from("."));
    println!("in {}", place.canonicalize().unwrap().display());
    println!(
        "{:<52} {:>11} {:>11} {:>7} {:>13}",
        "producers of one stream", "without/s", "with/s", "ratio", "of rounds"
    );
    for (name, durability, appends) in
        [("sync", Durability::Sync, 250), ("buffered", Durability::Buffered, 10_000)]
    {
        row(&place, &format!("{name}, a fast subscriber"), durability, appends, |hub, base| {
            hub.subscribe(base, SubscribeOptions::new(), |_| Ok(())).unwrap();
        });
        row(
            &place,
            &format!("{name}, a fast one; and one that sleeps 100 ms a batch"),
            durability,
            appends,
            |hub, base| {
                hub.subscribe(base, SubscribeOptions::new(), |_| {
                    std::thread::sleep(Duration::from_millis(100));
                    Ok(())
                })
                .unwrap();
            },
        );
        row(&place, &format!("{name}, 1,000 idle subscriptions"), durability, appends, |hub, _| {
            for n in 0..1_000 {
                hub.subscribe(stream(1_000 + n), SubscribeOptions::new(), |_| Ok(())).unwrap();
            }
        });
        row(&place, &format!("{name}, 1,000 of them inline"), durability, appends, |hub, _| {
            for n in 0..1_000 {
                let options = SubscribeOptions::new().delivery(Delivery::Inline);
                hub.subscribe(stream(1_000 + n), options, |_| Ok(())).unwrap();
            }
        });
    }
    empty_stream(&place);
    deliveries(&place);
    inline(&place);
}

fn stream(n: u64) -> StreamId {
    StreamId::from_u128(u128::from(n))
}

fn open(place: &Path, durability: Durability) -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir_in(place).unwrap();
    let log = Options::new().durability(durability).open(dir.path()).unwrap();
    (dir, log)
}

/// Appends per second of all producers.
fn produce(log: &Log, appends: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                let batch = Batch::one(&[7; RECORD]);
                for _ in 0..appends {
                    log.append(stream(1), &batch).unwrap();
                }
            });
        }
    });
    (appends as u64 * PRODUCERS) as f64 / begun.elapsed().as_secs_f64()
}

/// Both sides on one log, so that its segments are as warm for one as for the other. Beside the
/// sleeper there is a fast subscriber on both sides: what it costs to read along is another row.
fn row(place: &Path, name: &str, durability: Durability, appends: usize, with: impl Fn(&Hub, StreamId)) {
    let (_dir, log) = open(place, durability);
    let fast = name.contains("a fast one;");
    produce(&log, appends);
    let side = |on: bool| {
        let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
        if fast {
            hub.subscribe(stream(1), SubscribeOptions::new(), |_| Ok(())).unwrap();
        }
        if on {
            with(&hub, stream(1));
        }
        let rate = produce(&log, appends);
        // A sleeper is not waited for while the other side runs.
        hub.close();
        rate
    };
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            if round % 2 == 0 {
                (side(false), side(true))
            } else {
                let with = side(true);
                (side(false), with)
            }
        })
        .collect();
    let mut ratios: Vec<f64> = rounds.iter().map(|(without, with)| with / without).collect();
    ratios.sort_by(f64::total_cmp);
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let without = rounds[ROUNDS / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    println!(
        "{name:<52} {without:>11.0} {:>11.0} {:>7.3} {:>6.2}..{:.2}",
        rounds[ROUNDS / 2].1,
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}

fn empty_stream(place: &Path) {
    let (_dir, log) = open(place, Durability::Buffered);
    let mut batch = Batch::new();
    (0..1_000).for_each(|_| batch.push(&[7; 64]));
    for _ in 0..1_000 {
        log.append(stream(1), &batch).unwrap();
    }
    let hub = Hub::new(log, HubOptions::new()).unwrap();
    let mut took: Vec<Duration> = (0..1_000)
        .map(|n| {
            let begun = Instant::now();
            let options = SubscribeOptions::new().start(Start::After(SeqId(0)));
            hub.subscribe(stream(10 + n), options, |_| Ok(())).unwrap();
            begun.elapsed()
        })
        .collect();
    let first = took[0];
    took.sort_unstable();
    println!(
        "subscribe to an empty stream beside 1,000,000 records: first {first:?}, p50 {:?}, most {:?}",
        took[500], took[999]
    );
}

/// Records a second that all subscribers together take.
fn deliveries(place: &Path) {
    for subscribers in [1, 10, 100, 1_000] {
        for (what, tail) in [("backfill", false), ("live tail", true)] {
            let (_dir, log) = open(place, Durability::Buffered);
            let records = (4_000_000 / subscribers).min(400_000);
            let mut batch = Batch::new();
            (0..100).for_each(|_| batch.push(&[7; RECORD]));
            let append = || (0..records / 100).for_each(|_| drop(log.append(stream(1), &batch)));
            if !tail {
                append();
            }
            let hub = Hub::new(log.clone(), HubOptions::new()).unwrap();
            let (taken, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let begun = Instant::now();
            for _ in 0..subscribers {
                let (taken, calls) = (Arc::clone(&taken), Arc::clone(&calls));
                let options = SubscribeOptions::new().start(Start::After(SeqId(0)));
                hub.subscribe(stream(1), options, move |records| {
                    taken.fetch_add(records.len() as u64, Ordering::Relaxed);
                    calls.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
                .unwrap();
            }
            if tail {
                append();
            }
            let due = records as u64 / 100 * 100 * subscribers as u64;
            while taken.load(Ordering::Relaxed) < due {
                std::thread::sleep(Duration::from_micros(200));
            }
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "{subscribers:>5} subscribers, {what:<9}: {:>12.0} deliveries/s, {:>6.1} records a call",
                due as f64 / seconds,
                due as f64 / calls.load(Ordering::Relaxed) as f64
            );
        }
    }
}

/// What it costs to have each append delivered before it returns.
fn inline(place: &Path) {
    let (_dir, log) = open(place, Durability::Buffered);
    let hub = Hub::new(log, HubOptions::new()).unwrap();
    let batch = Batch::one(&[7; RECORD]);
    for inline in [false, true] {
        if inline {
            let options = SubscribeOptions::new().delivery(Delivery::Inline);
            hub.subscribe(stream(1), options, |_| Ok(())).unwrap();
        }
        let begun = Instant::now();
        for _ in 0..50_000 {
            hub.append(stream(1), &batch).unwrap();
        }
        println!("buffered append, inline subscriber {inline}: {:?}", begun.elapsed() / 50_000);
    }
}
