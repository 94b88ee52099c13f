//! Reads: all of a log, one stream of many, one record, and what a crash leaves to be read.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use stratalog::ingest::{OperationRecord, RecordView};
use stratalog::storage::MemoryStorage;
use stratalog::{Durability, Log, LogOffset, Reader, SeqId};

use crate::append::options;
use crate::payload::{Chance, batch, stream};
use crate::region::region;
use crate::work::{Bar, Count, Ground, Outcome, RECORD, Work};

const EACH: &[(Count, &str, Bar)] = &[
    (Count::Instructions, RECORD, Bar::Held),
    (Count::Allocations, RECORD, Bar::Held),
    (Count::SystemCalls, RECORD, Bar::Held),
    (Count::PageFaults, RECORD, Bar::Held),
];
const PLAIN: &[(Count, &str, Bar)] =
    &[(Count::Instructions, RECORD, Bar::Held), (Count::Allocations, RECORD, Bar::Held)];

pub(crate) const WORKS: &[Work] = &[
    work("replay 256", 10_000, EACH, |g| replay(g, 1, 256)),
    work("replay 2048", 10_000, EACH, |g| replay(g, 1, 2048)),
    work("replay of batches 2048", 10_000, EACH, |g| replay(g, 100, 2048)),
    work("replay lent 2048", 10_000, EACH, lent),
    work("replay 6656", 4_000, EACH, |g| replay(g, 1, 6656)),
    work("backfill of 1 stream in 100", 200, EACH, one_stream),
    work("point read 256", 5_000, EACH, |g| point(g, 1, 256)),
    work("point read 2048", 5_000, EACH, |g| point(g, 1, 2048)),
    work("point read in batches 2048", 5_000, EACH, |g| point(g, 100, 2048)),
    work("point read by offset 2048", 1_000, EACH, by_offset),
    work("recovery 2048", 8_000, PLAIN, recovery),
    work("encode 384 dimensions", 2_000, PLAIN, encode),
    work("decode 384 dimensions", 2_000, PLAIN, decode),
];

const fn work(
    name: &'static str,
    times: u64,
    counts: &'static [(Count, &'static str, Bar)],
    run: fn(&Ground<'_>) -> Result<Outcome>,
) -> Work {
    Work { name, times, counts, records: 1, run }
}

/// A log of sealed segments with indexes, and a last one.
fn filled(directory: &Path, records: u64, in_a_batch: u64, len: usize, streams: u64) -> Result<Log> {
    let log = options(Durability::Buffered).segment_bytes(4 << 20).open(directory)?;
    let batch = batch(in_a_batch, len);
    for n in 0..records / in_a_batch {
        log.append(stream(n % streams), &batch)?;
        if n % 50 == 0 {
            log.tend()?;
        }
    }
    Ok(log)
}

fn drain(reader: Reader, due: u64) -> Result<()> {
    let mut taken = 0;
    for record in reader {
        black_box(&record?.payload);
        taken += 1;
    }
    ensure!(taken == due, "expected {due} records, found {taken}");
    Ok(())
}

fn replay(ground: &Ground<'_>, in_a_batch: u64, len: usize) -> Result<Outcome> {
    let log = filled(ground.directory, ground.times, in_a_batch, len, 16)?;
    drain(log.reader(..)?, ground.times)?;
    Ok(region(|| drain(log.reader(..)?, ground.times))?.into())
}

/// Without a record of one's own for each.
fn lent(ground: &Ground<'_>) -> Result<Outcome> {
    let log = filled(ground.directory, ground.times, 1, 2048, 16)?;
    let all = || -> Result<()> {
        let (mut reader, mut taken) = (log.reader(..)?, 0);
        while let Some(record) = reader.next_ref()? {
            black_box(&record);
            taken += 1;
        }
        ensure!(taken == ground.times, "expected {} records, found {taken}", ground.times);
        Ok(())
    };
    all()?;
    Ok(region(all)?.into())
}

