//! A directory of files as fuzz input, and back, for seeds.
//!
//! ```text
//! entry = kind u8 | base u8 | mode u8 | zero KiB u8 | content bytes u16 | content
//! ```
//!
//! Content of a segment is squeezed: its header's 128 bytes, then what begins at position 4096.

use stratalog::fuzzing;
use stratalog::storage::MemoryStorage;

const HEADER_BYTES: usize = 128;
const DATA_START: usize = 4096;

/// Set the checksums right before the file is stored.
const RESEAL: u8 = 1;
/// The content of a segment is the file's as it is.
const WHOLE: u8 = 2;

fn name(kind: u8, base: u8) -> String {
    let base = match base {
        255 => u64::MAX,
        254 => i64::MAX as u64,
        253 => 1 << 32,
        small => u64::from(small),
    };
    match kind % 12 {
        0 => format!("{base:020}.segment"),
        1 => format!("{base:020}.index"),
        2 => "checkpoint-0".into(),
        3 => "checkpoint-1".into(),
        4 => "spare".into(),
        5 => "LOCK".into(),
        6 => format!("{base:020}-4096.aside"),
        7 => format!("{base:020}.segment.tmp"),
        8 => "checkpoint-1.tmp".into(),
        9 => "spare.tmp".into(),
        10 => format!("{base}.segment"),
        _ => "notes.txt".into(),
    }
}

/// Makes the files that `data` describes. True if any got checksums that its own writer did not
/// give it: such files may contradict one another, and all that is promised then is an end.
pub fn fill(storage: &MemoryStorage, mut data: &[u8]) -> bool {
    let mut forged = false;
    while let Some((&[kind, base, mode, zero_kib, low, high], rest)) = data.split_first_chunk::<6>() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (content, rest) = rest.split_at(len);
        data = rest;
        let mut bytes = match kind % 12 {
            0 | 4 | 7 if mode & WHOLE == 0 => stretched(content),
            _ => content.to_vec(),
        };
        bytes.resize(bytes.len() + usize::from(zero_kib) * 1024, 0);
        if mode & RESEAL != 0 {
            forged = true;
            match kind % 12 {
                0 | 7 => fuzzing::reseal_segment(&mut bytes),
                _ => fuzzing::reseal_file(&mut bytes),
            }
        }
        crate::put(storage, &name(kind, base), &bytes);
    }
    forged
}

fn stretched(content: &[u8]) -> Vec<u8> {
    let (header, frames) = content.split_at(HEADER_BYTES.min(content.len()));
    let mut bytes = header.to_vec();
    if !frames.is_empty() {
        bytes.resize(DATA_START, 0);
        bytes.extend_from_slice(frames);
    }
    bytes
}

/// The input that `fill` makes these files of; `None` if one is too large or has a name of its own.
pub fn squeezed(storage: &MemoryStorage, mode: u8) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    for (file, bytes) in crate::files(storage) {
        let base = file.get(..20).and_then(|digits| digits.parse::<u8>().ok()).unwrap_or(0);
        let kind = (0..12).find(|kind| name(*kind, base) == file)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(8);
        let used = bytes.get(..used).unwrap_or(&bytes);
        let content = match kind {
            0 | 4 | 7 if used.len() > HEADER_BYTES => {
                [used.get(..HEADER_BYTES)?, used.get(DATA_START..).unwrap_or_default()].concat()
            }
            _ => used.to_vec(),
        };
        let zeros = bytes.len().saturating_sub(used.len().max(DATA_START)) / 1024;
        data.extend_from_slice(&[kind, base, mode, u8::try_from(zeros).unwrap_or(u8::MAX)]);
        data.extend_from_slice(&u16::try_from(content.len()).ok()?.to_le_bytes());
        data.extend_from_slice(&content);
    }
    Some(data)
}
