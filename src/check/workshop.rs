//! Moving and copying files of a log so that a cut at any point leaves them whole or as they were.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::segment::names;
use crate::storage::{Access, Storage, StorageFile};

use super::files;

/// The storage that is worked on.
pub(super) struct Workshop<'a>(pub(super) &'a dyn Storage);

impl Workshop<'_> {
    /// The name under which a whole file is kept that stands in the place of segment `base`.
    pub(super) fn kept_name(&self, name: &str, base: u64, why: &str) -> Result<String> {
        Ok(names::kept(base, why, files::checksum(self.open(name)?.as_ref(), name)?))
    }

    /// Copies part of a file to a new one that is there whole or not at all.
    pub(super) fn copy(&self, from: &str, start: u64, end: u64, to: &str) -> Result<()> {
        let source = self.open(from)?;
        let temporary = names::temporary(to);
        let copy = self.0.create(&temporary, end - start).map_err(|e| Error::io("create", &temporary, e))?;
        files::read_through(source.as_ref(), from, start, end, |bytes, at| {
            copy.write_at(bytes, at - start).map_err(|e| Error::io("write", &temporary, e))
        })?;
        copy.sync().map_err(|e| Error::io("sync", &temporary, e))?;
        self.rename(&temporary, to)?;
        self.sync_directory()
    }

    pub(super) fn open(&self, name: &str) -> Result<Arc<dyn StorageFile>> {
        self.0.open(name, Access::Read).map_err(|e| Error::io("open", name, e))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(from, to).map_err(|e| Error::io("rename", from, e))
    }

    /// A file that is not there is removed already.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match self.0.remove(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", name, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sync_directory(&self) -> Result<()> {
        self.0.sync_directory().map_err(|e| Error::io("sync directory", self.0.name(), e))
    }

    /// A small file that is there whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = names::temporary(name);
        let file =
            self.0.create(&temporary, bytes.len() as u64).map_err(|e| Error::io("create", &temporary, e))?;
        file.write_at(bytes, 0).map_err(|e| Error::io("write", &temporary, e))?;
        file.sync().map_err(|e| Error::io("sync", &temporary, e))?;
        self.rename(&temporary, name)?;
        self.sync_directory()
    }
}
