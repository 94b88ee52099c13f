//! The state of a simulated disk, and what goes wrong on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::Content;
use super::random::Random;

/// The system's numbers of errors: EIO, EMFILE, ENOSPC, EROFS, EDQUOT.
const ERRORS: [i32; 5] = [5, 24, 28, 30, 122];
const NO_SPACE: i32 = 28;
const INPUT_OUTPUT: i32 = 5;

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) files: Vec<Content>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    /// Oldest first; not synced.
    pub(super) name_changes: VecDeque<NameChange>,
    pub(super) locked: bool,
    /// How often each file is open.
    pub(super) open: BTreeMap<usize, usize>,
    pub(super) clock: i64,
    pub(super) random: Random,
    pub(super) calls: u64,
    pub(super) syncs: u64,
    pub(super) injected: u64,
    pub(super) faults: Faults,
    /// Decides what goes wrong; apart from `random`, which is the log's own.
    pub(super) weather: Random,
    /// In 256, at each call.
    pub(super) write_back: u8,
    pub(super) capacity: Option<u64>,
}

/// What is to go wrong, at which call.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) calls: BTreeSet<u64>,
    pub(super) syncs: BTreeSet<u64>,
    pub(super) full_from: Option<u64>,
    pub(super) cut_at: Option<(u64, Arc<AtomicU64>)>,
    pub(super) cut: Option<(Box<Disk>, u64)>,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: Option<Box<Disk>>,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Set(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

pub(super) fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name, file);
        }
        NameChange::Rename(from, to, file) => {
            names.remove(&from);
            names.insert(to, file);
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl Disk {
    /// Counts a call; the moment for a cut, a crash or a fault may have come.
    pub(super) fn count(&mut self) -> io::Result<()> {
        if self.faults.crashed.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.calls += 1;
        if self.write_back > 0 && self.weather.below(256) < u64::from(self.write_back) {
            self.write_something_back();
        }
        let now = self.calls;
        if let Some((_, witness)) = self.faults.cut_at.take_if(|(call, _)| *call == now) {
            self.faults.cut = Some((Box::new(self.fork()), witness.load(Ordering::SeqCst)));
        }
        if self.faults.crash_at == Some(now) {
            self.faults.crashed = Some(Box::new(self.fork()));
            return Err(io::Error::other("the machine has stopped"));
        }
        if self.faults.full_from.take_if(|call| *call <= now).is_some() {
            self.capacity = Some(self.used());
        }
        if self.faults.calls.remove(&now) {
            self.injected += 1;
            let at = self.weather.below(ERRORS.len() as u64) as usize;
            return Err(io::Error::from_raw_os_error(ERRORS.get(at).copied().unwrap_or(INPUT_OUTPUT)));
        }
        Ok(())
    }

    /// Counts a sync of a file.
    pub(super) fn count_sync(&mut self) -> io::Result<()> {
        self.count()?;
        self.syncs += 1;
        let now = self.syncs;
        if self.faults.syncs.remove(&now) {
            self.injected += 1;
            return Err(io::Error::from_raw_os_error(INPUT_OUTPUT));
        }
        Ok(())
    }

    /// Whether the machine still runs: a call that fails after it stopped has no effect.
    pub(super) fn runs(&self) -> bool {
        self.faults.crashed.is_none()
    }

    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        named.into_iter().filter_map(|file| self.files.get(file)).map(|content| content.len() as u64).sum()
    }

    /// An error if the disk has no room for so many bytes more.
    pub(super) fn reserve(&mut self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more > capacity => {
                self.injected += 1;
                Err(io::Error::from_raw_os_error(NO_SPACE))
            }
            _ => Ok(()),
        }
    }

    fn write_something_back(&mut self) {
        if self.weather.below(8) == 0 {
            // A journal keeps the order of names.
            if let Some(change) = self.name_changes.pop_front() {
                apply(&mut self.durable_names, change);
            }
            return;
        }
        let at = self.weather.below(self.names.len() as u64) as usize;
        let file = self.names.values().nth(at).copied();
        if let Some(content) = file.and_then(|file| self.files.get_mut(file)) {
            content.write_back(&mut self.weather);
        }
    }

    pub(super) fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    pub(super) fn change(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.name_changes.push_back(change);
    }

    pub(super) fn sync_names(&mut self) {
        self.name_changes.clear();
        self.durable_names = self.names.clone();
    }

    /// As the next process of the same boot finds it.
    pub(super) fn fork(&self) -> Disk {
        let mut disk = Disk {
            files: self.files.clone(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            name_changes: self.name_changes.clone(),
            clock: self.clock,
            random: Random(self.random.0 ^ 0x00A5_A5A5),
            weather: Random(self.weather.0 ^ 0x005A_5A5A),
            write_back: self.write_back,
            capacity: self.capacity,
            ..Disk::default()
        };
        disk.forget_unnamed();
        disk
    }

    /// Gives back what no name leads to.
    fn forget_unnamed(&mut self) {
        let changed = self.name_changes.iter().filter_map(|change| match change {
            NameChange::Set(_, file) | NameChange::Rename(_, _, file) => Some(file),
            NameChange::Remove(_) => None,
        });
        let named: BTreeSet<usize> =
            self.names.values().chain(self.durable_names.values()).chain(changed).copied().collect();
        for (at, content) in self.files.iter_mut().enumerate() {
            if !named.contains(&at) {
                *content = Content::default();
            }
        }
    }

    /// Only what is durable is left, and of the rest what `lives`.
    pub(super) fn cut(&mut self, lives: &mut impl FnMut() -> bool) {
        for change in std::mem::take(&mut self.name_changes).into_iter().filter(|_| lives()) {
            apply(&mut self.durable_names, change);
        }
        self.names = self.durable_names.clone();
        self.forget_unnamed();
        self.files.iter_mut().for_each(|file| file.cut(lives));
    }
}
