//! What was measured on, for the report.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Name and value, in the order of the report.
pub(crate) type Facts = Vec<(String, String)>;

pub(crate) fn facts(directory: &Path) -> Result<Facts> {
    let mut facts = [
        ("date", date(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())),
        ("processor", processor()),
        ("cores", std::thread::available_parallelism()?.to_string()),
        ("memory", memory()),
        ("kernel", {
            let name = rustix::system::uname();
            format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
        }),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    facts.extend(disk(directory)?);
    Ok(facts)
}

/// `year-month-day` in UTC, by the calendar of days since 1970.
fn date(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

fn processor() -> String {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = all.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

fn memory() -> String {
    let all = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = all.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).map(|kib| kib / f64::from(1 << 20));
    gib.map_or_else(|| "unknown".to_owned(), |gib| format!("{gib:.0} GiB"))
}

/// File system, its options and the device, by the number of the device in the list of mounts.
fn disk(directory: &Path) -> Result<Facts> {
    let number = fs::metadata(directory)?.st_dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the list of mounts")?;
    let mut facts = mount(&mounts, &format!("{major}:{minor}"));
    let queue = format!("/sys/dev/block/{major}:{minor}/queue");
    let whole = format!("/sys/dev/block/{major}:{minor}/../queue");
    let setting = |name: &str| {
        let read = fs::read_to_string(format!("{queue}/{name}"));
        let read = read.or_else(|_| fs::read_to_string(format!("{whole}/{name}")));
        read.map_or_else(|_| "unknown".to_owned(), |value| value.trim().to_owned())
    };
    facts.push(("write cache of the device".to_owned(), setting("write_cache")));
    facts.push(("scheduler".to_owned(), setting("scheduler")));
    Ok(facts)
}

fn mount(mounts: &str, device: &str) -> Facts {
    let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device));
    let Some((_, of_system)) = found.and_then(|line| line.split_once(" - ")) else {
        return vec![("file system".to_owned(), "unknown".to_owned())];
    };
    let mut fields = of_system.split(' ');
    let (kind, source) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let options = fields.next().unwrap_or_default();
    vec![("file system".to_owned(), format!("{kind} ({options})")), ("device".to_owned(), source.to_owned())]
}

/// The version of a package, as the lock file that was built from says.
pub(crate) fn version(package: &str) -> Option<&'static str> {
    version_in(include_str!("../../../Cargo.lock"), package)
}

fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, behind) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    behind.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_767_225_599), "2025-12-31");
        assert_eq!(date(1_767_225_600), "2026-01-01");
    }

    #[test]
    fn a_mount_is_found_by_its_device() {
        let mounts = "21 1 0:5 / /dev rw - devtmpfs none rw\n\
                      22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n";
        let facts = mount(mounts, "254:0");
        assert_eq!(facts[0].1, "ext4 (rw,discard)");
        assert_eq!(facts[1].1, "/dev/vda");
        assert_eq!(mount(mounts, "9:9")[0].1, "unknown");
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(version_in("name = \"redb\"\nversion = \"4.6.0\"\n", "redb"), Some("4.6.0"));
        assert!(version("okaywal").is_some());
        assert_eq!(version("nothing-of-this-name"), None);
    }
}
