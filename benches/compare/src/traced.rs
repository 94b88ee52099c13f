//! Reads what `strace -f` wrote: was there a sync within each append?

use std::collections::{HashMap, HashSet};

/// Paths below it mark an append: `begin/PRODUCER/N` and `end/PRODUCER/N`.
pub(crate) const MARK: &str = "/stratalog-compare-mark";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) appends: usize,
    pub(crate) unsynced: usize,
}

/// Each append that began and returned, and how many of them had no whole sync within.
pub(crate) fn judge(trace: &str) -> Seen {
    let mut seen = Seen::default();
    let mut begun: HashMap<&str, usize> = HashMap::new();
    // Lines of begin, by thread.
    let mut syncing: HashMap<&str, usize> = HashMap::new();
    let mut synced_files: HashSet<&str> = HashSet::new();
    // The latest line at which a sync that has returned had begun.
    let mut latest: Option<usize> = None;
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        if let Some((_, mark)) = call.split_once(MARK).filter(|_| call.starts_with("statx(")) {
            let name = mark.split('"').next().unwrap_or_default();
            if let Some(append) = name.strip_prefix("/begin") {
                begun.insert(append, number);
            } else if let Some(begin) = name.strip_prefix("/end").and_then(|append| begun.remove(append)) {
                seen.appends += 1;
                seen.unsynced += usize::from(latest.is_none_or(|sync| sync < begin));
            }
        } else if call.starts_with("openat(") && (call.contains("O_SYNC") || call.contains("O_DSYNC")) {
            synced_files.extend(call.rsplit_once("= ").map(|(_, file)| file.trim()));
        } else if let Some(resumed) = call.strip_prefix("<... ") {
            if let Some(begin) = syncing.remove(thread).filter(|_| succeeded(resumed)) {
                latest = latest.max(Some(begin));
            }
        } else if is_sync(call, &synced_files) {
            if call.ends_with("<unfinished ...>") {
                syncing.insert(thread, number);
            } else if succeeded(call) {
                latest = latest.max(Some(number));
            }
        }
    }
    seen
}

fn is_sync(call: &str, synced_files: &HashSet<&str>) -> bool {
    let Some((name, arguments)) = call.split_once('(') else { return false };
    match name {
        "fsync" | "fdatasync" => true,
        "msync" => arguments.contains("MS_SYNC"),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            let file = arguments.split([',', ')']).next().unwrap_or_default();
            synced_files.contains(file) || arguments.contains("RWF_DSYNC") || arguments.contains("RWF_SYNC")
        }
        _ => false,
    }
}

fn succeeded(call: &str) -> bool {
    call.rsplit_once("= ").is_some_and(|(_, result)| !result.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(thread: u32, what: &str) -> String {
        format!(
            "{thread} statx(AT_FDCWD, \"{MARK}/{what}\", AT_STATX_SYNC_AS_STAT, STATX_ALL, 0x7ff) = -1 ENOENT\n"
        )
    }

    fn judged(lines: &[&str]) -> (usize, usize) {
        let trace: String = lines
            .iter()
            .map(|line| match line.split_once(' ') {
                Some((thread, what)) if what.starts_with("begin") || what.starts_with("end") => {
                    mark(thread.parse().unwrap(), what)
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let seen = judge(&trace);
        (seen.appends, seen.unsynced)
    }

    #[test]
    fn a_sync_between_the_marks_counts() {
        assert_eq!(judged(&["1 begin/0/0", "1 fdatasync(5)     = 0", "1 end/0/0"]), (1, 0));
        assert_eq!(judged(&["1 begin/0/0", "1 msync(0x7f, 4096, MS_SYNC) = 0", "1 end/0/0"]), (1, 0));
    }

    #[test]
    fn a_write_alone_does_not() {
        assert_eq!(judged(&["1 begin/0/0", "1 pwrite64(5, \"x\"..., 9, 0) = 9", "1 end/0/0"]), (1, 1));
        assert_eq!(judged(&["1 begin/0/0", "1 msync(0x7f, 4096, MS_ASYNC) = 0", "1 end/0/0"]), (1, 1));
    }

    #[test]
    fn a_sync_of_another_thread_counts_if_it_is_whole_within() {
        let lines = [
            "1 begin/0/0",
            "2 fdatasync(5 <unfinished ...>",
            "3 begin/1/0",
            "2 <... fdatasync resumed>) = 0",
            "1 end/0/0",
            "3 end/1/0",
        ];
        // The sync had begun before the second append did.
        assert_eq!(judged(&lines), (2, 1));
    }

    #[test]
    fn a_failed_sync_does_not_count() {
        assert_eq!(judged(&["1 begin/0/0", "1 fsync(5) = -1 EIO", "1 end/0/0"]), (1, 1));
        let resumed =
            ["1 begin/0/0", "1 fsync(5 <unfinished ...>", "1 <... fsync resumed>) = -1 EIO", "1 end/0/0"];
        assert_eq!(judged(&resumed), (1, 1));
    }

    #[test]
    fn a_write_into_a_synchronous_file_counts() {
        let lines = [
            "1 openat(AT_FDCWD, \"a\", O_RDWR|O_DSYNC) = 7",
            "1 begin/0/0",
            "1 pwrite64(7, \"x\"..., 9, 0) = 9",
            "1 end/0/0",
        ];
        assert_eq!(judged(&lines), (1, 0));
    }
}
