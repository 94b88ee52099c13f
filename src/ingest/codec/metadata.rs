//! Metadata read in place.

use super::reader::{Reader, Text, malformed};
use super::{DecodeError, MAX_METADATA_ENTRIES, tag};
use crate::ingest::record::{FEW_KEYS, Metadata, MetadataValue, SparseVector, repeated_key};

/// The fewest bytes an entry takes: the length of an empty key, a type, and a null.
const ENTRY_BYTES: usize = 3;

/// The metadata of a [`RecordView`](super::RecordView), decoded as far as it is asked for.
#[derive(Debug, Clone)]
pub struct MetadataView<'a> {
    count: usize,
    entries: Reader<'a>,
}

impl<'a> MetadataView<'a> {
    /// Reads the count. The entries are trusted: [`validate`] has seen them.
    pub(super) fn open(mut bytes: Reader<'a>) -> Result<Self, DecodeError> {
        let position = bytes.position();
        let count = bytes.count(ENTRY_BYTES, "a count of metadata entries")?;
        if count > MAX_METADATA_ENTRIES {
            return Err(malformed(position, "at most 65536 metadata entries", count.to_string()));
        }
        Ok(MetadataView { count, entries: bytes })
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, ValueView<'a>)> + use<'a> {
        let mut entries = self.entries.clone();
        // The bytes are valid, so the count and the end of the entries agree.
        (0..self.count).map_while(move |_| {
            let (key, value) = read_entry(&mut entries).ok()?;
            Some((key.as_str(), value))
        })
    }

    /// The value of a key, found by looking at one entry after the other.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<ValueView<'a>> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All of it, copied.
    #[must_use]
    pub fn to_metadata(&self) -> Metadata {
        let mut entries = Vec::with_capacity(self.count);
        entries.extend(self.iter().map(|(key, value)| (key.to_owned(), value.to_value())));
        Metadata::from_unique(entries)
    }
}

/// Checks metadata to its last byte.
pub(super) fn validate(bytes: Reader<'_>) -> Result<(), DecodeError> {
    let MetadataView { count, mut entries } = MetadataView::open(bytes)?;
    let mut few = [(Text::default(), 0); FEW_KEYS];
    let mut many = Vec::new();
    let keys = match few.get_mut(..count) {
        Some(keys) => keys,
        None => {
            many.resize(count, (Text::default(), 0));
            many.as_mut_slice()
        }
    };
    for slot in &mut *keys {
        let position = entries.position();
        *slot = (read_entry(&mut entries)?.0, position);
    }
    if let [first, ..] = entries.rest() {
        return Err(malformed(entries.position(), "the end of the metadata", format!("byte {first:#04x}")));
    }
    match repeated_key(keys) {
        Some(position) => Err(malformed(position, "a metadata key not given before", "a repeated key")),
        None => Ok(()),
    }
}

fn read_entry<'a>(bytes: &mut Reader<'a>) -> Result<(Text<'a>, ValueView<'a>), DecodeError> {
    let key_bytes = bytes.u16("the length of a metadata key")?;
    let type_position = bytes.position();
    let type_tag = bytes.u8("the type of a metadata value")?;
    let key = bytes.utf8(key_bytes, "a metadata key")?;
    Ok((key, ValueView(read_value(bytes, type_tag, type_position)?)))
}

fn read_value<'a>(
    bytes: &mut Reader<'a>,
    type_tag: u8,
    type_position: usize,
) -> Result<Value<'a>, DecodeError> {
    Ok(match type_tag {
        tag::NULL => Value::Null,
        tag::STR => Value::Str(bytes.text("a text")?),
        tag::INT => Value::Int(i64::from_le_bytes(bytes.array("an int")?)),
        tag::FLOAT => Value::Float(f64::from_le_bytes(bytes.array("a float")?)),
        tag::BOOL => Value::Bool(read_bools(bytes, 1)? == [1]),
        tag::STR_LIST => {
            let count = bytes.count(4, "a count of texts")?;
            Value::StrList(read_texts(bytes, count)?)
        }
        tag::INT_LIST => {
            let count = bytes.count(8, "a count of ints")?;
            Value::IntList(bytes.chunks(count, "ints")?)
        }
        tag::FLOAT_LIST => {
            let count = bytes.count(8, "a count of floats")?;
            Value::FloatList(bytes.chunks(count, "floats")?)
        }
        tag::BOOL_LIST => {
            let count = bytes.count(1, "a count of bools")?;
            Value::BoolList(read_bools(bytes, count)?)
        }
        tag::SPARSE | tag::SPARSE_TOKENS => {
            Value::Sparse(read_sparse(bytes, type_tag == tag::SPARSE_TOKENS)?)
        }
        other => {
            return Err(malformed(type_position, "the type of a metadata value, 0 to 10", other.to_string()));
        }
    })
}

