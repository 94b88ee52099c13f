//! Power cuts that are told what to leave, so that all of them can be tried.

use std::collections::BTreeSet;

use super::SimulatedStorage;
use super::disk::{Disk, apply};

/// Something of which a power cut leaves the old or the new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unsynced {
    Name(usize),
    Length(usize),
    Sector(usize, usize),
}

impl SimulatedStorage {
    /// How many things a power cut now would decide one by one: changes of names, lengths, and sectors
    /// that are not on the disk as they are in the cache. Those of files that no cut leaves a name do
    /// not count.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk.lock().fork().unsynced().len()
    }

    /// The disk after a power cut now, which leaves of the [`unsynced`](Self::unsynced) exactly those
    /// for whose number, from 0 on, `lives` is true.
    #[must_use]
    pub fn after_power_cut_leaving(&self, lives: impl Fn(usize) -> bool) -> SimulatedStorage {
        let mut disk = self.disk.lock().fork();
        let left = disk.unsynced().into_iter().enumerate().filter(|(k, _)| lives(*k));
        let left: BTreeSet<Unsynced> = left.map(|(_, item)| item).collect();
        for (k, change) in std::mem::take(&mut disk.name_changes).into_iter().enumerate() {
            if left.contains(&Unsynced::Name(k)) {
                apply(&mut disk.durable_names, change);
            }
        }
        disk.names = disk.durable_names.clone();
        for (k, file) in disk.files.iter_mut().enumerate() {
            file.cut_leaving(left.contains(&Unsynced::Length(k)), |sector| {
                left.contains(&Unsynced::Sector(k, sector))
            });
        }
        Self::of(disk)
    }
}

impl Disk {
    /// Of a fork, which holds nothing of files without a name.
    fn unsynced(&self) -> Vec<Unsynced> {
        let mut items: Vec<Unsynced> = (0..self.name_changes.len()).map(Unsynced::Name).collect();
        for (k, file) in self.files.iter().enumerate() {
            items.extend(file.has_unsynced_length().then_some(Unsynced::Length(k)));
            items.extend(file.unsynced_sectors().into_iter().map(|sector| Unsynced::Sector(k, sector)));
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Access, Storage, read_full};

    fn content(storage: &SimulatedStorage, name: &str) -> Option<Vec<u8>> {
        let file = storage.open(name, Access::Read).ok()?;
        let mut bytes = vec![0; file.size().ok()? as usize];
        read_full(file.as_ref(), &mut bytes, 0).ok()?;
        Some(bytes)
    }

    #[test]
    fn each_name_length_and_sector_is_left_or_not_as_told() {
        let storage = SimulatedStorage::new(1);
        let file = storage.create("a", 0).unwrap();
        file.sync().unwrap();
        storage.sync_directory().unwrap();
        assert_eq!(storage.unsynced(), 0);
        file.write_at(&[7; 1024], 0).unwrap();
        storage.rename("a", "b").unwrap();
        // The name, the length, two sectors.
        assert_eq!(storage.unsynced(), 4);
        assert_eq!(content(&storage.after_power_cut_leaving(|_| false), "a"), Some(Vec::new()));
        assert_eq!(content(&storage.after_power_cut_leaving(|_| true), "b"), Some(vec![7; 1024]));
        let torn = content(&storage.after_power_cut_leaving(|k| k == 1 || k == 3), "a").unwrap();
        assert!(torn[..512] == [0; 512] && torn[512..] == [7; 512]);
    }
}
