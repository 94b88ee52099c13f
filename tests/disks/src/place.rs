//! A fresh directory for everything, and an end that leaves nothing behind.
//!
//! The work is done by a child of this program: however it ends, its parent then unmounts what is
//! mounted below the directory, frees the loop devices over files in it, and removes it.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::system::{run, unmount};

/// Tells the child where to work; only a parent sets it.
const INSIDE: &str = "STRATALOG_DISKS_INSIDE";
const PREFIX: &str = "stratalog-disks-";

/// Where to work, in the child.
pub(crate) fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// Runs this program again with the same arguments, in a fresh directory.
pub(crate) fn supervise(base: &Path, keep: bool) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    ensure!(base.is_dir(), "--work: expected a directory at {}, found none; make it", base.display());
    remove_stale(base);
    let directory = base.join(format!("{PREFIX}{}", std::process::id()));
    std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Its end of the pipe closes with this process: the child then ends too.
    let child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(INSIDE, &directory)
        .stdin(Stdio::piped())
        .spawn();
    let mut child = child.context("start the child that does the work")?;
    let _while_open = child.stdin.take();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.load(Ordering::Relaxed) {
            eprintln!("stopped; cleaning up");
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if keep {
        free(&directory);
        eprintln!("kept: {}", directory.display());
    } else {
        remove(&directory);
    }
    if let Some(signal) = status.signal() {
        eprintln!("expected the child to end by itself, found it ended by signal {signal}");
    }
    Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)))
}

/// Ends this process once its parent is gone. What the parent writes is a wish to end in good order.
pub(crate) fn end_with_parent(asked: &'static AtomicBool) {
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::Read::read(&mut std::io::stdin(), &mut byte).is_ok_and(|read| read > 0) {
            asked.store(true, Ordering::Relaxed);
        }
        std::process::exit(1);
    });
}

/// What an earlier run left whose process was killed.
fn remove_stale(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
        if let Some(pid) = pid
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            remove(&entry.path());
        }
    }
}

fn remove(directory: &Path) {
    free(directory);
    if let Err(error) = std::fs::remove_dir_all(directory) {
        eprintln!("remove {}: {error}", directory.display());
    }
}

fn free(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let mut below: Vec<&Path> = below.filter(|path| path.starts_with(directory)).collect();
    // A file system of a loop device whose file lies in another mount goes before that mount.
    below.reverse();
    for mount_point in below {
        let _ = unmount(mount_point);
        free_loops(directory);
    }
    free_loops(directory);
}

fn free_loops(directory: &Path) {
    let listed = run("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
    for line in listed.unwrap_or_default().lines() {
        if let Some((device, file)) = line.trim().split_once(' ')
            && Path::new(file.trim()).starts_with(directory)
        {
            let _ = run("losetup", ["-d", device]);
        }
    }
}

/// Memory, where there is enough of it: what is timed here is not the machine's own disk.
pub(crate) fn default_base() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}
