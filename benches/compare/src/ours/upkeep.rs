//! What work in the background takes from producers: the default segments and checkpoints against a
//! segment so large, and checkpoints so far apart, that nothing of it falls into the measurement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{NAME, Open, Stratalog, options};
use crate::appends::{Appends, warm_up};
use crate::contender::{Contender, Kind, Promise};
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Goal, RATE, Sample, Spec};

const RECORD: usize = 2_048;
const WITHOUT: &str = "no background work";
const ONE_SEGMENT: u64 = 1 << 30;
/// Segments grow to it from 1 MiB, each four times as large as the one before.
const GROWN: u64 = 350 << 20;

pub(crate) fn rows() -> Vec<Spec> {
    vec![
        row("background-sync", "4 producers, Sync", Promise::Durable, 4, 1),
        row("background-buffered", "batches of 100, Buffered", Promise::Process, 1, 100),
    ]
}

fn row(name: &str, what: &str, promise: Promise, producers: usize, batch: usize) -> Spec {
    Spec {
        name: name.to_owned(),
        title: format!("background work's share: {what}, {RECORD} B"),
        figures: vec![RATE],
        goals: vec![Goal::rate(Against::Entry(WITHOUT.to_owned(), RATE.name), Bar::AtLeast(0.9))],
        build: Box::new(move |bench| {
            let mut appends = Appends::new(bench, promise, RECORD).producers(producers).batch(batch);
            // Several segments of the default size, within the one large one.
            appends.seconds *= 4.0;
            appends.most_bytes = appends.most_bytes.min(ONE_SEGMENT - (192 << 20));
            let entry = |name: &str, alone: bool| {
                let place = Arc::clone(&bench.place);
                Entry::new(name, Kind::Ours, move |_| measure(&place, appends, alone))
            };
            Ok(vec![entry(NAME, false), entry(WITHOUT, true)])
        }),
    }
}

fn measure(place: &Place, appends: Appends, alone: bool) -> Result<Sample> {
    let payload = Payload::new(RECORD);
    let scratch = place.scratch(4 * ONE_SEGMENT)?;
    let mut options = options(appends.promise);
    if alone {
        options = options.segment_bytes(ONE_SEGMENT).checkpoint_bytes(16 * ONE_SEGMENT);
    }
    let open = Open { log: options.open(scratch.path())? };
    warm_up(&open, &payload, if alone { GROWN } else { Stratalog.warm_up_bytes() }, appends.batch)?;
    if alone {
        wait_for_spare(&open)?;
        open.log.sync()?;
    }
    std::thread::sleep(Duration::from_millis(300));
    let ran = appends.produce(&open, &payload)?;
    open.log.close()?;
    drop(scratch);
    place.settle()?;
    Ok(ran.sample())
}

/// The segment behind the large one is ready: zeros are no longer being written.
fn wait_for_spare(open: &Open) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        if open.log.directory()?.spare.is_some_and(|spare| spare.bytes >= ONE_SEGMENT) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("expected a segment of {} MiB to be ready within 120 s, found none", ONE_SEGMENT >> 20)
}
