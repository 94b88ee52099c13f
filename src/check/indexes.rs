//! An index file against what its segment really holds.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::format::HeaderError;
use crate::format::index::{self, Identity, Index};
use crate::format::segment_header::SegmentHeader;
use crate::segment::{MemoryIndex, names};
use crate::storage::Storage;

use super::files;
use super::finding::{Finding, Severity};

const REMADE: &str = "it is made from the segment when it is needed; a repair writes it again";

/// What the index of one segment should say.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) index: MemoryIndex,
    pub(super) data_end: u64,
    pub(super) header: SegmentHeader,
    pub(super) end: u64,
    /// Its frames are damaged: the index may well know more than they show.
    pub(super) damaged: bool,
}

/// Where the segment `base` ended, as its index says, for want of anything better.
pub(super) fn known_end(storage: &dyn Storage, log_id: [u8; 16], base: u64) -> Option<u64> {
    let bytes = files::content(storage, &names::index(base)).ok()??;
    let identity = Index::decode(&bytes).ok()?.identity;
    (identity.log_id == log_id && identity.base == base && identity.end >= base).then_some(identity.end)
}

/// Checks the index of segment `base`.
pub(super) fn check(storage: &dyn Storage, base: u64, due: &HashMap<u64, Due>) -> Result<Option<Finding>> {
    let name = names::index(base);
    let Some(due) = due.get(&base) else {
        let finding =
            Finding::new(Severity::Note, &name, "the segment of this index", "none that can be read");
        return Ok(Some(finding.remedy("nothing need be done: it is not used")));
    };
    let bytes = match files::content(storage, &name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error @ Error::Io { .. }) => {
            return Ok(Some(Finding::error(Severity::Rebuilt, &name, &error)));
        }
        Err(error) => return Err(error),
    };
    let stored = match Index::decode(&bytes) {
        Ok(stored) => stored,
        Err(HeaderError::Newer(version)) => {
            let finding =
                Finding::new(Severity::Rebuilt, &name, "a known format version", version.to_string()).at(8);
            return Ok(Some(finding.remedy(REMADE)));
        }
        Err(HeaderError::Invalid(invalid)) => {
            let finding = Finding::invalid(Severity::Rebuilt, &name, 0, &invalid);
            return Ok(Some(finding.remedy(REMADE)));
        }
    };
    let identity = Identity {
        log_id: due.header.log_id,
        base,
        end: due.end,
        data_end: due.data_end,
        salt: due.header.salt,
    };
    if due.damaged {
        return Ok(None);
    }
    if stored.identity != identity {
        // After a crash the segment may end before the place where it did when it was indexed.
        let found = "that of an earlier state of the segment";
        let finding = Finding::new(Severity::Note, &name, "the index of the segment as it is", found);
        return Ok(Some(finding.remedy("it is not used; nothing need be done")));
    }
    let expected = index::encode(&identity, due.index.places(), &due.index.sorted_runs());
    let differs = expected.iter().zip(&bytes).position(|(a, b)| a != b);
    let finding = differs.map(|at| {
        Finding::new(Severity::Damage, &name, "the places of the segment's frames", "other places")
            .at(at as u64)
            .remedy("run a repair: the index is made again, no record is lost by it")
    });
    Ok(finding)
}
