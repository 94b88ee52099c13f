//! Appends that survive a crash of the process, one record at a time and in batches of 100.

use std::rc::Rc;
use std::sync::Arc;

use super::SIZES;
use crate::appends::Appends;
use crate::contender::{Contender, Promise, Work};
use crate::payload::Payload;
use crate::row::{Against, Bar, Entry, Goal, RATE, Spec, at_least_of_floor};

pub(crate) fn rows() -> Vec<Spec> {
    let shown = |against| Goal::rate(against, Bar::Shown);
    let floor = |name: &str| Against::Entry(name.to_owned(), RATE.name);
    let mut rows = Vec::new();
    for size in SIZES {
        let title = format!("unsynced append, one record at a time, {size} B");
        let goals = vec![
            at_least_of_floor("floor: map", 0.9),
            shown(floor("floor: map into new room")),
            shown(Against::BestPeer(RATE.name)),
        ];
        rows.push(row(format!("unsynced-{size}"), title, 1, size, goals));
    }
    for size in SIZES {
        let title = format!("unsynced append in batches of 100, {size} B");
        let goals = vec![
            at_least_of_floor("floor: 1 MiB calls", 0.8),
            shown(floor("floor: a call per batch")),
            shown(floor("floor: a call per batch into new room")),
            shown(Against::BestPeer(RATE.name)),
        ];
        rows.push(row(format!("unsynced-batches-{size}"), title, 100, size, goals));
    }
    rows
}

fn row(name: String, title: String, batch: usize, size: usize, goals: Vec<Goal>) -> Spec {
    Spec {
        name,
        title,
        figures: vec![RATE],
        goals,
        build: Box::new(move |bench| {
            let payload = Rc::new(Payload::new(size));
            let appends = Appends::new(bench, Promise::Process, size).batch(batch);
            let entry = |contender: Arc<dyn Contender>| {
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                Entry::new(contender.name(), contender.kind(), move |round| {
                    appends.run(&place, contender.as_ref(), &payload, round)
                })
            };
            Ok(bench.those_that(Work::Append(Promise::Process))?.into_iter().map(entry).collect())
        }),
    }
}
