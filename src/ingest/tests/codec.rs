//! What is encoded is decoded, to the bit, and the layout does not move.

use bytes::Bytes;
use proptest::prelude::*;

use super::{arbitrary, complete_record, f32s, traps};
use crate::ingest::{
    EncodeError, Encoding, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_METADATA_ENTRIES, MAX_PAYLOAD_BYTES, Metadata,
    MetadataValue, Operation, OperationRecord, RecordView,
};

fn encode(record: &OperationRecord) -> Bytes {
    let mut out = Vec::new();
    record.encode_into(&mut out).unwrap();
    assert_eq!(record.encoded_bytes(), Ok(out.len()));
    Bytes::from(out)
}

fn assert_round_trip(record: &OperationRecord, name: &str) {
    let payload = encode(record);
    let view = RecordView::decode(payload.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.to_record(), *record, "{name}");
    assert_eq!(encode(&view.to_record()), payload, "{name}");
}

/// `complete_record`, and with it every part of the layout. If this fails, records that were
/// written before can't be read: a new layout needs a new version.
const GOLDEN: &str = "
    01 02 01 0f  04000000 03000000 04000000 09000000 e5000000
    0000803f 000020c0 00000000
    69642d31  74657874  66696c653a2f2f2f78
    0b000000
    0400 00 6e756c6c
    0300 01 737472     03000000 c3a900
    0300 02 696e74     0000000000000080
    0500 03 666c6f6174 0000000000000080
    0400 04 626f6f6c   01
    0400 05 73747273   02000000 01000000 78 00000000
    0400 06 696e7473   02000000 0100000000000000 feffffffffffffff
    0600 07 666c6f617473 02000000 000000000000e03f 00000000000002c0
    0500 08 626f6f6c73 02000000 00 01
    0600 09 737061727365 03000000 00000000 07000000 ffffffff 0000003f 00000080 00000040
    0600 0a 746f6b656e73 02000000 03000000 09000000 0000803f 00000040
         01000000 61 02000000 c39f
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_layout_is_the_golden_one() {
    let golden: String = GOLDEN.split_whitespace().collect();
    assert_eq!(hex(&encode(&complete_record())), golden);
    assert_round_trip(&complete_record(), "complete");
}

#[test]
fn the_smallest_record_is_its_header() {
    assert_eq!(hex(&encode(&OperationRecord::delete(""))), format!("0103{}", "00".repeat(22)));
}

#[test]
fn every_trap_of_the_contract_round_trips() {
    for (name, record) in traps() {
        assert_round_trip(&record, name);
    }
}

#[test]
fn different_traps_have_different_bytes() {
    let traps = traps();
    for (i, (a, x)) in traps.iter().enumerate() {
        for (b, y) in traps.iter().take(i) {
            assert_ne!(encode(x), encode(y), "{a}, {b}");
        }
    }
}

#[test]
fn a_view_gives_each_field_without_copying_the_large_ones() {
    let record = complete_record();
    let payload = encode(&record);
    let view = RecordView::decode(payload.clone()).unwrap();
    assert_eq!(view.id(), "id-1");
    assert_eq!(view.operation(), Operation::Upsert);
    assert_eq!(view.encoding(), Some(Encoding::Float32));
    assert_eq!(view.document(), Some("text"));
    assert_eq!(view.uri(), Some("file:///x"));
    assert_eq!(view.metadata(), record.metadata);
    assert_eq!(view.payload(), &payload);

    let inside = payload.as_ptr_range();
    let embedding = view.embedding().unwrap();
    assert_eq!(embedding.dimensions(), 3);
    assert_eq!(embedding.bytes(), embedding.as_bytes());
    assert!(inside.contains(&embedding.bytes().as_ptr()));
    assert!(inside.contains(&view.document_bytes().unwrap().as_ptr()));
    assert_eq!(view.document_bytes().unwrap(), "text");
    assert!(embedding.f32s().unwrap().eq([1.0, -2.5, 0.0]));
    assert!(embedding.i32s().is_none());
    assert_eq!(Some(embedding.to_embedding()), record.embedding);
}