fn one_stream(ground: &Ground<'_>) -> Result<Outcome> {
    let log = filled(ground.directory, ground.times * 100, 1, 256, 100)?;
    drain(log.stream_reader(stream(7), ..)?, ground.times)?;
    Ok(region(|| drain(log.stream_reader(stream(7), ..)?, ground.times))?.into())
}

fn point(ground: &Ground<'_>, in_a_batch: u64, len: usize) -> Result<Outcome> {
    let held = 10_000;
    let log = filled(ground.directory, held, in_a_batch, len, 16)?;
    let read = || -> Result<()> {
        let mut chance = Chance(1);
        for _ in 0..ground.times {
            let record = log.record(SeqId(1 + chance.below(held)))?;
            ensure!(black_box(record).is_some(), "expected a record, found none");
        }
        Ok(())
    };
    read()?;
    Ok(region(read)?.into())
}

fn by_offset(ground: &Ground<'_>) -> Result<Outcome> {
    // Many streams: what is allocated for a read is then small, and the allocator's work repeats exactly.
    let (held, streams) = (10_000, 100);
    let log = filled(ground.directory, held, 1, 2048, streams)?;
    let read = || -> Result<()> {
        let mut chance = Chance(1);
        for _ in 0..ground.times {
            let offset = LogOffset(1 + chance.below(held / streams));
            let record = log.record_at(stream(chance.below(streams)), offset)?;
            ensure!(black_box(record).is_some(), "expected a record, found none");
        }
        Ok(())
    };
    read()?;
    Ok(region(read)?.into())
}

/// Opens what a process left that was killed: nothing is behind a checkpoint.
fn recovery(ground: &Ground<'_>) -> Result<Outcome> {
    let storage = MemoryStorage::new();
    let options = options(Durability::Buffered);
    let log = options.open_storage(Arc::new(storage.clone()))?;
    let batch = batch(1, 2048);
    for n in 0..ground.times {
        log.append(stream(n % 16), &batch)?;
    }
    let left = storage.snapshot()?;
    let mut opened = None;
    let told = region(|| {
        opened = Some(options.open_storage(Arc::new(left.clone()))?);
        Ok(())
    })?;
    let found = opened.map_or(SeqId(0), |log| log.committed());
    ensure!(found == SeqId(ground.times), "expected {} records, found {found}", ground.times);
    Ok(told.into())
}

fn record() -> OperationRecord {
    let mut chance = Chance(3);
    let embedding: Vec<f32> = (0..384).map(|_| chance.below(2_000) as f32 / 1_000.0 - 1.0).collect();
    OperationRecord::upsert("libc6")
        .embedding(embedding)
        .document("GNU C Library: shared libraries")
        .uri("https://packages.debian.org/libc6")
        .metadata_entry("section", "libs")
        .metadata_entry("installed_kib", 12_988i64)
}

fn encode(ground: &Ground<'_>) -> Result<Outcome> {
    let record = record();
    let mut bytes = Vec::new();
    record.encode_into(&mut bytes)?;
    Ok(region(|| {
        for _ in 0..ground.times {
            bytes.clear();
            black_box(&record).encode_into(&mut bytes)?;
            black_box(&bytes);
        }
        Ok(())
    })?
    .into())
}

/// From a record of a log, whose payload is a slice of it.
fn decode(ground: &Ground<'_>) -> Result<Outcome> {
    let log = options(Durability::Buffered).open(ground.directory)?;
    let mut batch = stratalog::Batch::new();
    batch.try_push_with(|bytes| record().encode_into(bytes))?;
    log.append(stream(0), &batch)?;
    let held = log.record(SeqId(1))?;
    let payload = held.map(|record| record.payload).unwrap_or_default();
    let decode = |times: u64| -> Result<()> {
        for _ in 0..times {
            black_box(RecordView::decode(payload.clone())?.embedding().map(|view| view.dimensions()));
        }
        Ok(())
    };
    decode(10)?;
    Ok(region(|| decode(ground.times))?.into())
}
