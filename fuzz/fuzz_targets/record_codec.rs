//! Operation records: whatever decodes has exactly the bytes it encodes to.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stratalog::ingest::RecordView;

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    let Ok(view) = RecordView::decode(payload) else { return };
    let record = view.to_record();
    let mut again = Vec::new();
    record.encode_into(&mut again).expect("what was decoded is within the limits");
    assert_eq!(again, data, "a record has one encoding");
    assert_eq!(record.encoded_bytes(), Ok(data.len()));
    if let Some(metadata) = view.metadata_view() {
        for (key, value) in metadata.iter() {
            let found = metadata.find(key).expect("the key is there");
            assert_eq!(found.to_value(), value.to_value(), "keys are unique");
        }
    }
});
