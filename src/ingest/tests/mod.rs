//! Promises that span more than one file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arbitrary;
mod codec;
mod damage;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod json_refusals;

use super::{Encoding, Metadata, MetadataValue, Operation, OperationRecord, SparseVector};

fn f32s(bits: &[u32]) -> Vec<f32> {
    bits.iter().copied().map(f32::from_bits).collect()
}

fn f64s(bits: &[u64]) -> Vec<f64> {
    bits.iter().copied().map(f64::from_bits).collect()
}

/// A record that has every field, and every type of value.
fn complete_record() -> OperationRecord {
    let sparse = SparseVector::new(vec![0, 7, u32::MAX], vec![0.5, -0.0, 2.0]).unwrap();
    let tokens = vec!["a".to_owned(), "ß".to_owned()];
    let with_tokens = SparseVector::with_tokens(vec![3, 9], vec![1.0, 2.0], tokens).unwrap();
    let mut metadata = Metadata::new();
    metadata
        .set("null", MetadataValue::Null)
        .set("str", "é\0")
        .set("int", i64::MIN)
        .set("float", -0.0)
        .set("bool", true)
        .set("strs", vec!["x".to_owned(), String::new()])
        .set("ints", vec![1i64, -2])
        .set("floats", vec![0.5, -2.25])
        .set("bools", vec![false, true])
        .set("sparse", sparse)
        .set("tokens", with_tokens);
    OperationRecord::upsert("id-1")
        .embedding([1.0f32, -2.5, 0.0])
        .document("text")
        .uri("file:///x")
        .metadata(metadata)
}

/// One record for each trap that the contract names.
fn traps() -> Vec<(&'static str, OperationRecord)> {
    let record = || OperationRecord::add("a");
    let with = |value: MetadataValue| record().metadata_entry("k", value);
    let bool_beside_numbers = record()
        .metadata_entry("false", false)
        .metadata_entry("zero", 0i64)
        .metadata_entry("zero float", 0.0)
        .metadata_entry("true", true)
        .metadata_entry("one", 1i64)
        .metadata_entry("one float", 1.0);
    let no_tokens = SparseVector::new(vec![], vec![]).unwrap();
    let empty_tokens = SparseVector::with_tokens(vec![], vec![], vec![]).unwrap();
    let nan_sparse = SparseVector::new(vec![1], f32s(&[0xffc0_1234])).unwrap();
    vec![
        ("a NaN's payload in a vector", record().embedding(f32s(&[0x7fc0_0001, 0xff80_0001]))),
        ("infinities in a vector", record().embedding([f32::INFINITY, f32::NEG_INFINITY])),
        ("-0.0 in a vector", record().embedding([0.0f32, -0.0])),
        ("the smallest floats", record().embedding(f32s(&[1, 0x8000_0001, 0x007f_ffff]))),
        ("the largest floats", record().embedding([f32::MAX, f32::MIN])),
        ("a NaN's payload in metadata", with(f64s(&[0x7ff8_0000_0000_0001])[0].into())),
        ("NaNs in a list", with(f64s(&[0x7ff0_0000_0000_0001, 0xfff8_0000_0000_0002]).into())),
        ("a NaN in a sparse vector", with(nan_sparse.into())),
        ("-0.0 in metadata", with((-0.0).into())),
        ("f64 beyond f32", with(vec![f64::MAX, f64::MIN_POSITIVE, 5e-324].into())),
        ("\\0 in every string", {
            OperationRecord::add("\0a\0").document("\0").uri("\0").metadata_entry("\0", "\0")
        }),
        ("non-ASCII in every string", {
            OperationRecord::add("ключ").document("漢字\u{2028}").uri("é").metadata_entry("🦀", "\u{7f}")
        }),
        ("i64::MIN and i64::MAX", with(vec![i64::MIN, i64::MAX].into())),
        ("integers that f64 can't hold", with(((1i64 << 53) + 1).into())),
        ("bool next to 0 and 1", bool_beside_numbers),
        ("a vector of INT32", record().embedding([i32::MIN, -1, 0, i32::MAX])),
        ("an empty vector of FLOAT32", record().embedding(Vec::<f32>::new())),
        ("an empty vector of INT32", record().embedding(Vec::<i32>::new())),
        ("FLOAT32 named without a vector", OperationRecord::delete("a").encoding(Encoding::Float32)),
        ("INT32 named without a vector", OperationRecord::update("a").encoding(Encoding::Int32)),
        ("no encoding", OperationRecord::delete("a")),
        ("an absent map", record()),
        ("an empty map", record().metadata(Metadata::new())),
        ("null: remove the key", OperationRecord::update("a").metadata_entry("k", MetadataValue::Null)),
        ("an empty list of strings", with(Vec::<String>::new().into())),
        ("an empty list of ints", with(Vec::<i64>::new().into())),
        ("an empty list of floats", with(Vec::<f64>::new().into())),
        ("an empty list of bools", with(Vec::<bool>::new().into())),
        ("a sparse vector without tokens", with(no_tokens.into())),
        ("a sparse vector with no tokens in it", with(empty_tokens.into())),
        ("BACKFILL_FN", OperationRecord::new(Operation::BackfillFn, "a")),
        ("an empty id", OperationRecord::upsert("")),
        ("empty strings that are there", record().document("").uri("").metadata_entry("", "")),
        ("keys that are not in order", record().metadata_entry("z", 1i64).metadata_entry("a", 2i64)),
        ("keys that are fields elsewhere", {
            record().document("x").metadata_entry("chroma:document", "y").metadata_entry("id", "z")
        }),
        ("text that looks like a tag", with(r##"{"#type":"f64_bits","bits":"0"}"##.into())),
        ("a key that looks like a tag", record().metadata_entry("#type", "sparse_vector")),
        ("every field", complete_record()),
    ]
}
