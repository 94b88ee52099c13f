//! A storage that calls back before and after each call, to hold it up or to make it fail.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_debug_implementations)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use stratalog::Result;
use stratalog::storage::{Access, DirectoryEntry, Mapping, Storage, StorageFile, StorageLock};

/// Called with the operation (a `!` behind it if it failed) and the file.
pub type Hook = Arc<dyn Fn(&str, &str) -> io::Result<()> + Send + Sync>;

pub fn nothing() -> Hook {
    Arc::new(|_, _| Ok(()))
}

#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Storage>,
    before: Hook,
    after: Hook,
    lockless: bool,
}

#[derive(Debug)]
struct NoLock;

impl StorageLock for NoLock {
    fn held_here(&self) -> bool {
        true
    }
    fn holder(&self) -> u32 {
        0
    }
}

impl Hooked {
    pub fn new(inner: Arc<dyn Storage>, before: Hook, after: Hook) -> Hooked {
        Hooked { inner, before, after, lockless: false }
    }

    /// A second writer may come while the first one only looks alive: it stands for a killed one.
    pub fn lockless(mut self) -> Hooked {
        self.lockless = true;
        self
    }

    fn file(&self, name: &str, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(HookedFile { hooks: self.clone(), name: name.into(), file })
    }

    fn run<T>(&self, operation: &str, name: &str, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        (self.before)(operation, name)?;
        let outcome = act();
        (self.after)(&format!("{operation}{}", if outcome.is_err() { "!" } else { "" }), name)?;
        outcome
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl Storage for Hooked {
    fn name(&self) -> String {
        "hooked".into()
    }
    fn lock(&self) -> Result<Box<dyn StorageLock>> {
        if self.lockless { Ok(Box::new(NoLock)) } else { self.inner.lock() }
    }
    fn list(&self) -> io::Result<Vec<DirectoryEntry>> {
        self.run("list", "", || self.inner.list())
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.run("create", name, || self.inner.create(name, len)).map(|file| self.file(name, file))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        self.run("open", name, || self.inner.open(name, access)).map(|file| self.file(name, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.run("rename", from, || self.inner.rename(from, to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.run("remove", name, || self.inner.remove(name))
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.run("sync directory", "", || self.inner.sync_directory())
    }
    fn unix_micros(&self) -> i64 {
        self.inner.unix_micros()
    }
    fn random(&self) -> u64 {
        self.inner.random()
    }
}

struct HookedFile {
    hooks: Hooked,
    name: String,
    file: Arc<dyn StorageFile>,
}

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedFile")
    }
}

impl StorageFile for HookedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.hooks.run("write", &self.name, || self.file.write_at(bytes, position))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.hooks.run("set_len", &self.name, || self.file.set_len(len))
    }
    fn sync(&self) -> io::Result<()> {
        self.hooks.run("sync", &self.name, || self.file.sync())
    }
    fn write_out(&self, start: u64, end: u64) -> io::Result<()> {
        self.hooks.run(&format!("write out {start}..{end}"), &self.name, || self.file.write_out(start, end))
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.hooks.run("map", &self.name, || self.file.map(len))
    }
}

/// Holds up whoever passes while it is shut.
#[derive(Default, Clone)]
pub struct Gate(Arc<(Mutex<(bool, u32)>, Condvar)>);

impl Gate {
    pub fn shut(&self) {
        self.0.0.lock().0 = true;
    }

    pub fn open(&self) {
        self.0.0.lock().0 = false;
        self.0.1.notify_all();
    }

    pub fn pass(&self) {
        let mut state = self.0.0.lock();
        state.1 += 1;
        while state.0 {
            self.0.1.wait(&mut state);
        }
        state.1 -= 1;
    }

    pub fn wait_for_one(&self) {
        for _ in 0..10_000 {
            if self.0.0.lock().1 > 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("nobody came to the gate");
    }
}
