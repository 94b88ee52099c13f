//! Hand-written loops that do the least a log could do for the same promise.
//!
//! They have no format to speak of, no recovery and no index: what they reach is the limit that disk,
//! kernel and memory set.

mod calls;
mod durable;
mod mapped;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::contender::Contender;

/// All of them.
pub(crate) fn all() -> Vec<Arc<dyn Contender>> {
    vec![
        durable(),
        Arc::new(mapped::Mapped { blank: false }),
        Arc::new(mapped::Mapped { blank: true }),
        Arc::new(calls::Calls::Written),
        Arc::new(calls::Calls::Large),
        Arc::new(calls::Calls::Blank),
    ]
}

/// The floor of durable appends.
pub(crate) fn durable() -> Arc<dyn Contender> {
    Arc::new(durable::Durable { blank: false })
}

/// The floor of durable appends that never writes a block again.
pub(crate) fn durable_into_new_room() -> Arc<dyn Contender> {
    Arc::new(durable::Durable { blank: true })
}

/// A file that is reserved and was never written: the system finds a page of memory for each of its pages
/// when that is written first.
fn blank(path: &Path, bytes: u64) -> Result<File> {
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// A file of zeros that are on the disk, written in pieces of `piece` bytes.
fn zeroed(path: &Path, bytes: u64, piece: usize) -> Result<File> {
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    let zeros = vec![0; piece];
    for at in (0..bytes).step_by(piece) {
        file.write_all_at(&zeros[..(bytes - at).min(piece as u64) as usize], at)?;
    }
    file.sync_all()?;
    Ok(file)
}