#[test]
fn a_view_gives_metadata_value_by_value() {
    let view = RecordView::decode(encode(&complete_record())).unwrap();
    let metadata = view.metadata_view().unwrap();
    assert_eq!((metadata.len(), metadata.is_empty()), (11, false));
    assert!(metadata.find("null").unwrap().is_null());
    assert_eq!(metadata.find("str").unwrap().as_str(), Some("é\0"));
    assert_eq!(metadata.find("int").unwrap().as_int(), Some(i64::MIN));
    assert_eq!(metadata.find("int").unwrap().as_float(), None);
    assert_eq!(metadata.find("float").unwrap().as_float().map(f64::to_bits), Some(1 << 63));
    assert_eq!(metadata.find("bool").unwrap().as_bool(), Some(true));
    assert_eq!(metadata.find("ints").unwrap().to_value(), vec![1i64, -2].into());
    assert!(metadata.find("absent").is_none());

    let bare = RecordView::decode(encode(&OperationRecord::add("a"))).unwrap();
    assert!(bare.metadata_view().is_none() && bare.document().is_none() && bare.uri().is_none());
    assert!(bare.embedding().is_none() && bare.document_bytes().is_none());
}

#[test]
fn an_empty_embedding_and_document_are_there() {
    let record = OperationRecord::add("a").embedding(Vec::<i32>::new()).document("");
    let view = RecordView::decode(encode(&record)).unwrap();
    assert_eq!(view.embedding().unwrap().i32s().unwrap().len(), 0);
    assert!(view.embedding().unwrap().bytes().is_empty());
    assert!(view.document_bytes().unwrap().is_empty());
}

#[test]
fn the_embedding_stands_at_a_multiple_of_eight() {
    for id in ["", "a", "some longer id"] {
        let payload = encode(&OperationRecord::add(id).embedding([1.5f32]).document("odd"));
        let view = RecordView::decode(payload.clone()).unwrap();
        let start = view.embedding().unwrap().as_bytes().as_ptr() as usize;
        assert_eq!((start - payload.as_ptr() as usize) % 8, 0);
    }
}

#[test]
fn what_is_encoded_follows_what_was_there() {
    let mut out = b"before".to_vec();
    complete_record().encode_into(&mut out).unwrap();
    assert_eq!(out.strip_prefix(b"before").unwrap(), encode(&complete_record()));
}

#[test]
fn what_is_over_a_limit_names_it_and_writes_nothing() {
    let long = |bytes: usize| "x".repeat(bytes);
    let entries = |count: usize| {
        let list = (0..count).map(|i| (i.to_string(), MetadataValue::Null)).collect::<Vec<_>>();
        Metadata::try_from(list).unwrap()
    };
    let at_the_limit = [
        OperationRecord::add(long(MAX_ID_BYTES)),
        OperationRecord::add("a").metadata_entry(long(MAX_KEY_BYTES), 1i64),
        OperationRecord::add("a").metadata(entries(MAX_METADATA_ENTRIES)),
    ];
    for record in &at_the_limit {
        assert_round_trip(record, "at a limit");
    }
    let over = [
        ("id bytes", MAX_ID_BYTES, OperationRecord::add(long(MAX_ID_BYTES + 1))),
        ("metadata key bytes", MAX_KEY_BYTES, {
            OperationRecord::add("a").metadata_entry(long(MAX_KEY_BYTES + 1), 1i64)
        }),
        ("metadata entries", MAX_METADATA_ENTRIES, {
            OperationRecord::add("a").metadata(entries(MAX_METADATA_ENTRIES + 1))
        }),
    ];
    for (name, most, record) in over {
        let mut out = vec![7];
        let error = record.encode_into(&mut out).unwrap_err();
        let size = most as u64 + 1;
        assert_eq!(error, EncodeError::Limit { what: name, size, limit: most as u64 });
        assert_eq!(out, [7], "{name}");
    }
}

#[test]
fn a_record_over_256_mib_is_refused_before_anything_is_written() {
    let record = OperationRecord::add("").document("\0".repeat(MAX_PAYLOAD_BYTES));
    let error = record.encode_into(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "record bytes: expected at most 268435456, found 268435480");
}

#[test]
fn an_encoding_that_is_not_the_embeddings_is_refused() {
    for found in [None, Some(Encoding::Int32)] {
        let mut record = OperationRecord::add("a").embedding(f32s(&[1]));
        record.encoding = found;
        let mut out = vec![7];
        let error = record.encode_into(&mut out).unwrap_err();
        assert_eq!(error, EncodeError::Encoding { expected: Encoding::Float32, found });
        assert_eq!(out, [7]);
    }
}

proptest! {
    #[test]
    fn any_record_round_trips(record in arbitrary::record()) {
        assert_round_trip(&record, "arbitrary");
    }
}
