//! A disk in memory, as a file of a FUSE file system, that records what reaches it.
//!
//! The file `disk` goes under a loop device. What a load writes into the file `said` is recorded among
//! the writes and flushes of the disk: one thread serves both, so there is one order.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::blocks::Blocks;
use crate::chance::Chance;
use crate::history::Said;
use crate::recording::{Event, Recording, Survives, survive};

const DISK: INodeNo = INodeNo(2);
const SAID: INodeNo = INodeNo(3);
const NEVER_CHANGES: Duration = Duration::from_secs(3600);
/// `O_SYNC` and `O_DSYNC`, as Linux has them.
const SYNCHRONOUS: i32 = 0o4_010_000;

/// One write or flush is to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// So many writes and flushes succeed before.
    pub(crate) after: u64,
    pub(crate) seed: u64,
    /// A flush that fails loses, by the throw of a coin, each write of data since the last one, for
    /// good: what is read back from the disk still shows it.
    pub(crate) flush_loses: bool,
}

#[derive(Debug)]
struct State {
    content: Blocks,
    recording: Option<Recording>,
    said: Vec<u8>,
    unread: Vec<u8>,
    fault: Option<Fault>,
    /// Where the file system keeps what it can't live without: bytes of the disk.
    metadata: Vec<Range<u64>>,
    /// What failed, once it has, and how many events came before.
    failed: Option<(String, usize)>,
    broken: Option<String>,
}

