//! Durable appends: single records by 1, 4, 16 and 64 producers, and batches of 100.

use std::rc::Rc;
use std::sync::Arc;

use super::SIZES;
use crate::appends::Appends;
use crate::contender::{Promise, Work};
use crate::floors;
use crate::ours::recycling;
use crate::payload::Payload;
use crate::row::{Against, Bar, Entry, Figure, Goal, RATE, Spec, at_least_of_best_peer, at_least_of_floor};

pub(crate) fn rows() -> Vec<Spec> {
    let mut rows = Vec::new();
    for producers in [1, 4, 16, 64] {
        for size in SIZES {
            let title = match producers {
                1 => format!("durable append, 1 producer, {size} B"),
                _ => format!("durable append, {producers} blocking producers, {size} B"),
            };
            let bars = if producers == 1 { (0.95, 1.0) } else { (1.1, 1.1) };
            rows.push(row(format!("durable-{producers}-{size}"), title, producers, 1, size, bars));
        }
    }
    for size in SIZES {
        let title = format!("durable append in batches of 100, 1 producer, {size} B");
        rows.push(row(format!("batches-{size}"), title, 1, 100, size, (0.95, 1.1)));
    }
    rows
}

fn row(name: String, title: String, producers: usize, batch: usize, size: usize, bars: (f64, f64)) -> Spec {
    let mut goals = vec![at_least_of_floor("floor", bars.0), at_least_of_best_peer(bars.1)];
    // Others take long to fill a segment, so that it matters little what the next one is made of.
    let many_bytes = batch > 1 || producers >= 16;
    if many_bytes {
        let purged = |against, bar| Goal::of(recycling::NAME, RATE.name, against, Bar::AtLeast(bar));
        goals.push(purged(Against::Entry("floor".to_owned(), RATE.name), bars.0));
        goals.push(purged(Against::BestPeer(RATE.name), bars.1));
        goals.push(Goal::rate(Against::Entry("floor into new room".to_owned(), RATE.name), Bar::Shown));
    }
    Spec {
        name,
        title,
        figures: vec![
            RATE,
            Figure::lower("p50", "us"),
            Figure::lower("p99", "us"),
            Figure::lower("p99.9", "us"),
        ],
        goals,
        build: Box::new(move |bench| {
            let payload = Rc::new(Payload::new(size));
            let appends = Appends::new(bench, Promise::Durable, size).producers(producers).batch(batch);
            let entry = |contender: Arc<dyn crate::contender::Contender>| {
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                let name = contender.name();
                Entry::new(name, contender.kind(), move |round| {
                    appends.run(&place, contender.as_ref(), &payload, round)
                })
            };
            let mut contenders = bench.those_that(Work::Append(Promise::Durable))?;
            if many_bytes {
                contenders.extend([bench.purged_behind(), floors::durable_into_new_room()]);
            }
            Ok(contenders.into_iter().map(entry).collect())
        }),
    }
}
