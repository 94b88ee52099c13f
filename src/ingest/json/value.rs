//! Lists, numbers and metadata out of raw JSON.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::JsonError;
use super::source::{Name, Source};
use super::tagged::{list_of, read_f32_bits, read_f64_bits, read_tagged};
use crate::ingest::record::{Metadata, MetadataValue, repeated_key};

pub(super) fn read_floats<'a>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
) -> Result<Vec<f32>, JsonError> {
    let finite = |token: &str| token.parse().ok().filter(|value: &f32| value.is_finite());
    match plain_numbers(list, finite) {
        Some(values) => Ok(values),
        None => read_list(source, list, name, |element| match element.starts_with('{') {
            true => read_f32_bits(source, element, name),
            false => finite(element).ok_or_else(|| source.wrong(name, "a number within f32", element)),
        }),
    }
}

pub(super) fn read_i32s<'a>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
) -> Result<Vec<i32>, JsonError> {
    read_integers(source, list, name, "an integer from -2147483648 to 2147483647")
}

pub(super) fn read_u32s<'a>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
) -> Result<Vec<u32>, JsonError> {
    read_integers(source, list, name, "an integer from 0 to 4294967295")
}

fn read_integers<'a, T: std::str::FromStr>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
    expected: &str,
) -> Result<Vec<T>, JsonError> {
    match plain_numbers(list, |token| token.parse().ok()) {
        Some(values) => Ok(values),
        None => read_list(source, list, name, |element| {
            element.parse().map_err(|_| source.wrong(name, expected, element))
        }),
    }
}

/// The elements of a list if they are plain numbers that `parse` takes: the usual case, without
/// a heap allocation per element. What can't be taken is looked at more closely by
/// [`read_list`]. As `list` is valid JSON, what lies between two of its commas and parses is
/// one of its numbers.
fn plain_numbers<T>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let inner = list.strip_prefix('[')?.strip_suffix(']')?.trim_ascii();
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let commas = inner.bytes().filter(|byte| *byte == b',').count();
    let mut values = Vec::with_capacity(commas + 1);
    for token in inner.split(',') {
        values.push(parse(token.trim_ascii())?);
    }
    Some(values)
}

/// The elements of a list, each read by `read`.
pub(super) fn read_list<'a, T>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
    read: impl Fn(&'a str) -> Result<T, JsonError>,
) -> Result<Vec<T>, JsonError> {
    if !list.starts_with('[') {
        return Err(source.wrong(name, "a list", list));
    }
    let elements: Vec<&RawValue> = source.parse(list, name)?;
    elements.into_iter().map(|element| read(element.get())).collect()
}

/// Reads the map of a record's metadata.
pub(super) fn read_metadata<'a>(source: Source<'a>, object: &'a str) -> Result<Metadata, JsonError> {
    let Entries(entries) = source.object(object, Name::Field("metadata"))?;
    let mut keys: Vec<_> = entries.iter().enumerate().map(|(at, (key, _))| (key.as_str(), at)).collect();
    if let Some((key, value)) = repeated_key(&mut keys).and_then(|at| entries.get(at)) {
        return Err(source.wrong(Name::Key(key), "one value of this key", value.get()));
    }
    let mut values = Vec::with_capacity(entries.len());
    for (key, raw) in entries {
        let value = read_value(source, raw.get(), &key)?;
        values.push((key, value));
    }
    Ok(Metadata::from_unique(values))
}

/// An object's entries as they stand, repeated keys and all.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

fn read_value<'a>(source: Source<'a>, raw: &'a str, key: &str) -> Result<MetadataValue, JsonError> {
    let name = Name::Key(key);
    match raw.bytes().next() {
        Some(b'{') => read_tagged(source, raw, name),
        Some(b'[') => {
            let values = read_elements(source, raw, name)?;
            let kind = values.first().map(list_kind);
            let expected = match kind {
                Some(Some(_)) => "a list of one type",
                Some(None) => "a list of strings, ints, floats or bools",
                None => r##"a typed list, as in {"#type":"int_list","values":[]}"##,
            };
            kind.flatten()
                .and_then(|kind| list_of(kind, values))
                .ok_or_else(|| source.wrong(name, expected, raw))
        }
        _ => read_plain(source, raw, name),
    }
}

/// The `#type` of lists of such values.
fn list_kind(value: &MetadataValue) -> Option<&'static str> {
    match value {
        MetadataValue::Str(_) => Some("string_list"),
        MetadataValue::Int(_) => Some("int_list"),
        MetadataValue::Float(_) => Some("float_list"),
        MetadataValue::Bool(_) => Some("bool_list"),
        _ => None,
    }
}

/// The elements of a list in metadata. None of them is a list or holds one, so nothing here
/// goes deeper than that, however deep the line is.
pub(super) fn read_elements<'a>(
    source: Source<'a>,
    list: &'a str,
    name: Name<'_>,
) -> Result<Vec<MetadataValue>, JsonError> {
    read_list(source, list, name, |element| match element.starts_with('{') {
        true => read_f64_bits(source, element, name).map(MetadataValue::Float),
        false => read_plain(source, element, name),
    })
}

fn read_plain(source: Source<'_>, raw: &str, name: Name<'_>) -> Result<MetadataValue, JsonError> {
    match raw.bytes().next() {
        Some(b'"') => source.string(raw, name).map(MetadataValue::Str),
        Some(b't') => Ok(MetadataValue::Bool(true)),
        Some(b'f') => Ok(MetadataValue::Bool(false)),
        Some(b'n') => Ok(MetadataValue::Null),
        Some(b'-' | b'0'..=b'9') => read_number(source, raw, name),
        _ => Err(source.wrong(name, "a string, a number, a bool or null", raw)),
    }
}

fn read_number(source: Source<'_>, raw: &str, name: Name<'_>) -> Result<MetadataValue, JsonError> {
    if raw.contains(['.', 'e', 'E']) {
        let finite = raw.parse().ok().filter(|value: &f64| value.is_finite());
        let refuse = || source.wrong(name, "a number within f64", raw);
        return finite.map(MetadataValue::Float).ok_or_else(refuse);
    }
    let expected = "an integer from -9223372036854775808 to 9223372036854775807";
    raw.parse().map(MetadataValue::Int).map_err(|_| source.wrong(name, expected, raw))
}
