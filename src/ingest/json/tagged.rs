//! What JSON has no word for: objects that name their `#type`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonError;
use super::source::{Name, Source};
use super::value::{read_elements, read_floats, read_list, read_u32s};
use crate::ingest::record::{MetadataValue, SparseVector};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tagged<'a> {
    #[serde(rename = "#type", borrow)]
    kind: Option<&'a RawValue>,
    bits: Option<&'a RawValue>,
    values: Option<&'a RawValue>,
    indices: Option<&'a RawValue>,
    tokens: Option<&'a RawValue>,
}

impl<'a> Tagged<'a> {
    /// Reads the object; its `#type` must be among `kinds`, each given with its fields.
    fn read(
        source: Source<'a>,
        object: &'a str,
        name: Name<'_>,
        kinds: &[(&'static str, &[&str])],
    ) -> Result<(&'static str, Self), JsonError> {
        let tagged: Tagged<'a> = source.object(object, name)?;
        let found = match tagged.kind {
            Some(raw) => source.string(raw.get(), name)?,
            None => String::new(),
        };
        let Some((kind, fields)) = kinds.iter().find(|(kind, _)| *kind == found) else {
            let known: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
            let expected = format!("an object whose \"#type\" is {}", known.join(" or "));
            let part = tagged.kind.map_or(object, RawValue::get);
            return Err(source.wrong(name, &expected, part));
        };
        for (field, value) in [
            ("bits", tagged.bits),
            ("values", tagged.values),
            ("indices", tagged.indices),
            ("tokens", tagged.tokens),
        ] {
            if let Some(raw) = value.filter(|_| !fields.contains(&field)) {
                let expected = format!("no {field:?} in a {kind}");
                return Err(source.wrong(name, &expected, raw.get()));
            }
        }
        Ok((kind, tagged))
    }
}

pub(super) fn read_f32_bits<'a>(
    source: Source<'a>,
    object: &'a str,
    name: Name<'_>,
) -> Result<f32, JsonError> {
    let (_, tagged) = Tagged::read(source, object, name, &[("f32_bits", &["bits"])])?;
    let bits = read_bits(source, tagged.bits, object, name, 8)?;
    Ok(f32::from_bits(bits as u32))
}

pub(super) fn read_f64_bits<'a>(
    source: Source<'a>,
    object: &'a str,
    name: Name<'_>,
) -> Result<f64, JsonError> {
    let (_, tagged) = Tagged::read(source, object, name, &[("f64_bits", &["bits"])])?;
    read_bits(source, tagged.bits, object, name, 16).map(f64::from_bits)
}

fn read_bits(
    source: Source<'_>,
    bits: Option<&RawValue>,
    object: &str,
    name: Name<'_>,
    digits: usize,
) -> Result<u64, JsonError> {
    let text = source.string(field(source, bits, "bits", object, name)?.get(), name)?;
    let valid = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(&text, 16).ok().filter(|_| valid);
    let expected = format!("\"bits\" of {digits} hexadecimal digits");
    number.ok_or_else(|| source.wrong(name, &expected, object))
}

/// Any tagged value that metadata can have.
pub(super) fn read_tagged<'a>(
    source: Source<'a>,
    object: &'a str,
    name: Name<'_>,
) -> Result<MetadataValue, JsonError> {
    let (kind, tagged) = Tagged::read(
        source,
        object,
        name,
        &[
            ("f64_bits", &["bits"]),
            ("sparse_vector", &["indices", "values", "tokens"]),
            ("string_list", &["values"]),
            ("int_list", &["values"]),
            ("float_list", &["values"]),
            ("bool_list", &["values"]),
        ],
    )?;
    match kind {
        "f64_bits" => read_bits(source, tagged.bits, object, name, 16)
            .map(|bits| MetadataValue::Float(f64::from_bits(bits))),
        "sparse_vector" => read_sparse(source, &tagged, object, name).map(MetadataValue::SparseVector),
        _ => {
            let list = field(source, tagged.values, "values", object, name)?.get();
            let values = read_elements(source, list, name)?;
            let expected = format!("the values of a {kind}");
            list_of(kind, values).ok_or_else(|| source.wrong(name, &expected, list))
        }
    }
}

fn read_sparse<'a>(
    source: Source<'a>,
    tagged: &Tagged<'a>,
    object: &'a str,
    name: Name<'_>,
) -> Result<SparseVector, JsonError> {
    let indices = field(source, tagged.indices, "indices", object, name)?.get();
    let values = field(source, tagged.values, "values", object, name)?.get();
    let tokens =
        tagged.tokens.map(|raw| read_list(source, raw.get(), name, |element| source.string(element, name)));
    SparseVector::from_parts(
        read_u32s(source, indices, name)?,
        read_floats(source, values, name)?,
        tokens.transpose()?,
    )
    .map_err(|error| source.about(name, &error, object))
}

/// A field that a tagged object must have.
fn field<'a>(
    source: Source<'_>,
    value: Option<&'a RawValue>,
    field: &str,
    object: &str,
    name: Name<'_>,
) -> Result<&'a RawValue, JsonError> {
    value.ok_or_else(|| source.wrong(name, &format!("an object with {field:?}"), object))
}

/// A list of that `#type`, if all the values fit it.
pub(super) fn list_of(kind: &str, values: Vec<MetadataValue>) -> Option<MetadataValue> {
    macro_rules! all {
        ($scalar:ident, $list:ident) => {{
            let each = values.into_iter().map(|value| match value {
                MetadataValue::$scalar(value) => Some(value),
                _ => None,
            });
            each.collect::<Option<_>>().map(MetadataValue::$list)
        }};
    }
    match kind {
        "string_list" => all!(Str, StrList),
        "int_list" => all!(Int, IntList),
        "float_list" => all!(Float, FloatList),
        "bool_list" => all!(Bool, BoolList),
        _ => None,
    }
}
