//! What lies in a log's directory, before anything is touched.

use crate::error::{Error, Result};
use crate::format::checkpoint::Checkpoint;
use crate::segment::names::{self, Name};
use crate::storage::Storage;

/// The files of a log, by what their names say.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Bases of the segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Bases of segments that were freed, and whose files are still there.
    pub(super) freed: Vec<u64>,
    pub(super) indexes: Vec<u64>,
    pub(super) checkpoints: Vec<String>,
    pub(super) temporary: Vec<String>,
    pub(super) spare: bool,
    /// Freed segments that were to be made into the next ones.
    pub(super) free: Vec<String>,
    pub(super) aside: Vec<String>,
    pub(super) foreign: Vec<String>,
}

impl Survey {
    /// # Errors
    /// `NotALog` if there are files and none is a log's; corruption if something that isn't a
    /// file has the name of one.
    pub(super) fn of(storage: &dyn Storage) -> Result<Survey> {
        let mut survey = Survey::default();
        for entry in storage.list().map_err(|e| Error::io("list", storage.name(), e))? {
            let kind = names::parse(&entry.name);
            if !entry.is_file && kind != Name::Foreign {
                return Err(Error::corrupt(
                    entry.name,
                    0,
                    "a regular file",
                    "a directory, link or special file",
                ));
            }
            match kind {
                Name::Segment(base) => survey.segments.push(base),
                Name::Index(base) => survey.indexes.push(base),
                Name::Checkpoint => survey.checkpoints.push(entry.name),
                Name::Temporary => survey.temporary.push(entry.name),
                Name::Spare => survey.spare = true,
                Name::Free => survey.free.push(entry.name),
                Name::Aside => survey.aside.push(entry.name),
                // Others have a file of this name too.
                Name::Lock => {}
                Name::Foreign => survey.foreign.push(entry.name),
            }
        }
        survey.segments.sort_unstable();
        let ours = survey.spare || !survey.segments.is_empty() || !survey.checkpoints.is_empty();
        match survey.foreign.first() {
            Some(name) if !ours => {
                Err(Error::NotALog { directory: storage.name(), found: format!("{name:?}") })
            }
            _ => Ok(survey),
        }
    }

    /// Segment `base` is not there, and later ones are.
    pub(super) fn lacks(&self, base: u64) -> bool {
        self.segments.binary_search(&base).is_err() && self.segments.last().is_some_and(|last| *last > base)
    }

    /// Nothing was ever appended here.
    pub(super) fn is_new(&self) -> bool {
        self.segments.is_empty() && self.checkpoints.is_empty()
    }

    /// Segments below the checkpoint that it does not know: copied here, or renamed.
    pub(super) fn check_known(&self, checkpoint: &Checkpoint) -> Result<()> {
        let known: Vec<u64> = checkpoint.segments().collect();
        let below = self.segments.iter().take_while(|base| **base < checkpoint.head.scan_base);
        match below.into_iter().find(|base| known.binary_search(base).is_err()) {
            None => Ok(()),
            Some(stray) => Err(Error::corrupt(
                names::segment(*stray),
                0,
                "only segments that the checkpoint names below its own",
                "one that it does not name; was the file copied or renamed? Move it away",
            )),
        }
    }

    /// Segments that a checkpoint knows and that are not there.
    pub(super) fn check_present(&self, bases: impl Iterator<Item = u64>) -> Result<()> {
        for base in bases {
            if self.segments.binary_search(&base).is_err() {
                return Err(Error::corrupt(
                    names::segment(base),
                    0,
                    "this segment, which the checkpoint names",
                    "no such file; restore it, or run a repair to go on without its records",
                ));
            }
        }
        Ok(())
    }
}
