//! Operation records: to bytes and back, and, with the feature `json`, to JSON Lines and back.
#![allow(clippy::unwrap_used)]

mod support;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stratalog::ingest::{OperationRecord, RecordView};
use support::Chance;

#[cfg(not(feature = "json"))]
criterion_group! { name = benches; config = support::criterion(); targets = codec }
#[cfg(feature = "json")]
criterion_group! { name = benches; config = support::criterion(); targets = codec, json }
criterion_main!(benches);

const DIMENSIONS: [usize; 2] = [384, 1536];

/// Shaped as a sentence with its embedding is.
fn record(dimensions: usize) -> OperationRecord {
    let mut chance = Chance(3);
    let mut unit = || chance.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0;
    let embedding: Vec<f32> = (0..dimensions).map(|_| unit() * 0.1).collect();
    OperationRecord::upsert("libc6")
        .embedding(embedding)
        .document(
            "GNU C Library: shared libraries. Contains the standard libraries used by nearly all programs.",
        )
        .uri("https://packages.debian.org/libc6")
        .metadata_entry("section", "libs")
        .metadata_entry("installed_kib", 12_988i64)
        .metadata_entry("priority", 0.75)
}

fn encoded(record: &OperationRecord) -> Bytes {
    let mut bytes = Vec::new();
    record.encode_into(&mut bytes).unwrap();
    bytes.into()
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for dimensions in DIMENSIONS {
        let record = record(dimensions);
        let bytes = encoded(&record);
        assert_eq!(RecordView::decode(bytes.clone()).unwrap().to_record(), record);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("encode", dimensions), |bencher| {
            let mut into = Vec::new();
            bencher.iter(|| {
                into.clear();
                black_box(&record).encode_into(&mut into).unwrap();
                black_box(&into);
            });
        });
        group.bench_function(BenchmarkId::new("decode", dimensions), |bencher| {
            bencher.iter(|| black_box(RecordView::decode(bytes.clone()).unwrap()));
        });
        group.bench_function(BenchmarkId::new("decode to a record of one's own", dimensions), |bencher| {
            bencher.iter(|| black_box(RecordView::decode(bytes.clone()).unwrap().to_record()));
        });
    }
}

#[cfg(feature = "json")]
fn json(criterion: &mut Criterion) {
    use stratalog::ingest::{Envelope, parse_line, write_line};

    let mut group = criterion.benchmark_group("JSON Lines");
    for dimensions in DIMENSIONS {
        let record = record(dimensions);
        let mut line = Vec::new();
        write_line(&mut line, Envelope::default(), &record).unwrap();
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(BenchmarkId::new("write", dimensions), |bencher| {
            let mut into = Vec::new();
            bencher.iter(|| {
                into.clear();
                write_line(&mut into, Envelope::default(), black_box(&record)).unwrap();
                black_box(&into);
            });
        });
        group.bench_function(BenchmarkId::new("parse", dimensions), |bencher| {
            bencher.iter(|| black_box(parse_line(black_box(&line)).unwrap()));
        });
    }
}
