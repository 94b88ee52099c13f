//! The values metadata can have.

use std::fmt;

/// A metadata value.
///
/// Equality is by bits: a NaN equals itself and no NaN of another payload, -0.0 is not 0.0,
/// `Int(1)` is not `Float(1.0)`, and empty lists of different types are different.
#[derive(Debug, Clone)]
pub enum MetadataValue {
    /// On an update: remove this key.
    Null,
    /// A text, `\0` included.
    Str(String),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list of texts.
    StrList(Vec<String>),
    /// A list of integers.
    IntList(Vec<i64>),
    /// A list of floats.
    FloatList(Vec<f64>),
    /// A list of true and false.
    BoolList(Vec<bool>),
    /// A sparse vector.
    SparseVector(SparseVector),
}

impl PartialEq for MetadataValue {
    fn eq(&self, other: &Self) -> bool {
        use MetadataValue::*;
        match (self, other) {
            (Null, Null) => true,
            (Str(a), Str(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Float(a), Float(b)) => a.to_bits() == b.to_bits(),
            (Bool(a), Bool(b)) => a == b,
            (StrList(a), StrList(b)) => a == b,
            (IntList(a), IntList(b)) => a == b,
            (FloatList(a), FloatList(b)) => same_f64_bits(a, b),
            (BoolList(a), BoolList(b)) => a == b,
            (SparseVector(a), SparseVector(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for MetadataValue {}

macro_rules! value_from {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for MetadataValue {
            fn from(value: $source) -> Self {
                MetadataValue::$variant(value.into())
            }
        }
    )*};
}

value_from!(
    &str => Str, String => Str, i64 => Int, i32 => Int, u32 => Int, f64 => Float, bool => Bool,
    Vec<String> => StrList, Vec<i64> => IntList, Vec<f64> => FloatList, Vec<bool> => BoolList,
    SparseVector => SparseVector,
);

impl From<&[&str]> for MetadataValue {
    fn from(values: &[&str]) -> Self {
        MetadataValue::StrList(values.iter().map(|text| (*text).to_owned()).collect())
    }
}

/// A vector of which only the numbers that are not zero are kept.
///
/// Indices are strictly ascending, and there are as many values, and tokens if any, as indices.
/// Equality is by bits, as for [`MetadataValue`].
#[derive(Debug, Clone)]
pub struct SparseVector {
    indices: Vec<u32>,
    values: Vec<f32>,
    tokens: Option<Vec<String>>,
}

impl SparseVector {
    /// A sparse vector without tokens.
    ///
    /// # Errors
    /// [`SparseVectorError`] if the parts do not fit together.
    pub fn new(indices: Vec<u32>, values: Vec<f32>) -> Result<Self, SparseVectorError> {
        Self::from_parts(indices, values, None)
    }

    /// A sparse vector with the token that each index stands for.
    ///
    /// # Errors
    /// [`SparseVectorError`] if the parts do not fit together.
    pub fn with_tokens(
        indices: Vec<u32>,
        values: Vec<f32>,
        tokens: Vec<String>,
    ) -> Result<Self, SparseVectorError> {
        Self::from_parts(indices, values, Some(tokens))
    }

    /// A sparse vector with tokens or without.
    ///
    /// # Errors
    /// [`SparseVectorError`] if the parts do not fit together.
    pub fn from_parts(
        indices: Vec<u32>,
        values: Vec<f32>,
        tokens: Option<Vec<String>>,
    ) -> Result<Self, SparseVectorError> {
        let count = indices.len();
        for (part, len) in [("values", values.len()), ("tokens", tokens.as_ref().map_or(count, Vec::len))] {
            if len != count {
                return Err(SparseVectorError::Length { part, indices: count, found: len });
            }
        }
        match indices.array_windows().find(|[first, second]| first >= second) {
            Some([first, second]) => Err(SparseVectorError::Order { before: *first, found: *second }),
            None => Ok(SparseVector { indices, values, tokens }),
        }
    }

    /// For parts that are known to fit together.
    pub(in crate::ingest) fn from_valid(
        indices: Vec<u32>,
        values: Vec<f32>,
        tokens: Option<Vec<String>>,
    ) -> Self {
        SparseVector { indices, values, tokens }
    }

    /// The places of the values, strictly ascending.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The values, one for each index.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The tokens, one for each index, if there are any. None and empty are different.
    #[must_use]
    pub fn tokens(&self) -> Option<&[String]> {
        self.tokens.as_deref()
    }
}

impl PartialEq for SparseVector {
    fn eq(&self, other: &Self) -> bool {
        self.indices == other.indices
            && same_f32_bits(&self.values, &other.values)
            && self.tokens == other.tokens
    }
}

impl Eq for SparseVector {}

/// The parts of a sparse vector do not fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SparseVectorError {
    /// A part has not as many elements as there are indices.
    Length {
        /// The part: `values` or `tokens`.
        part: &'static str,
        /// The number of indices.
        indices: usize,
        /// The number of elements of the part.
        found: usize,
    },
    /// An index is not larger than the one before it.
    Order {
        /// The index before.
        before: u32,
        /// The index that should be larger.
        found: u32,
    },
}

impl fmt::Display for SparseVectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SparseVectorError::Length { part, indices, found } => {
                write!(f, "sparse vector: expected {indices} {part}, as many as indices, found {found}")
            }
            SparseVectorError::Order { before, found } => {
                write!(f, "sparse vector: expected an index above {before}, found {found}")
            }
        }
    }
}

impl std::error::Error for SparseVectorError {}

pub(super) fn same_f32_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
}

fn same_f64_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_by_type_and_bits() {
        let nan = |bits| MetadataValue::Float(f64::from_bits(bits));
        assert_eq!(nan(0x7ff8_0000_0000_0001), nan(0x7ff8_0000_0000_0001));
        assert_ne!(nan(0x7ff8_0000_0000_0001), nan(0x7ff8_0000_0000_0002));
        let different: [MetadataValue; 13] = [
            0.0.into(),
            (-0.0).into(),
            0i64.into(),
            false.into(),
            "".into(),
            MetadataValue::Null,
            Vec::<String>::new().into(),
            Vec::<i64>::new().into(),
            Vec::<f64>::new().into(),
            Vec::<bool>::new().into(),
            vec![0.0].into(),
            vec![-0.0].into(),
            SparseVector::new(vec![], vec![]).unwrap().into(),
        ];
        for (i, a) in different.iter().enumerate() {
            for (j, b) in different.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_sparse_vector_has_ascending_indices_and_parts_of_one_length() {
        let order = |indices| SparseVector::new(indices, vec![0.5, 0.5]).unwrap_err();
        assert_eq!(order(vec![4, 4]), SparseVectorError::Order { before: 4, found: 4 });
        assert_eq!(order(vec![4, 3]), SparseVectorError::Order { before: 4, found: 3 });
        assert!(SparseVector::new(vec![0, u32::MAX], vec![0.5, 0.5]).is_ok());

        let error = SparseVector::new(vec![1], vec![]).unwrap_err();
        assert_eq!(error, SparseVectorError::Length { part: "values", indices: 1, found: 0 });
        let error = SparseVector::with_tokens(vec![1], vec![0.5], vec![]).unwrap_err();
        assert!(error.to_string().contains("expected 1 tokens"));
    }

    #[test]
    fn absent_and_empty_tokens_are_different() {
        let bare = SparseVector::new(vec![], vec![]).unwrap();
        assert_ne!(bare, SparseVector::with_tokens(vec![], vec![], vec![]).unwrap());
    }
}
