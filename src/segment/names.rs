//! Names of the files of a log.

/// Held while a process writes; says which.
pub(crate) const LOCK: &str = "LOCK";
/// The two checkpoints, written in turn.
pub(crate) const CHECKPOINTS: [&str; 2] = ["checkpoint-0", "checkpoint-1"];
/// The segment prepared ahead.
pub(crate) const SPARE: &str = "spare";
/// Where files are written before they get their name; whatever has this ending is debris.
pub(crate) const TEMPORARY: &str = ".tmp";

const SEGMENT: &str = ".segment";
const INDEX: &str = ".index";
const ASIDE: &str = ".aside";
const FREE: &str = ".free";

pub(crate) fn segment(base: u64) -> String {
    format!("{base:020}{SEGMENT}")
}

pub(crate) fn index(base: u64) -> String {
    format!("{base:020}{INDEX}")
}

/// What was segment `base`, freed, until the next segments are made of it.
pub(crate) fn free(base: u64) -> String {
    format!("{base:020}{FREE}")
}

/// Bytes kept when they were cut from segment `base` at `position`.
pub(crate) fn aside(base: u64, position: u64) -> String {
    format!("{base:020}-{position}{ASIDE}")
}

/// A whole file that a repair replaced, or that stood in the place of segment `base`. Its checksum
/// makes the name: a repair that is run again keeps the same file under the same name.
pub(crate) fn kept(base: u64, why: &str, checksum: u32) -> String {
    format!("{base:020}-{why}-{checksum:08x}{ASIDE}")
}

pub(crate) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// What a name in the directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Index(u64),
    Checkpoint,
    Lock,
    Spare,
    Free,
    Aside,
    Temporary,
    Foreign,
}

pub(crate) fn parse(name: &str) -> Name {
    let number = |ending: &str| {
        let digits = name.strip_suffix(ending)?;
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)
    };
    if let Some(base) = number(SEGMENT) {
        Name::Segment(base)
    } else if let Some(base) = number(INDEX) {
        Name::Index(base)
    } else if number(FREE).is_some() {
        Name::Free
    } else if CHECKPOINTS.contains(&name) {
        Name::Checkpoint
    } else if name == LOCK {
        Name::Lock
    } else if name == SPARE {
        Name::Spare
    } else if name.ends_with(ASIDE) && name.starts_with(|c: char| c.is_ascii_digit()) {
        Name::Aside
    } else if let Some(stem) = name.strip_suffix(TEMPORARY) {
        // Only what this crate would have named so.
        if matches!(parse(stem), Name::Foreign | Name::Temporary) { Name::Foreign } else { Name::Temporary }
    } else {
        Name::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!(parse(&segment(42)), Name::Segment(42));
        assert_eq!(parse(&index(u64::MAX)), Name::Index(u64::MAX));
        assert_eq!(parse(&free(42)), Name::Free);
        assert_eq!(parse(&temporary(&segment(1))), Name::Temporary);
        assert_eq!(parse(&temporary(SPARE)), Name::Temporary);
        assert_eq!(parse(&aside(3, 99)), Name::Aside);
        assert_eq!(parse(&kept(3, "damaged", 0xbeef)), Name::Aside);
        assert_eq!(parse(&temporary(&kept(3, "damaged", 0xbeef))), Name::Temporary);
    }

    #[test]
    fn only_our_own_debris_is_debris() {
        for foreign in ["notes.tmp", "1.segment", "+0000000000000000001.segment", ".tmp", "photo.jpg"] {
            assert_eq!(parse(foreign), Name::Foreign, "{foreign}");
        }
    }
}
