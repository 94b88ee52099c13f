//! From a record to a line of JSON.

use std::io;

use serde::Serialize;

use super::Envelope;
use crate::ingest::record::{Embedding, Encoding, Metadata, MetadataValue, OperationRecord, SparseVector};

/// Writes one line with its line end. Equal records make equal lines.
///
/// ```
/// use stratalog::ingest::{Envelope, OperationRecord, write_line};
///
/// let record = OperationRecord::add("a").embedding([0.5f32]).metadata_entry("score", 1.0);
/// let mut out = Vec::new();
/// write_line(&mut out, Envelope { seq_id: Some(7), ..Envelope::default() }, &record)?;
/// let expected = r#"{"seq_id":7,"id":"a","operation":"ADD","embedding":[0.5],"metadata":{"score":1.0}}"#;
/// assert_eq!(String::from_utf8_lossy(&out), format!("{expected}\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What `out` returns; after that a part of the line may have been written. Of kind
/// `InvalidInput`, with an [`EncodeError`](super::super::EncodeError) inside and nothing
/// written, if the record's encoding is not its embedding's.
pub fn write_line<W: io::Write>(
    out: &mut W,
    envelope: Envelope<'_>,
    record: &OperationRecord,
) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    record.check_encoding().map_err(invalid)?;
    out.write_all(b"{")?;
    optional(out, "collection", envelope.collection)?;
    optional(out, "seq_id", envelope.seq_id)?;
    optional(out, "log_offset", envelope.log_offset)?;
    field(out, "id", &record.id)?;
    out.write_all(b",\"operation\":")?;
    plain(out, record.operation.name())?;
    // A list of numbers is an embedding of f32 where nothing else is said.
    let named = match record.embedding {
        Some(_) => record.encoding.filter(|encoding| *encoding == Encoding::Int32),
        None => record.encoding,
    };
    if let Some(encoding) = named {
        out.write_all(b",\"encoding\":")?;
        plain(out, encoding.name())?;
    }
    if let Some(embedding) = &record.embedding {
        out.write_all(b",\"embedding\":")?;
        match embedding {
            Embedding::F32(values) => list(out, values, |out, value| float(out, *value))?,
            Embedding::I32(values) => list(out, values, plain)?,
        }
    }
    for (name, text) in [("document", &record.document), ("uri", &record.uri)] {
        if let Some(text) = text {
            out.write_all(b",")?;
            field(out, name, text)?;
        }
    }
    if let Some(metadata) = &record.metadata {
        out.write_all(b",\"metadata\":")?;
        write_metadata(out, metadata)?;
    }
    out.write_all(b"}\n")
}

fn write_metadata<W: io::Write>(out: &mut W, metadata: &Metadata) -> io::Result<()> {
    out.write_all(b"{")?;
    for (at, (key, value)) in metadata.iter().enumerate() {
        out.write_all(if at == 0 { b"" } else { b"," })?;
        plain(out, key)?;
        out.write_all(b":")?;
        write_value(out, value)?;
    }
    out.write_all(b"}")
}

fn write_value<W: io::Write>(out: &mut W, value: &MetadataValue) -> io::Result<()> {
    match value {
        MetadataValue::Null => out.write_all(b"null"),
        MetadataValue::Str(text) => plain(out, text),
        MetadataValue::Int(value) => plain(out, value),
        MetadataValue::Float(value) => double(out, value),
        MetadataValue::Bool(value) => plain(out, value),
        MetadataValue::StrList(values) => typed_list(out, "string_list", values, plain),
        MetadataValue::IntList(values) => typed_list(out, "int_list", values, plain),
        MetadataValue::FloatList(values) => typed_list(out, "float_list", values, double),
        MetadataValue::BoolList(values) => typed_list(out, "bool_list", values, plain),
        MetadataValue::SparseVector(vector) => write_sparse(out, vector),
    }
}

fn write_sparse<W: io::Write>(out: &mut W, vector: &SparseVector) -> io::Result<()> {
    out.write_all(br##"{"#type":"sparse_vector","indices":"##)?;
    list(out, vector.indices(), plain)?;
    out.write_all(b",\"values\":")?;
    list(out, vector.values(), |out, value| float(out, *value))?;
    if let Some(tokens) = vector.tokens() {
        out.write_all(b",\"tokens\":")?;
        list(out, tokens, plain)?;
    }
    out.write_all(b"}")
}

/// A list says its type by its elements; where it has none, by its name.
fn typed_list<W: io::Write, T>(
    out: &mut W,
    kind: &str,
    values: &[T],
    write: impl Fn(&mut W, &T) -> io::Result<()>,
) -> io::Result<()> {
    if values.is_empty() {
        return write!(out, r##"{{"#type":"{kind}","values":[]}}"##);
    }
    list(out, values, write)
}

fn list<W: io::Write, T>(
    out: &mut W,
    values: &[T],
    write: impl Fn(&mut W, &T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        write(out, value)?;
    }
    out.write_all(b"]")
}

fn float<W: io::Write>(out: &mut W, value: f32) -> io::Result<()> {
    match value.is_finite() {
        true => plain(out, &value),
        false => write!(out, r##"{{"#type":"f32_bits","bits":"{:08x}"}}"##, value.to_bits()),
    }
}

fn double<W: io::Write>(out: &mut W, value: &f64) -> io::Result<()> {
    match value.is_finite() {
        true => plain(out, value),
        false => write!(out, r##"{{"#type":"f64_bits","bits":"{:016x}"}}"##, value.to_bits()),
    }
}

fn optional<W: io::Write, T: Serialize>(out: &mut W, name: &str, value: Option<T>) -> io::Result<()> {
    match value {
        Some(value) => {
            field(out, name, &value)?;
            out.write_all(b",")
        }
        None => Ok(()),
    }
}

fn field<W: io::Write, T: Serialize + ?Sized>(out: &mut W, name: &str, value: &T) -> io::Result<()> {
    plain(out, name)?;
    out.write_all(b":")?;
    plain(out, value)
}

/// A value for which JSON has a word. Finite floats come out as short as they read back, with
/// a point or an exponent; integers without.
fn plain<W: io::Write, T: Serialize + ?Sized>(out: &mut W, value: &T) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}
