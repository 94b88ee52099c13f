//! Lines that are no record are refused with what was expected, what was found, and where.

use proptest::prelude::*;

use super::{arbitrary, complete_record};
use crate::ingest::{Envelope, parse_line, write_line};

fn refused(line: &[u8]) -> (Option<usize>, String) {
    let error = parse_line(line).expect_err(&String::from_utf8_lossy(line));
    (error.column(), error.to_string())
}

fn assert_refused(line: &str, column: usize, message: &str) {
    assert_eq!(refused(line.as_bytes()), (Some(column), format!("column {column}: {message}")));
}

/// A line with this field beside those that must be there.
fn with(field: &str) -> String {
    format!(r#"{{"id":"a","operation":"ADD",{field}}}"#)
}

/// The column at which the field in a line made by `with` begins.
const FIELD: usize = 29;

#[test]
fn what_is_no_object_is_refused() {
    assert_refused("", 1, "line: expected an object, found the end");
    assert_refused("[1]", 1, "line: expected an object, found [1]");
    assert_refused(r#"["c",1,1,"a","ADD"]"#, 1, r#"line: expected an object, found ["c",1,1,"a","ADD"]"#);
    assert_refused("{", 1, "line: EOF while parsing an object, at {");
    assert_refused("{}x", 3, "line: trailing characters, at x");
    assert_refused(&with("\"uri\":nul"), 38, "line: expected ident, at }");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_are() {
    let found = refused(b"{\"id\":\"\xff\"}");
    assert_eq!(found, (Some(8), "column 8: line: expected UTF-8, found byte 0xff".into()));
}

#[test]
fn missing_unknown_and_repeated_fields_are_refused() {
    let missing = refused(br#"{"id":"a"}"#);
    assert_eq!(missing, (None, "operation: expected a string, found none".into()));
    assert_eq!(refused(br#"{"operation":"ADD"}"#).1, "id: expected a string, found none");
    assert!(refused(with(r#""colour":1"#).as_bytes()).1.contains("unknown field `colour`"));
    assert!(refused(with(r#""id":"b""#).as_bytes()).1.contains("duplicate field `id`"));
}

#[test]
fn fields_of_another_type_are_refused() {
    let cases = [
        (r#""document":3"#, 11, "document: expected a string, found 3"),
        (r#""uri":["x"]"#, 6, r#"uri: expected a string, found ["x"]"#),
        (r#""seq_id":-1"#, 9, "seq_id: expected an integer from 0 to 18446744073709551615, found -1"),
        (r#""seq_id":"1""#, 9, r#"seq_id: expected an integer from 0 to 18446744073709551615, found "1""#),
        (
            r#""log_offset":1.0"#,
            13,
            "log_offset: expected an integer from 0 to 18446744073709551615, found 1.0",
        ),
        (r#""encoding":"F32""#, 11, r#"encoding: expected FLOAT32 or INT32, found "F32""#),
        (r#""embedding":{}"#, 12, "embedding: expected a list, found {}"),
        (r#""embedding":"[1]""#, 12, r#"embedding: expected a list, found "[1]""#),
        (r#""embedding":[1,"2"]"#, 15, r#"embedding: expected a number within f32, found "2""#),
        (r#""embedding":[1, [2]]"#, 16, "embedding: expected a number within f32, found [2]"),
        (r#""embedding":[1,null]"#, 15, "embedding: expected a number within f32, found null"),
        (r#""metadata":[]"#, 11, "metadata: expected an object, found []"),
        (
            r#""document":"\ud800""#,
            11,
            r#"document: expected a string without half surrogate pairs, found "\ud800""#,
        ),
    ];
    for (field, column, message) in cases {
        assert_refused(&with(field), FIELD + column, message);
    }
}

#[test]
fn numbers_beyond_their_type_are_refused() {
    let cases = [
        (r#""embedding":[0,1e39]"#, 15, "embedding: expected a number within f32, found 1e39"),
        (
            r#""embedding":[340282356779733661637539395458142568448]"#,
            13,
            "embedding: expected a number within f32, found 340282356779733661637539395458142568448",
        ),
        (
            r#""encoding":"INT32","embedding":[2147483648]"#,
            32,
            "embedding: expected an integer from -2147483648 to 2147483647, found 2147483648",
        ),
        (
            r#""encoding":"INT32","embedding":[1.0]"#,
            32,
            "embedding: expected an integer from -2147483648 to 2147483647, found 1.0",
        ),
        (
            r#""metadata":{"k":9223372036854775808}"#,
            16,
            "metadata \"k\": expected an integer from -9223372036854775808 to 9223372036854775807, found 9223372036854775808",
        ),
        (r#""metadata":{"k":-1e309}"#, 16, "metadata \"k\": expected a number within f64, found -1e309"),
    ];
    for (field, column, message) in cases {
        assert_refused(&with(field), FIELD + column, message);
    }
    // What rounds down to the largest f32 is within.
    assert!(parse_line(with(r#""embedding":[340282356779733661637539395458142568447]"#).as_bytes()).is_ok());
}

#[test]
fn numbers_that_json_does_not_know_are_refused() {
    for number in ["NaN", "Infinity", "-Infinity", "inf", "+1", ".5", "1.", "01", "0x1", "1_0", ""] {
        assert!(parse_line(with(&format!(r#""embedding":[1,{number}]"#)).as_bytes()).is_err(), "{number}");
        assert!(parse_line(with(&format!(r#""metadata":{{"k":{number}}}"#)).as_bytes()).is_err(), "{number}");
    }
}

#[test]
fn metadata_that_is_not_of_the_contract_is_refused() {
    let cases = [
        (r#"{"a":1}"#, "unknown field `a`"),
        (
            "{}",
            r##"expected an object whose "#type" is f64_bits or sparse_vector or string_list or int_list or float_list or bool_list, found {}"##,
        ),
        (r##"{"#type":"date"}"##, r#"found "date""#),
        (r##"{"#type":1}"##, "expected a string, found 1"),
        (r##"{"#type":"f32_bits","bits":"7fc00000"}"##, r#"found "f32_bits""#),
        (r##"{"#type":"f64_bits"}"##, r#"expected an object with "bits""#),
        (r##"{"#type":"f64_bits","bits":"7fc00000"}"##, r#"expected "bits" of 16 hexadecimal digits"#),
        (
            r##"{"#type":"f64_bits","bits":"+7ff800000000000"}"##,
            r#"expected "bits" of 16 hexadecimal digits"#,
        ),
        (r##"{"#type":"int_list","values":[],"tokens":[]}"##, r#"expected no "tokens" in a int_list"#),
        (r##"{"#type":"int_list"}"##, r#"expected an object with "values""#),
        (r##"{"#type":"int_list","values":[1.0]}"##, "expected the values of a int_list, found [1.0]"),
        (r##"{"#type":"int_list","#type":"int_list","values":[]}"##, "duplicate field `#type`"),
        (
            r##"{"#type":"sparse_vector","indices":[2,1],"values":[1,1]}"##,
            "expected an index above 2, found 1",
        ),
        (r##"{"#type":"sparse_vector","indices":[1],"values":[]}"##, "expected 1 values"),
        (
            r##"{"#type":"sparse_vector","indices":[1],"values":[1],"tokens":[2]}"##,
            "expected a string, found 2",
        ),
        (
            r##"{"#type":"sparse_vector","indices":[-1],"values":[1]}"##,
            "expected an integer from 0 to 4294967295, found -1",
        ),
        (
            r##"{"#type":"sparse_vector","indices":[1],"values":[1e39]}"##,
            "expected a number within f32, found 1e39",
        ),
        ("[]", r##"expected a typed list, as in {"#type":"int_list","values":[]}, found []"##),
        ("[1,2.0]", "expected a list of one type, found [1,2.0]"),
        ("[true,1]", "expected a list of one type"),
        ("[1,null]", "expected a list of one type"),
        ("[null]", "expected a list of strings, ints, floats or bools, found [null]"),
        ("[[1]]", "expected a string, a number, a bool or null, found [1]"),
        (r##"[{"#type":"int_list","values":[]}]"##, r##"expected an object whose "#type" is f64_bits"##),
    ];
    for (value, message) in cases {
        let (column, found) = refused(with(&format!(r#""metadata":{{"k":{value}}}"#)).as_bytes());
        assert!(found.contains(r#"metadata "k": "#), "{found}");
        assert!(found.contains(message), "{found}");
        assert!(column.unwrap() >= FIELD + 16, "{found}");
    }
}

#[test]
fn a_repeated_metadata_key_is_refused_in_small_and_large_maps() {
    for count in [1, 2000] {
        let keys: Vec<_> = (0..count).map(|i| format!(r#""k{i}":0"#)).collect();
        let field = format!(r#""metadata":{{{},"k\u0030":1}}"#, keys.join(","));
        let found = refused(with(&field).as_bytes()).1;
        assert!(found.ends_with(r#"metadata "k0": expected one value of this key, found 1"#), "{found}");
    }
}

#[test]
fn deep_nesting_is_refused_without_going_deep() {
    let depth = 1_000_000;
    for (open, close) in [("[", "]"), (r##"{"#type":"int_list","values":"##, "}"), (r#"{"k":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for field in ["id", "embedding", "metadata", "collection"] {
            refused(format!(r#"{{"operation":"ADD","{field}":{deep}}}"#).as_bytes());
        }
        refused(with(&format!(r#""metadata":{{"k":{deep}}}"#)).as_bytes());
        refused(deep.as_bytes());
        refused(open.repeat(depth).as_bytes());
    }
}

#[test]
fn what_was_found_is_shown_in_part_if_it_is_long() {
    let long = "é".repeat(1000);
    let (_, found) = refused(format!(r#"{{"id":"a","operation":"{long}"}}"#).as_bytes());
    assert!(found.len() < 250 && found.ends_with("..."), "{found}");
}

fn line() -> Vec<u8> {
    let mut out = Vec::new();
    let envelope = Envelope { collection: Some("c"), seq_id: Some(7), log_offset: Some(3) };
    write_line(&mut out, envelope, &complete_record()).unwrap();
    out
}

#[test]
fn every_truncation_of_a_line_is_refused() {
    let line = line();
    for len in 0..line.len() - 1 {
        assert!(parse_line(&line[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn no_changed_byte_panics() {
    let line = line();
    for at in 0..line.len() {
        for byte in 0..=255 {
            let mut changed = line.clone();
            changed[at] = byte;
            // What still is a line can be written and read again.
            if let Ok(parsed) = parse_line(&changed) {
                let mut out = Vec::new();
                write_line(&mut out, parsed.envelope(), &parsed.record).unwrap();
                assert_eq!(parse_line(&out).as_ref(), Ok(&parsed));
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in r##"[\[\]{}:,"\\#a-z0-9eE. é-]{0,60}"##) {
        let _ = parse_line(text.as_bytes());
        let _ = parse_line(with(&format!(r#""metadata":{{"k":{text}}}"#)).as_bytes());
        let _ = parse_line(with(&format!(r#""embedding":{text}"#)).as_bytes());
    }

    #[test]
    fn no_damage_to_any_line_panics(
        record in arbitrary::record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut out = Vec::new();
        write_line(&mut out, Envelope::default(), &record).unwrap();
        let at = at.index(out.len());
        out[at] = byte;
        let _ = parse_line(&out);
    }
}
