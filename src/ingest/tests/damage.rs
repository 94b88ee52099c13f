//! Bytes that are no record are refused, and nothing panics over them.

use bytes::Bytes;
use proptest::prelude::*;

use super::{arbitrary, complete_record, traps};
use crate::ingest::{DecodeError, MetadataValue, OperationRecord, RecordView};

fn encode(record: &OperationRecord) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode_into(&mut out).unwrap();
    out
}

fn decode(bytes: impl Into<Vec<u8>>) -> Result<RecordView, DecodeError> {
    RecordView::decode(Bytes::from(bytes.into()))
}

/// Decodes; what decodes must encode to itself.
fn check_canonical(bytes: &[u8]) {
    if let Ok(view) = decode(bytes) {
        assert_eq!(encode(&view.to_record()), bytes);
    }
}

/// A record whose metadata is these bytes.
fn with_metadata(metadata: &[u8]) -> Vec<u8> {
    let mut bytes = encode(&OperationRecord::add("a"));
    bytes[3] = 8;
    bytes[20..24].copy_from_slice(&(metadata.len() as u32).to_le_bytes());
    bytes.extend_from_slice(metadata);
    bytes
}

fn refused(bytes: impl Into<Vec<u8>>) -> (usize, &'static str, String) {
    match decode(bytes).unwrap_err() {
        DecodeError::Malformed { position, expected, found } => (position, expected, found),
        other => panic!("{other}"),
    }
}

#[test]
fn every_truncation_is_refused() {
    for (name, record) in traps() {
        let bytes = encode(&record);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{name}, {len} bytes");
        }
    }
}

#[test]
fn bytes_behind_a_record_are_refused() {
    let mut bytes = encode(&complete_record());
    let end = bytes.len();
    bytes.push(0);
    assert_eq!(refused(bytes), (end, "the end of the record", "byte 0x00".into()));
}

#[test]
fn every_changed_byte_is_refused_or_is_another_record() {
    let bytes = encode(&complete_record());
    for at in 0..bytes.len() {
        for change in 1..=255 {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            check_canonical(&changed);
        }
    }
}

#[test]
fn a_newer_version_is_newer_and_not_damaged() {
    let mut bytes = encode(&complete_record());
    bytes[0] = 2;
    let error = decode(bytes).unwrap_err();
    assert_eq!(error, DecodeError::Newer { found: 2, supported: 1 });
    assert!(error.to_string().contains("newer"));
    assert_eq!(decode([9]).unwrap_err(), DecodeError::Newer { found: 9, supported: 1 });
}

#[test]
fn zeros_and_nothing_are_no_record() {
    assert_eq!(refused([0; 64]), (0, "version 1", "0".into()));
    assert_eq!(refused([]).0, 0);
}

#[test]
fn a_header_that_makes_no_sense_is_refused_where_it_does() {
    let cases = [
        (1, 5, 1, "an operation, 0 to 4"),
        (2, 3, 2, "an encoding, 0 to 2"),
        (2, 0, 2, "an encoding for the embedding"),
        (3, 0x1f, 3, "flags among 0x0f"),
        (3, 0x0e, 8, "0 as the size of an absent part"),
        (3, 0x0d, 12, "0 as the size of an absent part"),
        (3, 0x0b, 16, "0 as the size of an absent part"),
        (3, 0x07, 20, "0 as the size of an absent part"),
        (6, 1, 4, "an id of at most 65535 bytes"),
    ];
    for (at, byte, position, expected) in cases {
        let mut bytes = encode(&complete_record());
        bytes[at] = byte;
        let found = refused(bytes);
        assert_eq!((found.0, found.1), (position, expected), "byte {at} is {byte}");
    }
}

