//! Collections by name.

use std::path::Path;

use stratalog::StreamId;
use uuid::Uuid;

/// The namespace of collection names; part of what a log means, so it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2c1b_8f0e_5c57_9a53_1e7a_7c0d_b1a6);

/// Where records go that name no collection.
pub(crate) const DEFAULT: &str = "default";

/// The stream of a collection: what is written like a UUID is one, with or without dashes; any
/// other name is turned into a UUID of version 5.
pub(crate) fn stream(name: &str) -> StreamId {
    match name.parse() {
        Ok(id) => id,
        Err(_) => StreamId::from_bytes(*Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_bytes()),
    }
}

/// What to say of a collection that never got a record.
pub(crate) fn unknown(name: &str, dir: &Path) -> String {
    format!(
        "there is no collection {name:?} in this log; `stratalog stat --streams --dir {}` lists those there are",
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_name_never_changes() {
        assert_eq!(stream(DEFAULT).to_string(), "9eafecb8-3f29-56e4-b3de-24302068de41");
        let uuid = "7f000001-0000-4000-8000-00000000002a";
        assert_eq!(stream(uuid).to_string(), uuid);
        assert_eq!(stream(&stream("papers").to_string()), stream("papers"));
        assert_ne!(stream("papers"), stream("Papers"));
    }
}
