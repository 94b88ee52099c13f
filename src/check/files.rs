//! The files of a log's directory as they are, right or wrong.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::options::ReadMode;
use crate::segment::names::{self, Name};
use crate::segment::scan::read_table;
use crate::storage::{Access, Storage, StorageFile, read_full};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Name,
    pub(super) is_file: bool,
    pub(super) bytes: u64,
}

/// Everything in the directory, sorted by name.
///
/// # Errors
/// `NotALog` if nothing in it is a log's.
pub(super) fn list(storage: &dyn Storage) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in storage.list().map_err(|e| Error::io("list", storage.name(), e))? {
        let kind = names::parse(&entry.name);
        let ours = entry.is_file && kind != Name::Foreign;
        let bytes = match open(storage, &entry.name).map(|file| file.map(|file| file.size())) {
            _ if !ours => 0,
            Ok(Some(Ok(bytes))) => bytes,
            // Names come and go while a writer is at work; what can't be opened is told of later.
            Ok(None) if !matches!(kind, Name::Segment(_)) => continue,
            _ => 0,
        };
        entries.push(Entry { name: entry.name, kind, is_file: entry.is_file, bytes });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if entries.iter().all(|entry| matches!(entry.kind, Name::Foreign | Name::Temporary | Name::Aside)) {
        let found = entries.first().map_or_else(|| "nothing".to_owned(), |entry| format!("{:?}", entry.name));
        return Err(Error::NotALog { directory: storage.name(), found });
    }
    Ok(entries)
}

/// A file for reading; `None` if there is none of that name.
pub(super) fn open(storage: &dyn Storage, name: &str) -> Result<Option<Arc<dyn StorageFile>>> {
    match storage.open(name, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", name, error)),
    }
}

/// All of an index or a checkpoint, with positioned reads; `None` if there is none of that name.
pub(super) fn content(storage: &dyn Storage, name: &str) -> Result<Option<Bytes>> {
    let Some(file) = open(storage, name)? else { return Ok(None) };
    read_table(file.as_ref(), name, ReadMode::Positioned).map(Some)
}

/// Reads `from..to` of a file in pieces, as far as it goes.
pub(super) fn read_through(
    file: &dyn StorageFile,
    name: &str,
    from: u64,
    to: u64,
    mut take: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let mut piece = vec![0; (1 << 20).min(to.saturating_sub(from)) as usize];
    let mut at = from;
    while at < to {
        let want = piece.len().min((to - at) as usize);
        let Some(buffer) = piece.get_mut(..want) else { break };
        let n = read_full(file, buffer, at).map_err(|e| Error::io("read", name, e))?;
        if n == 0 {
            break;
        }
        take(buffer.get(..n).unwrap_or_default(), at)?;
        at += n as u64;
    }
    Ok(())
}

/// The checksum of a whole file.
pub(super) fn checksum(file: &dyn StorageFile, name: &str) -> Result<u32> {
    let size = file.size().map_err(|e| Error::io("stat", name, e))?;
    let mut hasher = crc32fast::Hasher::new();
    read_through(file, name, 0, size, |bytes, _| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher.finalize())
}
