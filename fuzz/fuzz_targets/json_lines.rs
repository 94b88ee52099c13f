//! Lines of JSON: whatever parses is written as a line that parses to the same, and the record in
//! it survives the binary codec too.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stratalog::ingest::{RecordView, parse_line, write_line};

fuzz_target!(|data: &[u8]| {
    let Ok(line) = parse_line(data) else { return };
    let mut written = Vec::new();
    write_line(&mut written, line.envelope(), &line.record).expect("what was parsed can be written");
    let again = parse_line(&written).expect("what was written parses");
    assert_eq!(again, line);
    let mut twice = Vec::new();
    write_line(&mut twice, again.envelope(), &again.record).expect("what was parsed can be written");
    assert_eq!(twice, written, "equal records make equal lines");

    let mut payload = Vec::new();
    if line.record.encode_into(&mut payload).is_ok() {
        let view = RecordView::decode(Bytes::from(payload)).expect("what was encoded decodes");
        assert_eq!(view.to_record(), line.record);
    }
});
