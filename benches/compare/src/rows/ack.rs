//! How long 64 producers wait for their ack, beside one write and sync of as much as all of them append.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::appends::Appends;
use crate::contender::{Kind, Promise};
use crate::floors;
use crate::ours::{self, recycling};
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};
use crate::statistics::percentile;

const PRODUCERS: usize = 64;
const RECORD: usize = 2_048;
const GROUPED: &str = "one grouped sync";
const FILE_BYTES: usize = 64 << 20;

pub(crate) fn rows() -> Vec<Spec> {
    let goal = |entry, of, bar| Goal::of(entry, "p99", Against::Entry(GROUPED.to_owned(), of), bar);
    vec![Spec {
        name: "ack".to_owned(),
        title: "p99 of the ack, 64 producers, 2 KiB, against one write and sync of 64 records".to_owned(),
        figures: vec![Figure::lower("p99", "us"), Figure::lower("p50", "us"), Figure::lower("p99.9", "us")],
        goals: vec![
            goal(ours::NAME, "p50", Bar::AtMost(3.0)),
            goal(ours::NAME, "p99", Bar::Shown),
            goal(recycling::NAME, "p50", Bar::AtMost(3.0)),
            // What is asked of the log, asked of a group commit that does nothing else.
            goal("floor", "p50", Bar::Shown),
        ],
        build: Box::new(|bench| {
            let payload = Rc::new(Payload::new(RECORD));
            let appends = Appends::new(bench, Promise::Durable, RECORD).producers(PRODUCERS);
            let mut entries = Vec::new();
            for contender in [bench.ours(), bench.purged_behind(), floors::durable()] {
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                entries.push(Entry::new(contender.name(), contender.kind(), move |round| {
                    appends.run(&place, contender.as_ref(), &payload, round)
                }));
            }
            let place = Arc::clone(&bench.place);
            let grouped = move |_| one_grouped_sync(&place, appends.seconds);
            entries.push(Entry::new(GROUPED, Kind::Floor, grouped));
            Ok(entries)
        }),
    }]
}

fn one_grouped_sync(place: &Place, seconds: f64) -> Result<Sample> {
    let scratch = place.scratch(FILE_BYTES as u64)?;
    let file = File::create(scratch.path().join("grouped"))?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let group = vec![7; PRODUCERS * RECORD];
    let mut nanos = Vec::new();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < deadline {
        let at = nanos.len() * group.len() % FILE_BYTES;
        let begun = Instant::now();
        file.write_all_at(&group, at as u64)?;
        file.sync_data()?;
        nanos.push(begun.elapsed().as_nanos() as u64);
    }
    let shares = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
    Ok(shares.map(|(name, share)| (name, percentile(&mut nanos, share) as f64 / 1e3)).to_vec())
}
