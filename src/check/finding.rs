//! What a check has to say.

use std::fmt;
use std::ops::RangeInclusive;

use crate::error::{Corruption, Error};
use crate::format::Invalid;
use crate::ids::SeqId;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong: what a crash or an earlier repair leaves behind.
    Note,
    /// A file that only saves time is damaged. It is made again from the segments; no record is hit.
    Rebuilt,
    /// Committed bytes, or a file that the log needs, are damaged or missing.
    Damage,
}

impl Severity {
    /// One word, as commands show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Rebuilt => "rebuilt",
            Severity::Damage => "damage",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something worth telling about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Bytes from the start of the file; `None` if it is about the file as a whole.
    pub position: Option<u64>,
    /// What should have stood there.
    pub expected: String,
    /// What stands there.
    pub found: String,
    /// The records that can't be read because of it.
    pub seq_ids: Option<RangeInclusive<SeqId>>,
    /// What to do about it.
    pub remedy: String,
}

pub(super) const REPAIR: &str = "restore the file from a copy, or run a repair to go on without what was hit";
pub(super) const REPAIR_KEEPS_ALL: &str = "run a repair; no record is lost by it";
pub(super) const NOTHING: &str = "nothing need be done";

impl Finding {
    pub(super) fn new(
        severity: Severity,
        file: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let remedy = if severity == Severity::Damage { REPAIR } else { NOTHING };
        Finding {
            severity,
            file: file.to_owned(),
            position: None,
            expected: expected.into(),
            found: found.into(),
            seq_ids: None,
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn invalid(severity: Severity, file: &str, position: u64, invalid: &Invalid) -> Self {
        Finding::new(severity, file, &invalid.expected, &invalid.found)
            .at(position.saturating_add(invalid.at))
    }

    /// An error of reading one file, as a finding about it.
    pub(super) fn error(severity: Severity, file: &str, error: &Error) -> Self {
        match error {
            Error::Corrupt(corruption) => {
                let Corruption { position, expected, found, .. } = corruption.as_ref();
                Finding::new(severity, file, expected, found).at(*position)
            }
            Error::Version { found, supported, .. } => Finding::new(
                severity,
                file,
                format!("format version {supported} or older"),
                format!("version {found}"),
            )
            .at(8)
            .remedy("use a newer build; if no newer one wrote it, restore the file from a copy"),
            other => Finding::new(severity, file, "a file that can be read", other.to_string())
                .remedy("look after the disk, then restore the file from a copy"),
        }
    }

    pub(super) fn at(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }

    /// SeqIds from `first` to before `end`; none if that is nothing.
    pub(super) fn hits(mut self, first: u64, end: u64) -> Self {
        self.seq_ids = (first < end).then(|| SeqId(first)..=SeqId(end - 1));
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.file)?;
        if let Some(position) = self.position {
            write!(f, " at position {position}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)?;
        if let Some(hit) = &self.seq_ids {
            let (first, last) = (hit.start(), hit.end());
            if first == last {
                write!(f, "; hits SeqId {first}")?
            } else {
                write!(f, "; hits SeqIds {first} to {last}")?
            }
        }
        write!(f, "; {}", self.remedy)
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}
