//! What the benchmarks share: a place on a real disk, records, logs that are warm.
#![allow(dead_code, clippy::unwrap_used)]

mod place;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use criterion::Criterion;
use stratalog::{Batch, Durability, Log, Options, SeqId, StreamId};

pub(crate) use place::Place;

pub(crate) const SIZES: [usize; 3] = [256, 2048, 6656];

pub(crate) const DURABILITIES: [(&str, Durability); 3] = [
    ("sync", Durability::Sync),
    ("every 200 ms", Durability::SyncEvery(Duration::from_millis(200))),
    ("buffered", Durability::Buffered),
];

/// The largest log of the benchmarks that look at sizes, in GiB. Without it, 64 MiB.
const GIB: &str = "STRATALOG_BENCH_GIB";

/// True under `--test`: everything is done once, with little work.
pub(crate) fn quick() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// For what is no benchmark of criterion's, and goes by the same arguments: whether any is meant.
pub(crate) fn is_wanted(names: &[&str]) -> bool {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    arguments.next().is_none_or(|part| names.iter().any(|name| name.contains(&part)))
}

/// `n`, or the little that shows that it works.
pub(crate) fn or_little(n: u64, little: u64) -> u64 {
    if quick() { little } else { n }
}

pub(crate) fn criterion() -> Criterion {
    place();
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

/// Said once, before the first figure.
pub(crate) fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| match Place::find(None) {
        Ok(place) => {
            println!("{place}");
            place
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2)
        }
    })
}

pub(crate) fn fresh() -> tempfile::TempDir {
    place().fresh().unwrap()
}

pub(crate) fn stream(n: u64) -> StreamId {
    StreamId::from_u128(u128::from(n) + 1)
}

pub(crate) fn batch(records: u64, len: usize) -> Batch {
    let record: Vec<u8> = (0..len).map(|k| (k * 31) as u8).collect();
    let mut batch = Batch::new();
    (0..records).for_each(|_| batch.push(&record));
    batch
}

/// Behind the small segments with which a life begins; the next one is ready.
pub(crate) fn grow(log: &Log) {
    let filler = batch(1, 256 << 10);
    for _ in 0..or_little(24, 1) {
        log.append(stream(0), &filler).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(or_little(300, 1)));
    log.sync().unwrap();
}

pub(crate) fn warm(directory: &Path, durability: Durability) -> Log {
    let log = Options::new().durability(durability).open(directory).unwrap();
    grow(&log);
    log
}

/// Appends until the log has about this many bytes, round over streams; the records there are then.
pub(crate) fn fill(log: &Log, bytes: u64, batch: &Batch, streams: u64) -> u64 {
    let due = (bytes / batch.frame_bytes() as u64).max(1);
    let held = log.committed().0 / batch.len() as u64;
    for n in held..due {
        log.append(stream(n % streams), batch).unwrap();
    }
    assert_eq!(log.committed(), SeqId(due.max(held) * batch.len() as u64));
    log.committed().0
}

/// Appends the same batch to the first stream.
pub(crate) fn repeat(log: &Log, times: u64, batch: &Batch) {
    for _ in 0..times {
        log.append(stream(0), batch).unwrap();
    }
}

/// 64 MiB, 256 MiB and so on, up to what the variable says, in MiB.
pub(crate) fn log_sizes() -> Vec<u64> {
    let said = std::env::var(GIB).ok().map(|gib| match gib.parse::<u64>() {
        Ok(gib) => gib << 10,
        Err(_) => {
            eprintln!("{GIB}: expected a whole number of GiB, found {gib:?}");
            std::process::exit(2)
        }
    });
    if quick() {
        return vec![1];
    }
    let most = said.unwrap_or(64);
    std::iter::successors(Some(64), |mib| Some(mib * 4)).take_while(|mib| *mib <= most).collect()
}

/// SplitMix64: the same numbers in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