#[test]
fn a_size_beyond_the_bytes_is_refused_before_anything_is_allocated() {
    for at in [8, 12, 16, 20] {
        let mut bytes = encode(&complete_record());
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(bytes).is_err(), "{at}");
    }
    let most = u32::MAX.to_le_bytes();
    assert_eq!(refused(with_metadata(&most)).1, "a count of metadata entries");
    for (tag, expected) in [
        (1, "a text"),
        (5, "a count of texts"),
        (6, "a count of ints"),
        (7, "a count of floats"),
        (8, "a count of bools"),
        (9, "a count of indices and values"),
        (10, "a count of indices and values"),
    ] {
        let metadata = [&[1, 0, 0, 0, 0, 0, tag][..], &most].concat();
        let (position, what, found) = refused(with_metadata(&metadata));
        assert_eq!((position, what), (25 + 7, expected));
        assert_eq!(found, "4294967295, and 0 bytes after it");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_is_not() {
    let mut bytes = encode(&OperationRecord::add("ab").document("cd").uri("ef"));
    for at in 24..30 {
        let good = bytes[at];
        bytes[at] = 0xff;
        let (position, _, found) = refused(bytes.clone());
        assert_eq!((position, found.as_str()), (at, "byte 0xff, which is not UTF-8 there"));
        bytes[at] = good;
    }
    // A character that ends in the next field is none.
    let mut bytes = encode(&OperationRecord::add("é").document(""));
    bytes[4] = 1;
    bytes[12] = 1;
    assert_eq!(refused(bytes).1, "the id");
    assert_eq!(refused(with_metadata(&[1, 0, 0, 0, 1, 0, 0, 0xff])).1, "a metadata key");
}

#[test]
fn metadata_that_makes_no_sense_is_refused() {
    let one = |entry: &[u8]| with_metadata(&[&[1, 0, 0, 0][..], entry].concat());
    assert_eq!(refused(with_metadata(&[])).1, "a count of metadata entries");
    assert_eq!(refused(with_metadata(&[0, 0, 0, 0, 7])).1, "the end of the metadata");
    assert_eq!(refused(one(&[0, 0, 11])).1, "the type of a metadata value, 0 to 10");
    assert_eq!(refused(one(&[0, 0, 4, 2])).1, "a bool, 0 or 1");
    let bools = refused(one(&[0, 0, 8, 2, 0, 0, 0, 1, 3]));
    assert_eq!(bools, (25 + 4 + 8, "a bool, 0 or 1", "3".into()));
    let indices = [0, 0, 9, 2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let found = refused(one(&indices));
    assert_eq!(found, (25 + 4 + 11, "an index above the one before it", "4".into()));
}

#[test]
fn a_repeated_key_is_refused_in_small_and_large_maps() {
    for count in [2u32, 16, 17, 5000] {
        let mut metadata = count.to_le_bytes().to_vec();
        for number in (1..count).chain([1]) {
            metadata.extend_from_slice(&[4, 0, 0]);
            metadata.extend_from_slice(format!("{number:04}").as_bytes());
        }
        let (position, expected, _) = refused(with_metadata(&metadata));
        assert_eq!(expected, "a metadata key not given before");
        assert_eq!(position, 25 + 4 + 7 * (count as usize - 1));
    }
}

#[test]
fn metadata_entries_over_the_limit_are_refused() {
    let metadata = [&65_537u32.to_le_bytes()[..], &[0; 3 * 65_537]].concat();
    assert_eq!(refused(with_metadata(&metadata)).1, "at most 65536 metadata entries");
}

#[test]
fn a_large_map_is_checked_in_good_time() {
    let prefix = "x".repeat(200);
    let entries = (0..65_536).map(|i| (format!("{prefix}{i}"), MetadataValue::Null));
    let metadata = crate::ingest::Metadata::try_from(entries.collect::<Vec<_>>()).unwrap();
    let bytes = encode(&OperationRecord::add("a").metadata(metadata));
    let start = std::time::Instant::now();
    decode(bytes).unwrap();
    // Comparing every key with every other would take minutes.
    assert!(start.elapsed().as_secs() < 10);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_canonical(&bytes);
    }

    #[test]
    fn any_truncation_of_any_record_is_refused(record in arbitrary::record()) {
        let bytes = encode(&record);
        for len in 0..bytes.len() {
            prop_assert!(decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn any_change_of_any_record_is_refused_or_canonical(
        record in arbitrary::record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&record);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_canonical(&bytes);
    }
}