/// The mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Device {
    state: Arc<Mutex<State>>,
    mount_point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Device {
    pub(crate) fn mount(mount_point: &Path, bytes: u64) -> Result<Device> {
        std::fs::create_dir_all(mount_point)?;
        let state = Arc::new(Mutex::new(State {
            content: Blocks::new(bytes),
            recording: None,
            said: Vec::new(),
            unread: Vec::new(),
            fault: None,
            metadata: Vec::new(),
            failed: None,
            broken: None,
        }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("stratalog-disks".into())];
        let files = Files { state: Arc::clone(&state) };
        let session = fuser::spawn_mount(files, mount_point, &config).context("mount a FUSE file system")?;
        Ok(Device { state, mount_point: mount_point.to_owned(), session: Some(session) })
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.mount_point.join("disk")
    }

    pub(crate) fn said(&self) -> PathBuf {
        self.mount_point.join("said")
    }

    /// What is on the disk now counts as durable; from here on all is recorded.
    pub(crate) fn begin(&self) {
        let mut state = lock(&self.state);
        state.recording = Some(Recording { before: state.content.clone(), events: Vec::new() });
    }

    /// Ends the recording.
    pub(crate) fn finish(&self) -> Result<Recording> {
        let mut state = lock(&self.state);
        if let Some(broken) = state.broken.take() {
            anyhow::bail!("{broken}");
        }
        state.recording.take().context("expected a recording, found none")
    }

    /// One write or flush fails with EIO, once. Of a write that fails, any sectors may have reached the
    /// disk.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault = Some(fault);
        state.failed = None;
    }

    /// What a failed flush does not lose.
    pub(crate) fn protect(&self, metadata: Vec<Range<u64>>) {
        lock(&self.state).metadata = metadata;
    }

    /// Waits for the failure: what failed, and how many events came before.
    pub(crate) fn until_failed(&self, limit: Duration) -> Result<(String, usize)> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(failed) = lock(&self.state).failed.clone() {
                return Ok(failed);
            }
            anyhow::ensure!(Instant::now() < deadline, "expected more writes and flushes within {limit:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How often the load said that it had opened its log.
    pub(crate) fn opened(&self) -> usize {
        self.count_said(|said| matches!(said, Said::Open { .. }))
    }

    /// Why a call of the log failed last.
    pub(crate) fn last_failure(&self) -> Option<String> {
        let state = lock(&self.state);
        state.recording.iter().flat_map(|recording| recording.events.iter().rev()).find_map(|event| {
            match event {
                Event::Said(Said::Failed { why, .. }) => Some(why.clone()),
                _ => None,
            }
        })
    }

    fn count_said(&self, wanted: impl Fn(&Said) -> bool) -> usize {
        let state = lock(&self.state);
        let events = state.recording.iter().flat_map(|recording| &recording.events);
        events.filter(|event| matches!(event, Event::Said(said) if wanted(said))).count()
    }

    /// Waits until the load says something.
    pub(crate) fn until_said(&self, wanted: impl Fn(&Said) -> bool, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.count_said(&wanted) == 0 {
            anyhow::ensure!(Instant::now() < deadline, "the load said nothing of it within {limit:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("unmount {}: {error}", self.mount_point.display());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn record(&mut self, event: Event) {
        if let Some(recording) = &mut self.recording {
            recording.events.push(event);
        }
    }

    /// How, if this call is the one that fails.
    fn fails(&mut self, what: impl FnOnce() -> String) -> Option<Fault> {
        let fault = self.fault.as_mut()?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        let fault = *fault;
        self.fault = None;
        let at = self.recording.as_ref().map_or(0, |recording| recording.events.len());
        self.failed = Some((what(), at));
        Some(fault)
    }

    fn write(&mut self, position: u64, bytes: &[u8], synchronous: bool) -> io::Result<()> {
        if let Some(fault) = self.fails(|| format!("write of {} bytes at {position}", bytes.len())) {
            let mut chance = Chance::new(fault.seed);
            let survives = if chance.one_in(2) { Survives::None } else { Survives::Sectors };
            let before = self.content.clone();
            survive(&mut self.content, position, bytes, survives, &mut chance);
            let partly = self.content.read(position, bytes.len());
            if partly != before.read(position, bytes.len()) {
                self.record(Event::Write { position, bytes: partly.into() });
            }
            return Err(io::ErrorKind::Other.into());
        }
        self.content.write(position, bytes);
        self.record(Event::Write { position, bytes: bytes.into() });
        if synchronous {
            self.record(Event::Flush);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(fault) = self.fails(|| "flush".into()) {
            if fault.flush_loses {
                self.lose(&mut Chance::new(fault.seed));
            }
            return Err(io::ErrorKind::Other.into());
        }
        self.record(Event::Flush);
        Ok(())
    }

    fn lose(&mut self, chance: &mut Chance) {
        let metadata = &self.metadata;
        let events = self.recording.iter_mut().flat_map(|recording| recording.events.iter_mut().rev());
        for event in events.take_while(|event| !matches!(event, Event::Flush)) {
            if let Event::Write { position, bytes } = event {
                let of_the_file_system = metadata.iter().any(|range| range.contains(position))
                    || bytes.windows(11).any(|name| name == b"checkpoint-");
                if !of_the_file_system && chance.one_in(2) {
                    *bytes = Vec::new().into();
                }
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            match line.parse() {
                Ok(said) => self.record(Event::Said(said)),
                Err(error) => self.broken = Some(format!("{line:?}: {error}")),
            }
        }
    }
}

struct Files {
    state: Arc<Mutex<State>>,
}

impl Files {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let state = lock(&self.state);
        let (kind, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0),
            DISK => (FileType::RegularFile, state.content.bytes()),
            SAID => (FileType::RegularFile, state.said.len() as u64),
            _ => return None,
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn lifetime(inode: INodeNo) -> Duration {
        if inode == SAID { Duration::ZERO } else { NEVER_CHANGES }
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = match name.to_str() {
            Some("disk") if parent == INodeNo::ROOT => DISK,
            Some("said") if parent == INodeNo::ROOT => SAID,
            _ => return reply.error(Errno::ENOENT),
        };
        match self.attributes(inode) {
            Some(attributes) => reply.entry(&Self::lifetime(inode), &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&Self::lifetime(inode), &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // A line must arrive when it is said, not when pages are written back.
        let flags = if inode == SAID { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        position: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = lock(&self.state);
        if inode == DISK {
            let bytes = state.content.read(position, size as usize);
            drop(state);
            return reply.data(&bytes);
        }
        let begin = state.said.len().min(position as usize);
        let end = state.said.len().min(begin + size as usize);
        reply.data(&state.said[begin..end]);
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        position: u64,
        bytes: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.state);
        if inode == SAID {
            state.say(bytes);
        } else if state.write(position, bytes, flags.0 & SYNCHRONOUS != 0).is_err() {
            return reply.error(Errno::EIO);
        }
        drop(state);
        reply.written(bytes.len() as u32);
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match if inode == DISK { lock(&self.state).flush() } else { Ok(()) } {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, skip: u64, mut reply: ReplyDirectory) {
        for (at, (inode, name)) in
            [(DISK, "disk"), (SAID, "said")].into_iter().enumerate().skip(skip as usize)
        {
            if reply.add(inode, at as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// Whether a FUSE file system can be served here.
pub(crate) fn available() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
}
