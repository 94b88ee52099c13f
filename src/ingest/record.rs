//! One change to one record of a collection.

mod metadata;
mod value;

pub use metadata::{DuplicateKeyError, Metadata};
pub(super) use metadata::{FEW_KEYS, repeated_key};
pub use value::{MetadataValue, SparseVector, SparseVectorError};

use std::fmt;

/// What a record does to its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Adds a record; an id that exists already stays as it is.
    Add = 0,
    /// Changes a record; an unknown id is ignored.
    Update = 1,
    /// Adds or changes.
    Upsert = 2,
    /// Removes a record.
    Delete = 3,
    /// Asks an attached function to go over what is there already.
    BackfillFn = 4,
}

impl Operation {
    /// Every operation, in the order of their codes.
    pub const ALL: [Operation; 5] =
        [Operation::Add, Operation::Update, Operation::Upsert, Operation::Delete, Operation::BackfillFn];

    /// The number that stands for the operation in stored records.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The operation a number stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name, as in `ADD` or `BACKFILL_FN`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Add => "ADD",
            Operation::Update => "UPDATE",
            Operation::Upsert => "UPSERT",
            Operation::Delete => "DELETE",
            Operation::BackfillFn => "BACKFILL_FN",
        }
    }

    /// The operation of that [`name`](Operation::name); upper case only.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the numbers of an embedding are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 32-bit floats.
    Float32,
    /// 32-bit signed integers.
    Int32,
}

impl Encoding {
    /// The name: `FLOAT32` or `INT32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Float32 => "FLOAT32",
            Encoding::Int32 => "INT32",
        }
    }

    /// The encoding of that [`name`](Encoding::name); upper case only.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Encoding::Float32, Encoding::Int32].into_iter().find(|encoding| encoding.name() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A vector. It may be empty.
///
/// Equality is by bits: a NaN equals itself and no NaN of another payload, and -0.0 is not 0.0.
#[derive(Debug, Clone)]
pub enum Embedding {
    /// Of encoding [`Encoding::Float32`].
    F32(Vec<f32>),
    /// Of encoding [`Encoding::Int32`].
    I32(Vec<i32>),
}

impl Embedding {
    /// How many numbers it has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match self {
            Embedding::F32(values) => values.len(),
            Embedding::I32(values) => values.len(),
        }
    }

    /// How its numbers are stored.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        match self {
            Embedding::F32(_) => Encoding::Float32,
            Embedding::I32(_) => Encoding::Int32,
        }
    }
}

