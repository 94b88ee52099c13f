//! From a line of JSON to a record.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::source::{Name, Source};
use super::value::{read_floats, read_i32s, read_metadata};
use super::{JsonError, JsonLine};
use crate::ingest::record::{Embedding, Encoding, Operation, OperationRecord};

/// Reads one line. A line end may follow the object; nothing else may.
///
/// ```
/// let line = br#"{"id":"a","operation":"ADD","embedding":[0.1,2],"metadata":{"page":3}}"#;
/// let line = stratalog::ingest::parse_line(line)?;
/// assert_eq!(line.record.id, "a");
/// assert_eq!(line.collection, None);
///
/// let error = stratalog::ingest::parse_line(br#"{"id":"a","operation":"PUT"}"#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "column 23: operation: expected ADD, UPDATE, UPSERT, DELETE or BACKFILL_FN, found \"PUT\""
/// );
/// # Ok::<(), stratalog::ingest::JsonError>(())
/// ```
///
/// # Errors
/// [`JsonError`] if the line is not one object in UTF-8 whose fields are those of an operation
/// record, each once and of its type.
pub fn parse_line(line: &[u8]) -> Result<JsonLine, JsonError> {
    let source = Source::new(line)?;
    let fields: Fields<'_> = source.object(source.text(), Name::Field("line"))?;
    let required = |field: Option<&RawValue>, name| match field {
        Some(raw) => source.string(raw.get(), Name::Field(name)),
        None => Err(JsonError::new(None, format!("{name}: expected a string, found none"))),
    };
    let string = |field: Option<&RawValue>, name| {
        field.map(|raw| source.string(raw.get(), Name::Field(name))).transpose()
    };
    let number = |field: Option<&RawValue>, name| {
        let expected = "an integer from 0 to 18446744073709551615";
        let read = |raw: &RawValue| {
            raw.get().parse().map_err(|_| source.wrong(Name::Field(name), expected, raw.get()))
        };
        field.map(read).transpose()
    };

    let id = required(fields.id, "id")?;
    let name = required(fields.operation, "operation")?;
    let operation = Operation::from_name(&name).ok_or_else(|| {
        let found = fields.operation.map_or("", RawValue::get);
        source.wrong(Name::Field("operation"), "ADD, UPDATE, UPSERT, DELETE or BACKFILL_FN", found)
    })?;
    let (encoding, embedding) = read_embedding(source, fields.encoding, fields.embedding)?;
    Ok(JsonLine {
        collection: string(fields.collection, "collection")?,
        seq_id: number(fields.seq_id, "seq_id")?,
        log_offset: number(fields.log_offset, "log_offset")?,
        record: OperationRecord {
            id,
            operation,
            encoding,
            embedding,
            document: string(fields.document, "document")?,
            uri: string(fields.uri, "uri")?,
            metadata: fields.metadata.map(|raw| read_metadata(source, raw.get())).transpose()?,
        },
    })
}

/// Each field as it stands in the line: numbers must not pass through another type, and an
/// error can say which field it is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    collection: Option<&'a RawValue>,
    seq_id: Option<&'a RawValue>,
    log_offset: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    operation: Option<&'a RawValue>,
    encoding: Option<&'a RawValue>,
    embedding: Option<&'a RawValue>,
    document: Option<&'a RawValue>,
    uri: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

fn read_embedding<'a>(
    source: Source<'a>,
    encoding: Option<&RawValue>,
    embedding: Option<&'a RawValue>,
) -> Result<(Option<Encoding>, Option<Embedding>), JsonError> {
    let named = match encoding {
        None => None,
        Some(raw) => {
            let name = source.string(raw.get(), Name::Field("encoding"))?;
            let refuse = || source.wrong(Name::Field("encoding"), "FLOAT32 or INT32", raw.get());
            Some(Encoding::from_name(&name).ok_or_else(refuse)?)
        }
    };
    let Some(raw) = embedding else {
        return Ok((named, None));
    };
    let embedding = match named {
        None | Some(Encoding::Float32) => {
            Embedding::F32(read_floats(source, raw.get(), Name::Field("embedding"))?)
        }
        Some(Encoding::Int32) => Embedding::I32(read_i32s(source, raw.get(), Name::Field("embedding"))?),
    };
    Ok((Some(embedding.encoding()), Some(embedding)))
}
