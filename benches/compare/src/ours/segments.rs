//! The slowest appends where one segment ends and the next begins, beside the slowest of all others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stratalog::Batch;

use super::{NAME, Open, Stratalog, options, stream};
use crate::appends::{Appends, warm_up};
use crate::contender::{Contender, Kind, Promise};
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};
use crate::statistics::percentile;

const RECORD: usize = 2_048;

pub(crate) fn rows() -> Vec<Spec> {
    let goal = Goal::of(NAME, "across", Against::Entry(NAME.to_owned(), "inside"), Bar::AtMost(3.0));
    vec![Spec {
        name: "segment-change".to_owned(),
        title: "p99.9 of a durable append across a segment change, batches of 100, 2 KiB".to_owned(),
        figures: vec![
            Figure::lower("across", "us"),
            Figure::lower("inside", "us"),
            Figure::higher("changes", ""),
        ],
        goals: vec![goal],
        build: Box::new(|bench| {
            let mut appends = Appends::new(bench, Promise::Durable, RECORD).batch(100);
            // A percentile of few values is their greatest: the more changes, the better.
            appends.seconds *= 8.0;
            appends.most_bytes *= 4;
            let (place, segment_bytes) = (Arc::clone(&bench.place), bench.scaled(64 << 20));
            Ok(vec![Entry::new(NAME, Kind::Ours, move |_| measure(&place, appends, segment_bytes))])
        }),
    }]
}

fn measure(place: &Place, appends: Appends, segment_bytes: u64) -> Result<Sample> {
    let payload = Payload::new(RECORD);
    let scratch = place.scratch(appends.most_bytes + (256 << 20))?;
    let open = Open { log: options(Promise::Durable).segment_bytes(segment_bytes).open(scratch.path())? };
    warm_up(&open, &payload, Stratalog.warm_up_bytes(), appends.batch)?;
    std::thread::sleep(Duration::from_millis(300));
    let mut taken: Vec<(u64, u64)> = Vec::new();
    let mut batch = Batch::new();
    let begun = Instant::now();
    let most = appends.most_bytes as usize / (appends.batch * RECORD);
    while taken.len() < most && begun.elapsed().as_secs_f64() < appends.seconds {
        batch.clear();
        (0..appends.batch).for_each(|n| batch.push(payload.record(taken.len() * appends.batch + n)));
        let before = Instant::now();
        let appended = open.log.append(stream(0), &batch)?;
        taken.push((appended.first_seq_id.0, before.elapsed().as_nanos() as u64));
    }
    let firsts: HashSet<u64> =
        open.log.stats()?.segments.iter().map(|segment| segment.first_seq_id.0).collect();
    let (across, inside): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(first, _)| firsts.contains(first));
    ensure!(!across.is_empty(), "no segment ended within the time: give more with --seconds");
    let p999 = |taken: Vec<(u64, u64)>| {
        let mut nanos: Vec<u64> = taken.into_iter().map(|(_, nanos)| nanos).collect();
        percentile(&mut nanos, 0.999) as f64 / 1e3
    };
    let changes = across.len() as f64;
    let sample = vec![("across", p999(across)), ("inside", p999(inside)), ("changes", changes)];
    open.log.close()?;
    drop(scratch);
    place.settle()?;
    Ok(sample)
}