impl PartialEq for Embedding {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Embedding::F32(a), Embedding::F32(b)) => value::same_f32_bits(a, b),
            (Embedding::I32(a), Embedding::I32(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Embedding {}

macro_rules! embedding_from {
    ($($number:ty => $variant:ident),*) => {$(
        impl From<Vec<$number>> for Embedding {
            fn from(values: Vec<$number>) -> Self {
                Embedding::$variant(values)
            }
        }

        impl From<&[$number]> for Embedding {
            fn from(values: &[$number]) -> Self {
                Embedding::$variant(values.to_vec())
            }
        }

        impl<const N: usize> From<[$number; N]> for Embedding {
            fn from(values: [$number; N]) -> Self {
                Embedding::$variant(values.to_vec())
            }
        }
    )*};
}

embedding_from!(f32 => F32, i32 => I32);

/// One change to one record of a collection.
///
/// `document` and `uri` are fields of their own, although other parts of a database carry them
/// as the metadata keys `chroma:document` and `chroma:uri`, so that a reader gets at them
/// without decoding the rest. Whoever speaks to such a part moves them; nothing here treats
/// those keys in a special way.
///
/// Absent metadata and empty metadata are different values. Equality is by bits, see
/// [`Embedding`] and [`MetadataValue`].
///
/// ```
/// use stratalog::ingest::{Encoding, OperationRecord};
///
/// let record = OperationRecord::upsert("a").embedding([1.0f32, 2.0]).metadata_entry("page", 3i64);
/// assert_eq!(record.encoding, Some(Encoding::Float32));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRecord {
    /// The record's name in its collection.
    pub id: String,
    /// What to do.
    pub operation: Operation,
    /// How the embedding is stored. Beside an embedding it must be that embedding's own, or
    /// encoding the record fails. Producers also name an encoding where they send no embedding
    /// (deletes, updates of metadata), and get it back.
    pub encoding: Option<Encoding>,
    /// The vector.
    pub embedding: Option<Embedding>,
    /// The text that was embedded.
    pub document: Option<String>,
    /// Where the embedded thing is to be found.
    pub uri: Option<String>,
    /// Keys and values; on an update, [`MetadataValue::Null`] removes the key.
    pub metadata: Option<Metadata>,
}

impl OperationRecord {
    /// A record with an id and nothing else.
    #[must_use]
    pub fn new(operation: Operation, id: impl Into<String>) -> Self {
        OperationRecord {
            id: id.into(),
            operation,
            encoding: None,
            embedding: None,
            document: None,
            uri: None,
            metadata: None,
        }
    }

    /// An [`Operation::Add`].
    #[must_use]
    pub fn add(id: impl Into<String>) -> Self {
        Self::new(Operation::Add, id)
    }

    /// An [`Operation::Update`].
    #[must_use]
    pub fn update(id: impl Into<String>) -> Self {
        Self::new(Operation::Update, id)
    }

    /// An [`Operation::Upsert`].
    #[must_use]
    pub fn upsert(id: impl Into<String>) -> Self {
        Self::new(Operation::Upsert, id)
    }

    /// An [`Operation::Delete`].
    #[must_use]
    pub fn delete(id: impl Into<String>) -> Self {
        Self::new(Operation::Delete, id)
    }

    /// With this embedding, and its encoding.
    #[must_use]
    pub fn embedding(mut self, embedding: impl Into<Embedding>) -> Self {
        let embedding = embedding.into();
        self.encoding = Some(embedding.encoding());
        self.embedding = Some(embedding);
        self
    }

    /// With this encoding: for records that name one and have no embedding.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = Some(encoding);
        self
    }

    /// With this document.
    #[must_use]
    pub fn document(mut self, document: impl Into<String>) -> Self {
        self.document = Some(document.into());
        self
    }

    /// With this uri.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// With this metadata, in place of what was there.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// With one more metadata entry, or with the value of that key replaced; see
    /// [`Metadata::set`].
    #[must_use]
    pub fn metadata_entry(mut self, key: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
        self.metadata.get_or_insert_default().set(key, value);
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_those_of_the_contract() {
        let table = [(0, "ADD"), (1, "UPDATE"), (2, "UPSERT"), (3, "DELETE"), (4, "BACKFILL_FN")];
        for (code, name) in table {
            let operation = Operation::from_code(code).expect(name);
            assert_eq!(operation.code(), code);
            assert_eq!(operation.to_string(), name);
            assert_eq!(Operation::from_name(name), Some(operation));
        }
        assert_eq!(Operation::from_code(5), None);
        assert_eq!(Operation::from_name("add"), None);
        for encoding in [Encoding::Float32, Encoding::Int32] {
            assert_eq!(Encoding::from_name(&encoding.to_string()), Some(encoding));
        }
    }

    #[test]
    fn embeddings_are_equal_by_bits() {
        let quiet = f32::from_bits(0x7fc0_0000);
        let other = f32::from_bits(0x7fc0_0001);
        assert_eq!(Embedding::from([quiet]), Embedding::from([quiet]));
        assert_ne!(Embedding::from([quiet]), Embedding::from([other]));
        assert_ne!(Embedding::from([0.0f32]), Embedding::from([-0.0f32]));
        assert_ne!(Embedding::from([1.0f32]), Embedding::from([1.0f32, 2.0]));
        assert_ne!(Embedding::F32(vec![]), Embedding::I32(vec![]));
        assert_eq!(Embedding::from(vec![1i32]), Embedding::from(&[1i32][..]));
    }

    #[test]
    fn absent_and_empty_metadata_are_different() {
        let absent = OperationRecord::delete("a");
        assert_ne!(absent.clone().metadata(Metadata::new()), absent);
    }

    #[test]
    fn an_embedding_brings_its_encoding() {
        assert_eq!(OperationRecord::add("a").embedding([1i32]).encoding, Some(Encoding::Int32));
        assert_eq!(OperationRecord::add("a").encoding, None);
    }
}
