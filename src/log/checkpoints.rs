//! Two checkpoint files, written in turn: one of them is always whole.

use bytes::Bytes;

use super::Inner;
use super::streams::merge;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::checkpoint::{self, Checkpoint, CheckpointHead};
use crate::options::ReadMode;
use crate::segment::names;
use crate::segment::scan::read_table;
use crate::storage::{Access, Storage};
use crate::sync::atomic::Ordering;

/// What the two files say.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    pub(super) newest: Option<Checkpoint>,
    /// Files that are there and can't be used, and why.
    pub(super) damaged: Vec<Error>,
    /// Where a scan from each file would begin; 0 if it is of no use.
    pub(super) scan_bases: [u64; 2],
}

/// Reads both files; damage costs a longer scan, a newer version or a failing disk is an error.
pub(super) fn load(
    storage: &dyn Storage,
    mode: ReadMode,
    present: impl Fn(&str) -> bool,
) -> Result<Checkpoints> {
    let mut found = Checkpoints::default();
    for (name, scan_base) in names::CHECKPOINTS.into_iter().zip(&mut found.scan_bases) {
        if !present(name) {
            continue;
        }
        let bytes = content(storage, mode, name)?;
        match Checkpoint::decode(&bytes).map_err(|e| e.in_file(name)) {
            Ok(read) => {
                *scan_base = read.head.scan_base;
                let newer = |held: &Checkpoint| held.head.generation < read.head.generation;
                if found.newest.as_ref().is_none_or(newer) {
                    found.newest = Some(read);
                }
            }
            Err(error) if error.is_corruption() => found.damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A whole file, mapped where that is possible and wanted.
pub(super) fn content(storage: &dyn Storage, mode: ReadMode, name: &str) -> Result<Bytes> {
    let file = storage.open(name, Access::Read).map_err(|e| Error::io("open", name, e))?;
    read_table(file.as_ref(), name, mode)
}

impl Inner {
    /// Writes a checkpoint of everything appended so far, once it is committed and synced.
    /// `clean` says that nothing will ever be written behind it in the same segment.
    ///
    /// # Errors
    /// The system's; the older checkpoints stay as they are.
    pub(super) fn checkpoint(&self, clean: bool) -> Result<()> {
        let _one_at_a_time = self.checkpointing.lock();
        let covered;
        let (mut head, setbacks, frozen, table, producers, barrier) = {
            let mut tail = self.tail.lock();
            tail.check_process()?;
            if let Some(stopped) = tail.stopped.as_ref().filter(|_| !clean) {
                // Nobody may be left to commit the barrier.
                return Err(stopped.clone());
            }
            let Some((frozen, table)) = tail.streams.freeze() else {
                return Ok(());
            };
            let (scan_base, scan_position) = match &tail.spot {
                Some(spot) => (spot.base, spot.position),
                None => self.last_end(),
            };
            let head = CheckpointHead {
                log_id: self.home.own_log_id(),
                generation: 0,
                next_seq: tail.next_seq,
                scan_base,
                scan_position,
                last_micros: tail.last_micros,
                clean,
            };
            covered = self.since_checkpoint.swap(0, Ordering::Relaxed);
            let producers = tail.producers.remembered();
            (head, tail.setbacks, frozen, table, producers, tail.stage_barrier())
        };
        let written = (|| {
            self.lead_if_idle(&barrier);
            barrier.wait()?;
            // Before the sync: nothing of it may be on the disk ahead of the records it is about.
            let mut controls = self.registry.read().encode();
            producers.encode_into(&mut controls);
            self.sync_all()?;
            // Bases of all segments up to the one in which the scan begins.
            let bases: Vec<u64> =
                self.segments().iter().map(|s| s.base()).filter(|base| *base <= head.scan_base).collect();
            let mut slot = self.checkpoint_slot.lock();
            head.generation = slot.generation + 1;
            let streams = merge(&frozen, &table).into_iter();
            let bytes = checkpoint::encode(&head, &bases, streams, &controls);
            let name = names::CHECKPOINTS[(head.generation % 2) as usize];
            if self.tail.lock().setbacks != setbacks {
                return Ok(None);
            }
            self.write_file(name, &bytes)?;
            slot.generation = head.generation;
            if let Some(scan_base) = slot.scan_bases.get_mut((head.generation % 2) as usize) {
                *scan_base = head.scan_base;
            }
            let storage = self.home.storage.as_ref();
            let written = Checkpoint::decode(&content(storage, self.home.read_mode, name)?)
                .map_err(|e| e.in_file(name))?;
            Ok(Some(written.streams))
        })();
        let mut tail = self.tail.lock();
        match written {
            Ok(Some(table)) => {
                let due = self.options.checkpoint_bytes.max(table.len() as u64 * 40 * 8);
                self.checkpoint_due.store(due, Ordering::Relaxed);
                *self.hints.write() = super::Hints { table: table.clone(), next_seq: head.next_seq };
                tail.streams.install(table);
                Ok(())
            }
            not_written => {
                tail.streams.thaw();
                // It is due again.
                self.since_checkpoint.fetch_add(covered, Ordering::Relaxed);
                not_written.map(drop)
            }
        }
    }

    /// A file that is there whole or not at all.
    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let storage = &self.home.storage;
        let temporary = names::temporary(name);
        let written = storage
            .create(&temporary, bytes.len() as u64)
            .map_err(|e| Error::io("create", &temporary, e))
            .and_then(|file| {
                file.write_at(bytes, 0).map_err(|e| Error::io("write", &temporary, e))?;
                file.sync().map_err(|e| Error::io("sync", &temporary, e))?;
                storage.rename(&temporary, name).map_err(|e| Error::io("rename", &temporary, e))
            });
        if let Err(error) = written {
            let _ = storage.remove(&temporary);
            return Err(error);
        }
        // The next sync of the directory would succeed and prove nothing, for a new segment too.
        storage.sync_directory().map_err(|e| self.poison(Error::io("sync directory", storage.name(), e)))
    }

    /// Where the last segment's committed frames end.
    fn last_end(&self) -> (u64, u64) {
        self.segments()
            .last()
            .map_or((1, DATA_START), |last| (last.base(), last.end_position().unwrap_or(DATA_START)))
    }
}
