//! Keys and values of a record, in the order in which they were given.

use std::fmt;

use super::value::MetadataValue;

/// Keys and values in the order in which they were given. No key occurs twice.
///
/// Made for the small maps that records carry: [`get`](Metadata::get), [`set`](Metadata::set)
/// and [`try_insert`](Metadata::try_insert) look at one key after the other. Make a large map
/// at once, with `try_from(Vec<(String, MetadataValue)>)`.
///
/// Two maps are equal if they hold the same entries in the same order, values by their bits.
///
/// ```
/// use stratalog::ingest::{Metadata, MetadataValue};
///
/// let mut metadata = Metadata::new();
/// metadata.set("section", "libs").set("essential", false);
/// metadata.set("section", "admin");
/// assert_eq!(metadata.get("section"), Some(&MetadataValue::from("admin")));
/// assert!(metadata.try_insert("section", 1i64).is_err());
/// assert_eq!(metadata.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["section", "essential"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(String, MetadataValue)>,
}

impl Metadata {
    /// An empty map, which is not the same as none.
    #[must_use]
    pub fn new() -> Self {
        Metadata::default()
    }

    /// For entries whose keys are known to be different.
    pub(in crate::ingest) fn from_unique(entries: Vec<(String, MetadataValue)>) -> Self {
        Metadata { entries }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Puts an entry at the end or, if the key is there, replaces its value where it stands.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<MetadataValue>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
        self
    }

    /// Puts an entry at the end.
    ///
    /// # Errors
    /// [`DuplicateKeyError`] if the key is there already; the map stays as it was.
    pub fn try_insert(
        &mut self,
        key: impl Into<String>,
        value: impl Into<MetadataValue>,
    ) -> Result<(), DuplicateKeyError> {
        let key = key.into();
        if self.get(&key).is_some() {
            return Err(DuplicateKeyError { key });
        }
        self.entries.push((key, value.into()));
        Ok(())
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &MetadataValue)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl TryFrom<Vec<(String, MetadataValue)>> for Metadata {
    type Error = DuplicateKeyError;

    fn try_from(entries: Vec<(String, MetadataValue)>) -> Result<Self, Self::Error> {
        let mut keys: Vec<_> = entries.iter().enumerate().map(|(at, (key, _))| (key.as_str(), at)).collect();
        match repeated_key(&mut keys).and_then(|at| entries.get(at)) {
            Some((key, _)) => Err(DuplicateKeyError { key: key.clone() }),
            None => Ok(Metadata { entries }),
        }
    }
}

impl IntoIterator for Metadata {
    type Item = (String, MetadataValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// Up to here, comparing every key with every other is cheaper than sorting, and the codec
/// needs no heap.
pub(in crate::ingest) const FEW_KEYS: usize = 16;

/// The number beside a key that has occurred before, if there is one. Reorders what it is given.
pub(in crate::ingest) fn repeated_key<K: Ord>(keys: &mut [(K, usize)]) -> Option<usize> {
    if keys.len() <= FEW_KEYS {
        let repeated =
            |(at, (key, _)): &(usize, &(K, usize))| keys.iter().take(*at).any(|(earlier, _)| earlier == key);
        return keys.iter().enumerate().find(repeated).map(|(_, (_, number))| *number);
    }
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [(first, _), (second, number)] if first == second => Some(*number),
        _ => None,
    })
}

/// A key was given twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateKeyError {
    /// The key.
    pub key: String,
}

impl fmt::Display for DuplicateKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata: expected every key once, found {:?} twice", self.key)
    }
}

impl std::error::Error for DuplicateKeyError {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn entries(count: i64) -> Vec<(String, MetadataValue)> {
        (0..count).map(|i| (format!("key {}", (i * 7919) % count), i.into())).collect()
    }

    #[test]
    fn order_is_kept_and_a_second_key_is_refused_in_small_and_large_maps() {
        for count in [2, FEW_KEYS as i64, FEW_KEYS as i64 + 1, 20_000] {
            let mut list = entries(count);
            let map = Metadata::try_from(list.clone()).unwrap();
            assert_eq!(map.len(), list.len());
            assert!(map.iter().zip(&list).all(|((a, x), (b, y))| a == b && x == y));

            let key = list[1].0.clone();
            list.push((key.clone(), MetadataValue::Null));
            assert_eq!(Metadata::try_from(list).unwrap_err(), DuplicateKeyError { key });
        }
    }

    #[test]
    fn maps_in_another_order_are_different() {
        let (mut a, mut b) = (Metadata::new(), Metadata::new());
        a.set("x", 1i64).set("y", 2i64);
        b.set("y", 2i64).set("x", 1i64);
        assert_ne!(a, b);
    }

    #[test]
    fn a_refused_insert_changes_nothing() {
        let mut map = Metadata::new();
        map.try_insert("k", 1i64).unwrap();
        let before = map.clone();
        let error = map.try_insert("k", 2i64).unwrap_err();
        assert!(error.to_string().contains("\"k\""));
        assert_eq!(map, before);
    }
}
