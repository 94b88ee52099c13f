//! One thread with 256 appends in flight, against the best that 64 blocking producers of a peer do.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use stratalog::{Batch, PendingAppend};

use crate::appends::{self, Appends};
use crate::contender::{Contender, Kind, Promise, Store, Work};
use crate::ours;
use crate::payload::{Payload, Tally};
use crate::row::{Against, Bar, Entry, Goal, RATE, Sample, Spec, at_least_of_best_peer};

const IN_FLIGHT: usize = 256;
const BLOCKING: usize = 64;

pub(crate) fn rows() -> Vec<Spec> {
    vec![row(256), row(2_048)]
}

fn row(size: usize) -> Spec {
    let blocking = format!("{}, {BLOCKING} blocking", ours::NAME);
    Spec {
        name: format!("submit-{size}"),
        title: format!(
            "durable, one thread with {IN_FLIGHT} in flight against {BLOCKING} blocking producers, {size} B"
        ),
        figures: vec![RATE],
        goals: vec![
            at_least_of_best_peer(3.0),
            Goal::rate(Against::Entry("floor".to_owned(), RATE.name), Bar::Shown),
            Goal::rate(Against::Entry(blocking.clone(), RATE.name), Bar::Shown),
        ],
        build: Box::new(move |bench| {
            let payload = Rc::new(Payload::new(size));
            let appends = Appends::new(bench, Promise::Durable, size).producers(BLOCKING);
            let place = Arc::clone(&bench.place);
            let mut entries = vec![{
                let payload = Rc::clone(&payload);
                Entry::new(ours::NAME, Kind::Ours, move |round| {
                    let scratch = place.scratch(appends.most_bytes * 2 + (256 << 20))?;
                    let sample = in_flight(scratch.path(), &payload, &appends, round)?;
                    drop(scratch);
                    place.settle()?;
                    Ok(sample)
                })
            }];
            for contender in bench.those_that(Work::Append(Promise::Durable))? {
                let name = if contender.kind() == Kind::Ours { blocking.as_str() } else { contender.name() };
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                entries.push(Entry::new(name, contender.kind(), move |round| {
                    appends.run(&place, contender.as_ref(), &payload, round)
                }));
            }
            Ok(entries)
        }),
    }
}

fn in_flight(directory: &Path, payload: &Payload, appends: &Appends, round: usize) -> Result<Sample> {
    let open = ours::open(directory, Promise::Durable)?;
    let mut tally = appends::warm_up(&open, payload, ours::Stratalog.warm_up_bytes(), appends.batch)?;
    std::thread::sleep(Duration::from_millis(300));
    let mut wrote = Tally::default();
    let mut waiting: VecDeque<PendingAppend> = VecDeque::with_capacity(IN_FLIGHT);
    let (mut batch, stream) = (Batch::new(), ours::stream(0));
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs_f64(appends.seconds);
    let most = appends.most_bytes / payload.record_bytes as u64;
    let mut n = 0;
    while n % IN_FLIGHT != 0 || (Instant::now() < deadline && wrote.records < most) {
        if waiting.len() == IN_FLIGHT
            && let Some(first) = waiting.pop_front()
        {
            first.wait()?;
        }
        batch.clear();
        batch.push(payload.record(n));
        waiting.push_back(open.log.submit(stream, &batch)?);
        wrote.wrote(payload, n);
        n += 1;
    }
    for pending in waiting {
        pending.wait()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    tally.add(wrote);
    Box::new(open).close()?;
    if round == 0 {
        let open = ours::open(directory, Promise::Durable)?;
        appends::read_back(&open, payload, tally)?;
        Box::new(open).close()?;
    }
    Ok(vec![(RATE.name, wrote.records as f64 / seconds)])
}
