//! From a record to bytes.
//!
//! Measuring comes first and checks every limit; writing cannot fail after it.

use super::{
    EncodeError, HEADER_BYTES, MAX_ID_BYTES, MAX_KEY_BYTES, MAX_METADATA_ENTRIES, MAX_PAYLOAD_BYTES,
    RECORD_VERSION, encoding_code, flag, tag,
};
use crate::ingest::record::{Embedding, Metadata, MetadataValue, OperationRecord, SparseVector};

impl OperationRecord {
    /// Appends the record's bytes to `out`.
    ///
    /// # Errors
    /// [`EncodeError::Limit`] if a part is too large, [`EncodeError::Encoding`] if the encoding
    /// is not the embedding's. `out` is as it was then.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let sizes = Sizes::of(self)?;
        out.reserve(sizes.payload as usize);
        self.put_header(&sizes, out);
        match &self.embedding {
            Some(Embedding::F32(values)) => put_all(out, values, |x| x.to_le_bytes()),
            Some(Embedding::I32(values)) => put_all(out, values, |x| x.to_le_bytes()),
            None => {}
        }
        out.extend_from_slice(self.id.as_bytes());
        for text in [&self.document, &self.uri].into_iter().flatten() {
            out.extend_from_slice(text.as_bytes());
        }
        if let Some(metadata) = &self.metadata {
            put_metadata(out, metadata);
        }
        Ok(())
    }

    /// The bytes that [`encode_into`](OperationRecord::encode_into) would append.
    ///
    /// # Errors
    /// As [`encode_into`](OperationRecord::encode_into).
    pub fn encoded_bytes(&self) -> Result<usize, EncodeError> {
        Sizes::of(self).map(|sizes| sizes.payload as usize)
    }

    /// Refuses an encoding that is not the embedding's.
    pub(in crate::ingest) fn check_encoding(&self) -> Result<(), EncodeError> {
        match self.embedding.as_ref().map(Embedding::encoding) {
            Some(expected) if self.encoding != Some(expected) => {
                Err(EncodeError::Encoding { expected, found: self.encoding })
            }
            _ => Ok(()),
        }
    }

    fn put_header(&self, sizes: &Sizes, out: &mut Vec<u8>) {
        let mut flags = 0;
        for (present, bit) in [
            (self.embedding.is_some(), flag::EMBEDDING),
            (self.document.is_some(), flag::DOCUMENT),
            (self.uri.is_some(), flag::URI),
            (self.metadata.is_some(), flag::METADATA),
        ] {
            flags |= if present { bit } else { 0 };
        }
        let encoding = encoding_code(self.encoding);
        out.extend_from_slice(&[RECORD_VERSION, self.operation.code(), encoding, flags]);
        for size in [sizes.id, sizes.dimensions, sizes.document, sizes.uri, sizes.metadata] {
            put_len(out, size as usize);
        }
    }
}

/// The sizes of a record's parts. Each fits `u32`, as their sum is at most
/// [`MAX_PAYLOAD_BYTES`].
struct Sizes {
    id: u64,
    dimensions: u64,
    document: u64,
    uri: u64,
    metadata: u64,
    payload: u64,
}

impl Sizes {
    fn of(record: &OperationRecord) -> Result<Self, EncodeError> {
        record.check_encoding()?;
        check("id bytes", record.id.len(), MAX_ID_BYTES)?;
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() as u64);
        let mut sizes = Sizes {
            id: record.id.len() as u64,
            dimensions: record.embedding.as_ref().map_or(0, Embedding::dimensions) as u64,
            document: text(&record.document),
            uri: text(&record.uri),
            metadata: record.metadata.as_ref().map_or(Ok(0), metadata_bytes)?,
            payload: 0,
        };
        sizes.payload = sum([
            HEADER_BYTES as u64,
            sizes.dimensions.saturating_mul(4),
            sizes.id,
            sizes.document,
            sizes.uri,
            sizes.metadata,
        ]);
        check_u64("record bytes", sizes.payload, MAX_PAYLOAD_BYTES as u64)?;
        Ok(sizes)
    }
}

fn check(what: &'static str, size: usize, limit: usize) -> Result<(), EncodeError> {
    check_u64(what, size as u64, limit as u64)
}

fn check_u64(what: &'static str, size: u64, limit: u64) -> Result<(), EncodeError> {
    if size <= limit { Ok(()) } else { Err(EncodeError::Limit { what, size, limit }) }
}

fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

fn metadata_bytes(metadata: &Metadata) -> Result<u64, EncodeError> {
    check("metadata entries", metadata.len(), MAX_METADATA_ENTRIES)?;
    let mut bytes = 4u64;
    for (key, value) in metadata.iter() {
        check("metadata key bytes", key.len(), MAX_KEY_BYTES)?;
        bytes = sum([bytes, 3, key.len() as u64, value_bytes(value)]);
    }
    Ok(bytes)
}

fn value_bytes(value: &MetadataValue) -> u64 {
    let list = |count: usize, width: u64| (count as u64).saturating_mul(width).saturating_add(4);
    match value {
        MetadataValue::Null => 0,
        MetadataValue::Str(text) => list(text.len(), 1),
        MetadataValue::Int(_) | MetadataValue::Float(_) => 8,
        MetadataValue::Bool(_) => 1,
        MetadataValue::StrList(texts) => texts_bytes(texts).saturating_add(4),
        MetadataValue::IntList(values) => list(values.len(), 8),
        MetadataValue::FloatList(values) => list(values.len(), 8),
        MetadataValue::BoolList(values) => list(values.len(), 1),
        MetadataValue::SparseVector(vector) => {
            let tokens = vector.tokens().map_or(0, texts_bytes);
            list(vector.indices().len(), 8).saturating_add(tokens)
        }
    }
}

fn texts_bytes(texts: &[String]) -> u64 {
    sum(texts.iter().map(|text| (text.len() as u64).saturating_add(4)))
}

fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    put_len(out, metadata.len());
    for (key, value) in metadata.iter() {
        out.extend_from_slice(&(key.len() as u16).to_le_bytes());
        out.push(value_tag(value));
        out.extend_from_slice(key.as_bytes());
        put_value(out, value);
    }
}

fn value_tag(value: &MetadataValue) -> u8 {
    match value {
        MetadataValue::Null => tag::NULL,
        MetadataValue::Str(_) => tag::STR,
        MetadataValue::Int(_) => tag::INT,
        MetadataValue::Float(_) => tag::FLOAT,
        MetadataValue::Bool(_) => tag::BOOL,
        MetadataValue::StrList(_) => tag::STR_LIST,
        MetadataValue::IntList(_) => tag::INT_LIST,
        MetadataValue::FloatList(_) => tag::FLOAT_LIST,
        MetadataValue::BoolList(_) => tag::BOOL_LIST,
        MetadataValue::SparseVector(vector) => match vector.tokens() {
            None => tag::SPARSE,
            Some(_) => tag::SPARSE_TOKENS,
        },
    }
}

fn put_value(out: &mut Vec<u8>, value: &MetadataValue) {
    match value {
        MetadataValue::Null => {}
        MetadataValue::Str(text) => put_text(out, text),
        MetadataValue::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
        MetadataValue::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
        MetadataValue::Bool(value) => out.push(u8::from(*value)),
        MetadataValue::StrList(texts) => {
            put_len(out, texts.len());
            texts.iter().for_each(|text| put_text(out, text));
        }
        MetadataValue::IntList(values) => {
            put_len(out, values.len());
            put_all(out, values, |x| x.to_le_bytes());
        }
        MetadataValue::FloatList(values) => {
            put_len(out, values.len());
            put_all(out, values, |x| x.to_le_bytes());
        }
        MetadataValue::BoolList(values) => {
            put_len(out, values.len());
            out.extend(values.iter().map(|value| u8::from(*value)));
        }
        MetadataValue::SparseVector(vector) => put_sparse(out, vector),
    }
}

fn put_sparse(out: &mut Vec<u8>, vector: &SparseVector) {
    put_len(out, vector.indices().len());
    put_all(out, vector.indices(), |x| x.to_le_bytes());
    put_all(out, vector.values(), |x| x.to_le_bytes());
    vector.tokens().into_iter().flatten().for_each(|token| put_text(out, token));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&(len as u32).to_le_bytes());
}

/// Appends numbers in one block, which on a little-endian machine is one copy.
fn put_all<T: Copy, const N: usize>(out: &mut Vec<u8>, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
    let start = out.len();
    out.resize(start.saturating_add(values.len().saturating_mul(N)), 0);
    let (chunks, _) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<N>();
    for (chunk, value) in chunks.iter_mut().zip(values) {
        *chunk = bytes(*value);
    }
}
