//! A record read in place.

use std::fmt;

use bytes::Bytes;

use super::metadata::{self, MetadataView};
use super::reader::{Reader, malformed};
use super::{DecodeError, HEADER_BYTES, MAX_ID_BYTES, MAX_PAYLOAD_BYTES, RECORD_VERSION, flag};
use crate::ingest::record::{Embedding, Encoding, Metadata, Operation, OperationRecord};

/// An encoded record, checked to its last byte and not copied.
///
/// All that is in it is valid: texts are UTF-8, counts agree with the bytes, no metadata key
/// occurs twice. The embedding is read by nobody until it is asked for. Cloning costs a
/// reference count.
#[derive(Clone)]
pub struct RecordView {
    payload: Bytes,
    operation: Operation,
    encoding: Option<Encoding>,
    flags: u8,
    // Where the parts end. HEADER_BYTES <= embedding <= id <= document <= uri <= payload.len().
    embedding_end: usize,
    id_end: usize,
    document_end: usize,
    uri_end: usize,
}

impl RecordView {
    /// Checks all of `payload` and keeps it.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] for a version this build doesn't know,
    /// [`DecodeError::Malformed`] for anything that no record encodes to.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let header = Header::read(&payload)?;
        let mut bytes = Reader::new(payload.get(HEADER_BYTES..).unwrap_or_default(), HEADER_BYTES);
        bytes.take(header.dimensions.saturating_mul(4), "the embedding")?;
        let embedding_end = bytes.position();
        bytes.utf8(header.id, "the id")?;
        let id_end = bytes.position();
        bytes.utf8(header.document, "the document")?;
        let document_end = bytes.position();
        bytes.utf8(header.uri, "the uri")?;
        let uri_end = bytes.position();
        let metadata = bytes.take(header.metadata, "the metadata")?;
        if let [first, ..] = bytes.rest() {
            return Err(malformed(bytes.position(), "the end of the record", format!("byte {first:#04x}")));
        }
        if header.flags & flag::METADATA != 0 {
            metadata::validate(Reader::new(metadata, uri_end))?;
        }
        Ok(RecordView {
            operation: header.operation,
            encoding: header.encoding,
            flags: header.flags,
            embedding_end,
            id_end,
            document_end,
            uri_end,
            payload,
        })
    }

    /// The record's name in its collection.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(self.embedding_end, self.id_end)
    }

    /// What to do.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// How the embedding is stored; it may be named without one.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// The vector.
    #[must_use]
    pub fn embedding(&self) -> Option<EmbeddingView<'_>> {
        let encoding = self.encoding.filter(|_| self.has(flag::EMBEDDING))?;
        let raw = self.part(HEADER_BYTES, self.embedding_end);
        Some(EmbeddingView { payload: &self.payload, raw, encoding })
    }

    /// The text that was embedded.
    #[must_use]
    pub fn document(&self) -> Option<&str> {
        self.has(flag::DOCUMENT).then(|| self.text(self.id_end, self.document_end))
    }

    /// The text that was embedded, sharing the payload's memory.
    #[must_use]
    pub fn document_bytes(&self) -> Option<Bytes> {
        self.has(flag::DOCUMENT).then(|| self.payload.slice_ref(self.part(self.id_end, self.document_end)))
    }

    /// Where the embedded thing is to be found.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.has(flag::URI).then(|| self.text(self.document_end, self.uri_end))
    }

    /// Keys and values, read in place.
    #[must_use]
    pub fn metadata_view(&self) -> Option<MetadataView<'_>> {
        let bytes = self.part(self.uri_end, self.payload.len());
        let open = || MetadataView::open(Reader::new(bytes, self.uri_end)).ok();
        self.has(flag::METADATA).then(open).flatten()
    }

    /// Keys and values, copied.
    #[must_use]
    pub fn metadata(&self) -> Option<Metadata> {
        self.metadata_view().map(|view| view.to_metadata())
    }

    /// The encoded record.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// All of it, copied.
    #[must_use]
    pub fn to_record(&self) -> OperationRecord {
        OperationRecord {
            id: self.id().to_owned(),
            operation: self.operation,
            encoding: self.encoding,
            embedding: self.embedding().map(|view| view.to_embedding()),
            document: self.document().map(str::to_owned),
            uri: self.uri().map(str::to_owned),
            metadata: self.metadata(),
        }
    }

    fn has(&self, part: u8) -> bool {
        self.flags & part != 0
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.payload.get(start..end).unwrap_or_default()
    }

    /// `decode` has found UTF-8 here. To be told so a second time costs little, and the way to
    /// spare it is unsafe.
    fn text(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(self.part(start, end)).unwrap_or_default()
    }
}

