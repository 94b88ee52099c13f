//! What is written as a line is read back, to the bit.

use proptest::prelude::*;

use super::{arbitrary, complete_record, traps};
use crate::ingest::{
    Embedding, Encoding, Envelope, JsonLine, MetadataValue, OperationRecord, parse_line, write_line,
};

fn write(envelope: Envelope<'_>, record: &OperationRecord) -> String {
    let mut out = Vec::new();
    write_line(&mut out, envelope, record).unwrap();
    String::from_utf8(out).unwrap()
}

fn assert_round_trip(record: &OperationRecord, name: &str) {
    let text = write(Envelope::default(), record);
    let line = parse_line(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
    assert_eq!(line.record, *record, "{name}: {text}");
    assert_eq!(line.envelope(), Envelope::default());
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{name}: one line");
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{name}: {text}");
}

fn parse(text: &str) -> JsonLine {
    parse_line(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The metadata value that `json` stands for.
fn value(json: &str) -> MetadataValue {
    let line = parse(&format!(r#"{{"id":"a","operation":"ADD","metadata":{{"k":{json}}}}}"#));
    line.record.metadata.unwrap().get("k").unwrap().clone()
}

fn embedding(json: &str) -> Vec<f32> {
    let line = parse(&format!(r#"{{"id":"a","operation":"ADD","embedding":{json}}}"#));
    match line.record.embedding.unwrap() {
        Embedding::F32(values) => values,
        Embedding::I32(values) => panic!("{values:?}"),
    }
}

#[test]
fn every_trap_of_the_contract_round_trips() {
    for (name, record) in traps() {
        assert_round_trip(&record, name);
    }
}

#[test]
fn a_line_has_one_form() {
    let envelope = Envelope { collection: Some("c"), seq_id: Some(7), log_offset: Some(3) };
    let expected = concat!(
        r#"{"collection":"c","seq_id":7,"log_offset":3,"id":"id-1","operation":"UPSERT","#,
        r#""embedding":[1.0,-2.5,0.0],"document":"text","uri":"file:///x","metadata":{"#,
        r#""null":null,"str":"é\u0000","int":-9223372036854775808,"float":-0.0,"bool":true,"#,
        r#""strs":["x",""],"ints":[1,-2],"floats":[0.5,-2.25],"bools":[false,true],"#,
        r##""sparse":{"#type":"sparse_vector","indices":[0,7,4294967295],"values":[0.5,-0.0,2.0]},"##,
        r##""tokens":{"#type":"sparse_vector","indices":[3,9],"values":[1.0,2.0],"tokens":["a","ß"]}}}"##,
        "\n"
    );
    assert_eq!(write(envelope, &complete_record()), expected);
    let line = parse(expected);
    assert_eq!(line.envelope(), envelope);
    assert_eq!(line.record, complete_record());
}

#[test]
fn the_form_of_what_json_has_no_word_for() {
    let special = OperationRecord::add("a")
        .embedding([f32::from_bits(0x7fc0_0001), 0.5])
        .metadata_entry("nan", f64::from_bits(0xfff8_0000_0000_0001))
        .metadata_entry("none", Vec::<i64>::new());
    let expected = concat!(
        r##"{"id":"a","operation":"ADD","embedding":[{"#type":"f32_bits","bits":"7fc00001"},0.5],"##,
        r##""metadata":{"nan":{"#type":"f64_bits","bits":"fff8000000000001"},"##,
        r##""none":{"#type":"int_list","values":[]}}}"##,
        "\n"
    );
    assert_eq!(write(Envelope::default(), &special), expected);

    let integers = OperationRecord::add("a").embedding([1i32, -2]);
    let expected = r#"{"id":"a","operation":"ADD","encoding":"INT32","embedding":[1,-2]}"#;
    assert_eq!(write(Envelope::default(), &integers).trim_end(), expected);

    let named = OperationRecord::delete("a").encoding(Encoding::Float32);
    let expected = r#"{"id":"a","operation":"DELETE","encoding":"FLOAT32"}"#;
    assert_eq!(write(Envelope::default(), &named).trim_end(), expected);
}

#[test]
fn a_line_as_others_write_it_is_read() {
    let line = concat!(
        r#"  {"metadata": {"page": 3, "ok": true}, "document": "caf\u00e9 \ud83e\udd80", "#,
        r#""embedding": [ -0.0807226 , 6e-2,1, -2.32481e-08 ], "operation": "ADD", "id": "a" } "#,
        "\r\n"
    );
    let record = parse(line).record;
    let expected = OperationRecord::add("a")
        .embedding([-0.0807226f32, 0.06, 1.0, -2.32481e-8])
        .document("café 🦀")
        .metadata_entry("page", 3i64)
        .metadata_entry("ok", true);
    assert_eq!(record, expected);
}

#[test]
fn null_is_absent_beside_metadata_values() {
    let line = concat!(
        r#"{"collection":null,"seq_id":null,"log_offset":null,"id":"a","operation":"DELETE","#,
        r#""encoding":null,"embedding":null,"document":null,"uri":null,"metadata":null}"#
    );
    let line = parse(line);
    assert_eq!(line.record, OperationRecord::delete("a"));
    assert_eq!(line.envelope(), Envelope::default());
}

#[test]
fn f32_is_read_without_a_detour_through_f64() {
    // Just above the middle between 1 and the next f32; rounded to f64 first, it is the middle,
    // and would then go to the even neighbour, which is 1.
    let above = "1.00000005960464477539062500000000000001";
    assert_eq!(embedding(&format!("[{above}]")), [1.0 + f32::EPSILON]);
    assert_eq!(above.parse::<f64>().unwrap() as f32, 1.0);
    let sparse = format!(r##"{{"#type":"sparse_vector","indices":[1],"values":[{above}]}}"##);
    let MetadataValue::SparseVector(sparse) = value(&sparse) else { panic!() };
    assert_eq!(sparse.values(), [1.0 + f32::EPSILON]);
}

#[test]
fn f64_is_read_exactly() {
    for text in ["0.3", "2.2250738585072011e-308", "9007199254740993.0", "1e23", "-5e-324"] {
        assert_eq!(value(text), MetadataValue::Float(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn ints_and_floats_are_told_apart_by_their_form() {
    assert_eq!(value("1"), 1i64.into());
    assert_eq!(value("1.0"), 1.0.into());
    assert_eq!(value("1e0"), 1.0.into());
    assert_eq!(value("1E2"), 100.0.into());
    assert_eq!(value("-0.0"), (-0.0).into());
    assert_eq!(value("[1,2]"), vec![1i64, 2].into());
    assert_eq!(value("[1.0,2e0]"), vec![1.0, 2.0].into());
    assert_eq!(embedding("[-0,1]")[0].to_bits(), (-0.0f32).to_bits());
}

#[test]
fn typed_lists_may_have_elements() {
    assert_eq!(value(r##"{"#type":"int_list","values":[1]}"##), vec![1i64].into());
    assert_eq!(value(r##"{"values":["x"],"#type":"string_list"}"##), vec!["x".to_owned()].into());
    let nan = r##"{"#type":"f64_bits","bits":"7FF8000000000000"}"##;
    assert_eq!(value(&format!("[0.5,{nan}]")), vec![0.5, f64::NAN].into());
}

#[test]
fn an_embedding_and_another_encoding_is_not_written() {
    let mut record = OperationRecord::add("a").embedding([1i32]);
    record.encoding = Some(Encoding::Float32);
    let mut out = Vec::new();
    let error = write_line(&mut out, Envelope::default(), &record).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn any_record_round_trips(record in arbitrary::record()) {
        assert_round_trip(&record, "arbitrary");
    }

    #[test]
    fn any_f32_round_trips(bits in prop::collection::vec(any::<u32>(), 100)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        assert_round_trip(&OperationRecord::add("a").embedding(values), "f32");
    }

    #[test]
    fn any_envelope_round_trips(
        collection in prop::option::of(".{0,9}"),
        seq_id in any::<Option<u64>>(),
        log_offset in any::<Option<u64>>(),
    ) {
        let envelope = Envelope { collection: collection.as_deref(), seq_id, log_offset };
        let line = parse(&write(envelope, &OperationRecord::delete("a")));
        prop_assert_eq!(line.envelope(), envelope);
    }
}
