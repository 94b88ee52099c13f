//! Reading everything in order, from the page cache.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::SIZES;
use crate::contender::Work;
use crate::filled::Filled;
use crate::payload::Payload;
use crate::row::{Against, Bar, Entry, Goal, RATE, Sample, Spec, at_least_of_floor};

const BYTES: u64 = 256 << 20;

pub(crate) fn rows() -> Vec<Spec> {
    SIZES.into_iter().map(row).collect()
}

fn row(size: usize) -> Spec {
    Spec {
        name: format!("replay-{size}"),
        title: format!("replay from the page cache, checksums verified, {size} B"),
        figures: vec![RATE],
        goals: vec![
            at_least_of_floor("floor: map", 0.9),
            Goal::rate(Against::BestPeer(RATE.name), Bar::Shown),
        ],
        build: Box::new(move |bench| {
            let payload = Rc::new(Payload::new(size));
            let bytes = bench.scaled(BYTES);
            let seconds = bench.settings.seconds;
            let mut entries = Vec::new();
            for contender in bench.those_that(Work::Replay)? {
                let filled = Filled::new(&bench.place, contender.as_ref(), &payload, bytes)
                    .and_then(|filled| filled.reopened(contender.as_ref(), &payload, bytes));
                match filled {
                    Ok(filled) => {
                        entries.push(Entry::new(contender.name(), contender.kind_as_reader(), move |_| {
                            replays(&filled, seconds)
                        }))
                    }
                    Err(error) => {
                        bench.leave_out(
                            &format!("replay-{size}"),
                            contender.name(),
                            &format!("failed: {error:#}"),
                        );
                    }
                }
            }
            Ok(entries)
        }),
    }
}

/// Whole passes, until the time is over.
fn replays(filled: &Filled, seconds: f64) -> Result<Sample> {
    let begun = Instant::now();
    let mut records = 0;
    while records == 0 || begun.elapsed().as_secs_f64() < seconds {
        // The record is looked at, and nothing more.
        let (mut seen, mut first_bytes) = (0_u64, 0_u64);
        filled.store.replay(&mut |record| {
            seen += 1;
            first_bytes = first_bytes.wrapping_add(u64::from(*record.first().unwrap_or(&0)));
        })?;
        std::hint::black_box(first_bytes);
        ensure!(seen == filled.wrote.records, "expected {} records, found {seen}", filled.wrote.records);
        records += seen;
    }
    Ok(vec![(RATE.name, records as f64 / begun.elapsed().as_secs_f64())])
}