impl fmt::Debug for RecordView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("id", &self.id())
            .field("operation", &self.operation)
            .field("encoding", &self.encoding)
            .field("dimensions", &self.embedding().map(|view| view.dimensions()))
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Equal if the payloads are: a record has one encoding only.
impl PartialEq for RecordView {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload
    }
}

impl Eq for RecordView {}

/// The fixed part of a record. Parts that the flags say are absent have size 0.
struct Header {
    operation: Operation,
    encoding: Option<Encoding>,
    flags: u8,
    id: usize,
    dimensions: usize,
    document: usize,
    uri: usize,
    metadata: usize,
}

impl Header {
    fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Reader::new(payload, 0);
        match bytes.u8("a version")? {
            RECORD_VERSION => {}
            0 => return Err(malformed(0, "version 1", "0")),
            found => {
                return Err(DecodeError::Newer { found, supported: RECORD_VERSION });
            }
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            let found = format!("{} bytes", payload.len());
            return Err(malformed(MAX_PAYLOAD_BYTES, "at most 256 MiB", found));
        }
        let code = bytes.u8("an operation")?;
        let operation = Operation::from_code(code)
            .ok_or_else(|| malformed(1, "an operation, 0 to 4", code.to_string()))?;
        let encoding = match bytes.u8("an encoding")? {
            0 => None,
            1 => Some(Encoding::Float32),
            2 => Some(Encoding::Int32),
            other => return Err(malformed(2, "an encoding, 0 to 2", other.to_string())),
        };
        let flags = bytes.u8("flags")?;
        if flags & !flag::ALL != 0 {
            return Err(malformed(3, "flags among 0x0f", format!("{flags:#04x}")));
        }
        if flags & flag::EMBEDDING != 0 && encoding.is_none() {
            return Err(malformed(2, "an encoding for the embedding", "none"));
        }
        let header = Header {
            operation,
            encoding,
            flags,
            id: bytes.u32("the id's length")?,
            dimensions: size(&mut bytes, flags & flag::EMBEDDING, "the dimensions")?,
            document: size(&mut bytes, flags & flag::DOCUMENT, "the document's length")?,
            uri: size(&mut bytes, flags & flag::URI, "the uri's length")?,
            metadata: size(&mut bytes, flags & flag::METADATA, "the metadata's length")?,
        };
        if header.id > MAX_ID_BYTES {
            return Err(malformed(4, "an id of at most 65535 bytes", header.id.to_string()));
        }
        Ok(header)
    }
}

/// The size of a part, which is 0 where the part is absent.
fn size(bytes: &mut Reader<'_>, present: u8, expected: &'static str) -> Result<usize, DecodeError> {
    let position = bytes.position();
    match bytes.u32(expected)? {
        found if present == 0 && found != 0 => {
            Err(malformed(position, "0 as the size of an absent part", found.to_string()))
        }
        size => Ok(size),
    }
}

/// A vector in its record's bytes. Reading it costs nothing but what is taken from it.
#[derive(Clone, Copy)]
pub struct EmbeddingView<'a> {
    payload: &'a Bytes,
    raw: &'a [u8],
    encoding: Encoding,
}

impl<'a> EmbeddingView<'a> {
    /// How many numbers it has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.raw.as_chunks::<4>().0.len()
    }

    /// How its numbers are stored.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Its bytes, little-endian. In a payload that starts at a multiple of 8, so do they.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Its bytes, sharing the payload's memory.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.payload.slice_ref(self.raw)
    }

    /// Its numbers; none unless they are stored as [`Encoding::Float32`].
    #[must_use]
    pub fn f32s(&self) -> Option<impl ExactSizeIterator<Item = f32> + use<'a>> {
        let numbers = self.raw.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
        (self.encoding == Encoding::Float32).then_some(numbers)
    }

    /// Its numbers; none unless they are stored as [`Encoding::Int32`].
    #[must_use]
    pub fn i32s(&self) -> Option<impl ExactSizeIterator<Item = i32> + use<'a>> {
        let numbers = self.raw.as_chunks::<4>().0.iter().map(|x| i32::from_le_bytes(*x));
        (self.encoding == Encoding::Int32).then_some(numbers)
    }

    /// Its numbers, copied.
    #[must_use]
    pub fn to_embedding(&self) -> Embedding {
        let numbers = self.raw.as_chunks::<4>().0.iter();
        match self.encoding {
            Encoding::Float32 => Embedding::F32(numbers.map(|x| f32::from_le_bytes(*x)).collect()),
            Encoding::Int32 => Embedding::I32(numbers.map(|x| i32::from_le_bytes(*x)).collect()),
        }
    }
}

impl fmt::Debug for EmbeddingView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingView")
            .field("encoding", &self.encoding)
            .field("dimensions", &self.dimensions())
            .finish_non_exhaustive()
    }
}
