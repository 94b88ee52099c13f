//! Loop devices, file systems and mounts, each undone when its value is dropped.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// Runs a command and gives what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    run_with(program, arguments, &[0])
}

/// As [`run`], where other exit codes are good too.
pub(crate) fn run_with<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
    good: &[i32],
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("run {program}"))?;
    if !output.status.code().is_some_and(|code| good.contains(&code)) {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub(crate) fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// More than any load takes, also one that waits for no sync; blocks of zeros cost nothing.
    pub(crate) const DISK_BYTES: u64 = 768 << 20;

    pub(crate) fn mkfs(self, device: &Path) -> Result<()> {
        let options: &[&str] = match self {
            // All of it now: nothing is left for a kernel thread to write into the recording. The journal
            // is small, so that it comes round often.
            FileSystem::Ext4 => {
                let now = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
                &["-q", "-F", "-b", "4096", "-J", "size=4", "-E", now]
            }
            FileSystem::Xfs => &["-q", "-f", "-K"],
        };
        let program = format!("mkfs.{}", self.name());
        run(&program, options.iter().map(OsStr::new).chain([device.as_os_str()]))?;
        Ok(())
    }

    /// Commands without which there is no such file system.
    pub(crate) fn commands(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &["mkfs.ext4", "e2fsck", "debugfs"],
            FileSystem::Xfs => &["mkfs.xfs"],
        }
    }
}

/// A block device over a file.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    device: PathBuf,
}

impl LoopDevice {
    pub(crate) fn over(file: &Path) -> Result<LoopDevice> {
        let printed = run("losetup", [OsStr::new("--find"), OsStr::new("--show"), file.as_os_str()])?;
        Ok(LoopDevice { device: PathBuf::from(printed.trim()) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        complain(run("losetup", [OsStr::new("-d"), self.device.as_os_str()]));
    }
}

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Mounted {
    mount_point: PathBuf,
}

impl Mounted {
    pub(crate) fn mount(source: &Path, mount_point: &Path, kind: &str, options: &str) -> Result<Mounted> {
        std::fs::create_dir_all(mount_point)?;
        let (source, target) = (source.as_os_str(), mount_point.as_os_str());
        let words = ["-t", kind, "-o", options].map(OsStr::new);
        run("mount", words.into_iter().chain([source, target]))?;
        Ok(Mounted { mount_point: mount_point.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        complain(unmount(&self.mount_point));
    }
}

/// A child that was killed a moment ago may still be on its way out of the file system.
pub(crate) fn unmount(mount_point: &Path) -> Result<()> {
    let mut last = Ok(());
    for _ in 0..50 {
        last = run("umount", [mount_point]).map(drop);
        if last.is_ok() {
            return last;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run("umount", [OsStr::new("-l"), mount_point.as_os_str()]).map(drop).or(last)
}

fn complain<T>(outcome: Result<T>) {
    if let Err(error) = outcome {
        eprintln!("{error:#}");
    }
}

/// What a command of this program can't do without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Root,
    Fuse,
    LoopDevice,
    Command(&'static str),
}

/// What is missing, in words.
pub(crate) fn missing(needs: &[Need]) -> Vec<String> {
    needs
        .iter()
        .filter_map(|need| match *need {
            Need::Root => (!is_root()).then(|| "not root".to_owned()),
            Need::Fuse => (!crate::device::available()).then(|| "no /dev/fuse to open".to_owned()),
            Need::LoopDevice => {
                let there = Path::new("/dev/loop-control").exists();
                let free = there && run("losetup", ["--find"]).is_ok();
                (!free).then(|| "no loop device to be had".to_owned())
            }
            Need::Command(name) => (!has_command(name)).then(|| format!("no command {name}")),
        })
        .collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn has_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}
