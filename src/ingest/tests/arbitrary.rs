//! Any record at all.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::ingest::{Embedding, Encoding, Metadata, MetadataValue, Operation, OperationRecord, SparseVector};

/// Any text: every character is possible, and those that need care are frequent.
fn text() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        4 => any::<char>(),
        3 => prop::char::range(' ', '~'),
        1 => prop::sample::select(vec!['\0', '"', '\\', '\n', '\r', '{', '\u{2028}', '\u{10ffff}']),
    ];
    vec(characters, 0..12).prop_map(String::from_iter)
}

/// Any bits; half of them make numbers of everyday size.
fn float32() -> impl Strategy<Value = f32> {
    prop_oneof![any::<u32>().prop_map(f32::from_bits), -1000.0f32..1000.0]
}

fn float64() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        -1000.0f64..1000.0,
        (-1000i32..1000).prop_map(f64::from),
    ]
}

fn embedding() -> impl Strategy<Value = Embedding> {
    prop_oneof![
        vec(float32(), 0..20).prop_map(Embedding::F32),
        vec(any::<i32>(), 0..20).prop_map(Embedding::I32),
    ]
}

fn sparse_vector() -> impl Strategy<Value = SparseVector> {
    (btree_set(any::<u32>(), 0..6), any::<bool>()).prop_flat_map(|(indices, tokens)| {
        let count = indices.len();
        let tokens = vec(text(), count).prop_map(move |list| tokens.then_some(list));
        (vec(float32(), count), tokens).prop_map(move |(values, tokens)| {
            SparseVector::from_parts(indices.iter().copied().collect(), values, tokens).unwrap()
        })
    })
}

fn value() -> impl Strategy<Value = MetadataValue> {
    prop_oneof![
        Just(MetadataValue::Null),
        text().prop_map(MetadataValue::Str),
        any::<i64>().prop_map(MetadataValue::Int),
        float64().prop_map(MetadataValue::Float),
        any::<bool>().prop_map(MetadataValue::Bool),
        vec(text(), 0..4).prop_map(MetadataValue::StrList),
        vec(any::<i64>(), 0..4).prop_map(MetadataValue::IntList),
        vec(float64(), 0..4).prop_map(MetadataValue::FloatList),
        vec(any::<bool>(), 0..4).prop_map(MetadataValue::BoolList),
        sparse_vector().prop_map(MetadataValue::SparseVector),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    vec((text(), value()), 0..24).prop_map(|entries| {
        let mut metadata = Metadata::new();
        for (key, value) in entries {
            metadata.set(key, value);
        }
        metadata
    })
}

/// Any record that can be encoded.
pub(super) fn record() -> impl Strategy<Value = OperationRecord> {
    let encoding = prop::sample::select(vec![None, Some(Encoding::Float32), Some(Encoding::Int32)]);
    (
        prop::sample::select(Operation::ALL.to_vec()),
        text(),
        encoding,
        option::of(embedding()),
        option::of(text()),
        option::of(text()),
        option::of(metadata()),
    )
        .prop_map(|(operation, id, encoding, embedding, document, uri, metadata)| {
            let encoding = embedding.as_ref().map(Embedding::encoding).or(encoding);
            OperationRecord { id, operation, encoding, embedding, document, uri, metadata }
        })
}
