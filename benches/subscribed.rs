//! What subscriptions cost those who append: `cargo bench --bench subscribed`. What they deliver is in
//! `fan_out`.
//!
//! Ratios are taken within a round, one side after the other in turns, the median over the rounds.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use stratalog::{Batch, Delivery, Durability, Hub, HubOptions, Log, Options, StreamId, SubscribeOptions};
use support::{fresh, or_little, stream};

const RECORD: usize = 512;
const PRODUCERS: u64 = 4;

fn main() {
    if !support::is_wanted(&["subscribed"]) {
        return;
    }
    support::place();
    println!(
        "{:<52} {:>11} {:>11} {:>7} {:>13}",
        "producers of one stream", "without/s", "with/s", "ratio", "of rounds"
    );
    for (name, durability, appends) in
        [("sync", Durability::Sync, 250), ("buffered", Durability::Buffered, 10_000)]
    {
        let appends = or_little(appends, 10) as usize;
        row(&format!("{name}, a fast subscriber"), durability, appends, |hub, base| {
            hub.subscribe(base, SubscribeOptions::new(), |_| Ok(())).unwrap();
        });
        row(
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
        row(&format!("{name}, 1,000 idle subscriptions"), durability, appends, |hub, _| {
            for n in 0..1_000 {
                hub.subscribe(stream(1_000 + n), SubscribeOptions::new(), |_| Ok(())).unwrap();
            }
        });
        row(&format!("{name}, 1,000 of them inline"), durability, appends, |hub, _| {
            for n in 0..1_000 {
                let options = SubscribeOptions::new().delivery(Delivery::Inline);
                hub.subscribe(stream(1_000 + n), options, |_| Ok(())).unwrap();
            }
        });
    }
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
fn row(name: &str, durability: Durability, appends: usize, with: impl Fn(&Hub, StreamId)) {
    let dir = fresh();
    let log = Options::new().durability(durability).open(dir.path()).unwrap();
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
    let count = or_little(41, 1) as usize;
    let mut rounds: Vec<(f64, f64)> = (0..count)
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
    let without = rounds[count / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    println!(
        "{name:<52} {without:>11.0} {:>11.0} {:>7.3} {:>6.2}..{:.2}",
        rounds[count / 2].1,
        ratios[count / 2],
        ratios[0],
        ratios[count - 1]
    );
}
