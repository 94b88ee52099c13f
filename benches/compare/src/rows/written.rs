//! Bytes that reach the disk per byte appended, durable, in batches of 100.
//!
//! Counted by the device (sectors written), so with the file system's journal, with zeros for the next
//! segment, and with what anybody else writes meanwhile: it takes a quiet machine. The count of a
//! process (`write_bytes` of `/proc/self/io`) would leave others out, but takes a large folio of which
//! a part became dirty for dirty as a whole: up to six times what is written.

use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::appends::{self, Appends};
use crate::contender::{Contender, Promise, Setup, Work};
use crate::ours::{self, recycling};
use crate::payload::Payload;
use crate::place::Place;
use crate::row::{Against, Bar, Entry, Figure, Goal, Sample, Spec};

const RECORD: usize = 2_048;
const WRITTEN: Figure = Figure::lower("written", "bytes per byte");

pub(crate) fn rows() -> Vec<Spec> {
    let itself = |entry: &str, bar| Goal::of(entry, WRITTEN.name, Against::Itself, bar);
    vec![Spec {
        name: "written".to_owned(),
        title: "bytes written per byte appended, durable batches of 100, 2 KiB".to_owned(),
        figures: vec![WRITTEN],
        goals: vec![itself(recycling::NAME, Bar::AtMost(1.1)), itself(ours::NAME, Bar::Shown)],
        build: Box::new(|bench| {
            let payload = Rc::new(Payload::new(RECORD));
            let mut work = Appends::new(bench, Promise::Durable, RECORD).batch(100);
            // Several segments, however fast the disk is.
            work.seconds *= 4.0;
            let mut entries = Vec::new();
            let contenders = bench.those_that(Work::Append(Promise::Durable))?;
            for contender in [bench.purged_behind()].into_iter().chain(contenders) {
                let (place, payload) = (Arc::clone(&bench.place), Rc::clone(&payload));
                let (name, kind) = (contender.name(), contender.kind());
                entries.push(Entry::new(name, kind, move |_| {
                    let sample = measure(&place, contender.as_ref(), &payload, work)?;
                    place.settle()?;
                    Ok(sample)
                }));
            }
            Ok(entries)
        }),
    }]
}

fn measure(place: &Place, contender: &dyn Contender, payload: &Payload, work: Appends) -> Result<Sample> {
    let (promise, warm_up) = (work.promise, contender.warm_up_bytes());
    let capacity_bytes = work.most_bytes + warm_up + (16 << 20);
    let setup = Setup { promise, record_bytes: RECORD, producers: 1, capacity_bytes, keep: false };
    let scratch = place.scratch(capacity_bytes * 4)?;
    let counter = Counter::of(scratch.path())?;
    let store = contender.open(scratch.path(), &setup)?;
    appends::warm_up(store.as_ref(), payload, warm_up, work.batch)?;
    std::thread::sleep(Duration::from_millis(500));
    let before = counter.read(place)?;
    let ran = work.produce(store.as_ref(), payload)?;
    std::thread::sleep(Duration::from_millis(100));
    let written = counter.read(place)? - before;
    store.close()?;
    let appended = ran.tally.records;
    Ok(vec![(WRITTEN.name, written as f64 / (appended * RECORD as u64) as f64)])
}

/// What a block device counts.
struct Counter(PathBuf);

impl Counter {
    fn of(directory: &Path) -> Result<Self> {
        let number = std::fs::metadata(directory)?.st_dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        ensure!(
            path.exists(),
            "{}: expected a file system on one block device that counts, found none: the row cannot be measured here",
            directory.display()
        );
        Ok(Counter(path))
    }

    /// Bytes written so far, once nothing is left to be written.
    fn read(&self, place: &Place) -> Result<u64> {
        place.settle()?;
        let all = std::fs::read_to_string(&self.0)?;
        let sectors = all.split_whitespace().nth(6).and_then(|field| field.parse::<u64>().ok());
        Ok(sectors.context("expected the sectors written as the 7th field of the device's counters")? * 512)
    }
}