fn read_bools<'a>(bytes: &mut Reader<'a>, count: usize) -> Result<&'a [u8], DecodeError> {
    let start = bytes.position();
    let bools = bytes.take(count, "bools")?;
    match bools.iter().enumerate().find(|(_, byte)| **byte > 1) {
        Some((at, byte)) => Err(malformed(start.saturating_add(at), "a bool, 0 or 1", byte.to_string())),
        None => Ok(bools),
    }
}

fn read_texts<'a>(bytes: &mut Reader<'a>, count: usize) -> Result<Texts<'a>, DecodeError> {
    let texts = Texts { count, bytes: bytes.clone() };
    for _ in 0..count {
        bytes.text("a text")?;
    }
    Ok(texts)
}

fn read_sparse<'a>(bytes: &mut Reader<'a>, tokens: bool) -> Result<Sparse<'a>, DecodeError> {
    let count = bytes.count(8, "a count of indices and values")?;
    let start = bytes.position();
    let indices = bytes.chunks(count, "indices")?;
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let mut pairs = indices.array_windows().enumerate();
    if let Some((at, [_, found])) = pairs.find(|(_, [a, b])| number(a) >= number(b)) {
        let position = start.saturating_add(at.saturating_add(1).saturating_mul(4));
        return Err(malformed(position, "an index above the one before it", number(found).to_string()));
    }
    let values = bytes.chunks(count, "values")?;
    let tokens = if tokens { Some(read_texts(bytes, count)?) } else { None };
    Ok(Sparse { indices, values, tokens })
}

/// A metadata value in its record's bytes.
#[derive(Debug, Clone)]
pub struct ValueView<'a>(Value<'a>);

#[derive(Debug, Clone)]
enum Value<'a> {
    Null,
    Str(Text<'a>),
    Int(i64),
    Float(f64),
    Bool(bool),
    StrList(Texts<'a>),
    IntList(&'a [[u8; 8]]),
    FloatList(&'a [[u8; 8]]),
    BoolList(&'a [u8]),
    Sparse(Sparse<'a>),
}

/// `count` texts, each checked already.
#[derive(Debug, Clone)]
struct Texts<'a> {
    count: usize,
    bytes: Reader<'a>,
}

#[derive(Debug, Clone)]
struct Sparse<'a> {
    indices: &'a [[u8; 4]],
    values: &'a [[u8; 4]],
    tokens: Option<Texts<'a>>,
}

impl<'a> ValueView<'a> {
    /// True for a null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.0, Value::Null)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        if let Value::Str(text) = self.0 { Some(text.as_str()) } else { None }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(value) = self.0 { Some(value) } else { None }
    }

    /// The float, if it is one.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        if let Value::Float(value) = self.0 { Some(value) } else { None }
    }

    /// The bool, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.0 { Some(value) } else { None }
    }

    /// The value, copied.
    #[must_use]
    pub fn to_value(&self) -> MetadataValue {
        let floats = |list: &[[u8; 8]]| list.iter().map(|x| f64::from_le_bytes(*x)).collect();
        match &self.0 {
            Value::Null => MetadataValue::Null,
            Value::Str(text) => MetadataValue::Str(text.as_str().to_owned()),
            Value::Int(value) => MetadataValue::Int(*value),
            Value::Float(value) => MetadataValue::Float(*value),
            Value::Bool(value) => MetadataValue::Bool(*value),
            Value::StrList(texts) => MetadataValue::StrList(texts.to_vec()),
            Value::IntList(list) => {
                MetadataValue::IntList(list.iter().map(|x| i64::from_le_bytes(*x)).collect())
            }
            Value::FloatList(list) => MetadataValue::FloatList(floats(list)),
            Value::BoolList(list) => MetadataValue::BoolList(list.iter().map(|byte| *byte == 1).collect()),
            Value::Sparse(sparse) => MetadataValue::SparseVector(sparse.to_vector()),
        }
    }
}

impl Texts<'_> {
    fn to_vec(&self) -> Vec<String> {
        let mut bytes = self.bytes.clone();
        let mut texts = Vec::with_capacity(self.count);
        texts.extend((0..self.count).map_while(|_| Some(bytes.text("a text").ok()?.as_str().to_owned())));
        texts
    }
}

impl Sparse<'_> {
    /// The bytes were checked when they were read, so the parts fit together.
    fn to_vector(&self) -> SparseVector {
        SparseVector::from_valid(
            self.indices.iter().map(|x| u32::from_le_bytes(*x)).collect(),
            self.values.iter().map(|x| f32::from_le_bytes(*x)).collect(),
            self.tokens.as_ref().map(Texts::to_vec),
        )
    }
}
