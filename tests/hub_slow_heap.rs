//! A slow subscriber costs no memory: what it has not taken yet is in the log, and nowhere else.
#![allow(clippy::unwrap_used)]

#[path = "support/heap.rs"]
mod heap;
mod support;

use std::sync::mpsc;
use std::time::Duration;

use heap::heap;
use stratalog::{Batch, Durability, Hub, HubOptions, Options, SeqId, Start, SubscribeOptions};
use support::{payload, stream};

#[test]
fn the_heap_is_flat_while_a_subscriber_falls_behind_by_a_hundred_megabytes() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Buffered).segment_bytes(8 << 20);
    let hub = Hub::new(options.open(directory.path()).unwrap(), HubOptions::new()).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (came, first) = mpsc::channel();
    let start = SubscribeOptions::new().start(Start::After(SeqId(0))).id("slow");
    hub.subscribe(stream(1), start, move |records| {
        came.send(records.len())?;
        released.recv()?;
        Ok(())
    })
    .unwrap();
    let mut batch = Batch::new();
    (0..50).for_each(|n| batch.push(&payload(n, 2_000)));
    // The log's own buffers and the first segments have their size by then.
    for _ in 0..200 {
        hub.append(stream(1), &batch).unwrap();
    }
    first.recv_timeout(Duration::from_secs(20)).unwrap();
    let before = heap();
    for _ in 0..1_000 {
        hub.append(stream(1), &batch).unwrap();
    }
    // The next segment is being made beside this, through a buffer that comes and goes.
    let mut grown = usize::MAX;
    for _ in 0..200 {
        grown = grown.min(heap().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = hub.statuses().remove(0);
    println!(
        "{} records, {} bytes behind; the heap grew by {grown} bytes",
        status.lag_records, status.lag_bytes
    );
    assert!(status.lag_bytes >= 100_000_000, "{status:?}");
    assert!(grown < 1 << 20, "the heap grew by {grown} bytes");
    drop(release);
    hub.close();
}
