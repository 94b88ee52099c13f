//! Submitting and reading from async code, without a runtime and without a thread per call.
//!
//! One task submits: hundreds of batches are on their way at once and share their syncs. Another one
//! reads what is committed at its own pace: `Hub::pull` is a stream that wakes its reader. Both
//! futures need nothing but a waker, so any executor will do; here it is `pollster`, once per thread.
//!
//! ```sh
//! cargo run --example awaited
//! ```

use std::error::Error;
use std::thread;

use stratalog::ingest::{Ingest, LocalIngest, LogRecord, OperationRecord, Producer, SubmitTerms};
use stratalog::{SeqId, Start, StreamId};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const COLLECTION: StreamId = StreamId::from_u128(0xa51c);
const BATCHES: u64 = 500;
const BATCH: u64 = 8;

fn main() -> Fallible<()> {
    let directory = tempfile::tempdir()?;
    let ingest = LocalIngest::open(directory.path())?;

    let reading = ingest.clone();
    let reader = thread::spawn(move || pollster::block_on(read(&reading)));
    let before = ingest.log().counters();
    pollster::block_on(submit(&ingest))?;
    let (records, bytes) = reader.join().map_err(|_| "the reader panicked")??;

    let after = ingest.log().counters();
    println!("{BATCHES} batches of {BATCH} submitted in {} syncs", after.syncs - before.syncs);
    println!("{records} records read, {bytes} bytes of embeddings");
    Ok(ingest.close()?)
}

async fn submit(ingest: &LocalIngest) -> Fallible<()> {
    let terms = SubmitTerms::new();
    let mut pending = Vec::new();
    for n in 0..BATCHES {
        let batch: Vec<_> = (0..BATCH)
            .map(|k| OperationRecord::upsert(format!("{n}/{k}")).embedding(vec![n as f32; 384]))
            .collect();
        // On its way now, in this order; `submit_async` waits only while the log's queue is full.
        pending.push(ingest.submit_async(COLLECTION, &batch, &terms)?);
    }
    let mut due = 1;
    for submitted in pending {
        for seq_id in submitted.await? {
            assert_eq!(seq_id, SeqId(due), "SeqIds are in the order of the calls");
            due += 1;
        }
    }
    Ok(())
}

async fn read(ingest: &LocalIngest) -> Fallible<(u64, usize)> {
    let mut pull = ingest.hub().pull(COLLECTION, Start::After(SeqId(0)), Some(SeqId(BATCHES * BATCH)))?;
    let (mut records, mut bytes) = (0, 0);
    while !pull.is_finished() {
        for record in pull.next_batch_async().await? {
            let one = LogRecord::decode(record)?;
            records += 1;
            bytes += one.record.embedding().map_or(0, |embedding| embedding.as_bytes().len());
        }
    }
    Ok((records, bytes))
}
