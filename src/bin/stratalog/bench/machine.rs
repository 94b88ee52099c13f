//! What it is measured on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::inspect;

/// tmpfs and ramfs, by the number that `statfs` gives.
const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58F6];

#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) measured_at: String,
    pub(super) directory: String,
    pub(super) file_system: String,
    pub(super) device: Option<String>,
    /// Nothing of what is measured reaches a disk.
    pub(super) memory: bool,
    pub(super) kernel: Option<String>,
    pub(super) processor: Option<String>,
    pub(super) cores: usize,
    /// Threads that ran or wanted to, on average of the minute before.
    #[serde(rename = "load_average")]
    pub(super) load: Option<f64>,
}

impl Machine {
    pub(super) fn of(dir: &Path) -> Machine {
        let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let kind = rustix::fs::statfs(&dir).map_or(0, |facts| facts.f_type as u32);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = Mount::holding(&dir, &mounts);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = |path| fs::read_to_string(path).ok().map(|text: String| text.trim().to_owned());
        Machine {
            measured_at: inspect::utc(i64::try_from(now.as_secs()).unwrap_or(0) * 1_000_000)
                .replace(".000000", ""),
            directory: dir.display().to_string(),
            file_system: mount.as_ref().map_or_else(|| format!("{kind:#x}"), |mount| mount.kind.clone()),
            device: mount.map(|mount| mount.device),
            memory: MEMORY.contains(&kind),
            kernel: line("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}")),
            processor: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| processor(&text)),
            load: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// In one line each, for people.
    pub(super) fn place(&self) -> String {
        let device = self.device.as_ref().map_or(String::new(), |device| format!(" on {device}"));
        format!("{} ({}{device})", self.directory, self.file_system)
    }

    pub(super) fn hardware(&self) -> String {
        let cores = if self.cores == 1 { "1 core".to_owned() } else { format!("{} cores", self.cores) };
        [Some(cores), self.processor.clone(), self.kernel.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
    device: String,
}

impl Mount {
    /// Of what is mounted at the same place, what came last is seen.
    fn holding(dir: &Path, mounts: &str) -> Option<Mount> {
        let holding = mounts.lines().filter_map(Mount::parse).filter(|mount| dir.starts_with(&mount.point));
        holding.max_by_key(|mount| mount.point.components().count())
    }

    /// Of a line of `mountinfo`: the mount point is its fifth word, file system and device are the
    /// first two behind a lone dash.
    fn parse(line: &str) -> Option<Mount> {
        let point = unescaped(line.split(' ').nth(4)?);
        let mut behind = line.split_once(" - ")?.1.split(' ');
        let (kind, device) = (behind.next()?.to_owned(), unescaped(behind.next()?));
        Some(Mount { point: PathBuf::from(point), kind, device })
    }
}

/// Blanks and backslashes stand there in octal.
fn unescaped(word: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(word.to_owned(), |word, (escape, meant)| word.replace(escape, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_a_directory() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            23 22 0:5 / /data rw - tmpfs tmpfs rw\n\
            24 22 8:2 / /data rw master:1 shared:7 - xfs /dev/sdb rw\n\
            25 22 8:3 / /my\\040disk rw - btrfs /dev/sdc rw\n\
            no mount\n";
        let device = |dir| Mount::holding(Path::new(dir), mounts).map(|mount| mount.device);
        assert_eq!(device("/home").as_deref(), Some("/dev/sda1"));
        assert_eq!(device("/data/logs").as_deref(), Some("/dev/sdb"));
        assert_eq!(device("/data2").as_deref(), Some("/dev/sda1"));
        assert_eq!(device("/my disk/a").as_deref(), Some("/dev/sdc"));
        assert_eq!(Mount::holding(Path::new("/"), ""), None);
    }
}
