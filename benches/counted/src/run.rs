//! A work in a process of its own: as it is, under callgrind, under strace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::region::{BEGIN, END, SYMBOL};
use crate::work::{Count, Work};

/// What a work costs in all its repetitions, count by count.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) counts: BTreeMap<Count, f64>,
    /// System calls by name.
    pub(crate) calls: BTreeMap<String, u64>,
}

/// Tools beside the program, or why one is of no use here.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) callgrind: Result<(), String>,
    pub(crate) strace: Result<(), String>,
}

impl Tools {
    pub(crate) fn find() -> Tools {
        // A container may have strace and not let it look.
        let strace = ["-o", "/dev/null", "true"];
        Tools {
            callgrind: probe("valgrind", &["--tool=none", "-q", "true"]),
            strace: probe("strace", &strace),
        }
    }

    pub(crate) fn lack(&self, count: Count) -> Option<&str> {
        match count {
            Count::Instructions => self.callgrind.as_ref().err().map(String::as_str),
            Count::SystemCalls => self.strace.as_ref().err().map(String::as_str),
            _ => None,
        }
    }
}

fn probe(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(tool).args(arguments).output();
    match output {
        Err(error) => Err(format!("{tool}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{tool}: {}", said.lines().next().unwrap_or("it failed without a word")))
        }
    }
}

/// All that is counted of a work and that the tools here can count.
pub(crate) fn count(work: &Work, place: &Place, tools: &Tools) -> Result<Totals> {
    let wants = |wanted: Count| work.counts.iter().any(|(count, ..)| *count == wanted);
    let mut totals = Totals::default();
    if work.counts.iter().any(|(count, ..)| !matches!(count, Count::Instructions | Count::SystemCalls)) {
        totals.counts = alone(work, place)?;
    }
    let files = place.fresh()?;
    if wants(Count::Instructions) && tools.callgrind.is_ok() {
        let instructions = callgrind(work, place, &files.path().join("callgrind"))?;
        totals.counts.insert(Count::Instructions, instructions as f64);
    }
    if wants(Count::SystemCalls) && tools.strace.is_ok() {
        totals.calls = strace(work, place, &files.path().join("strace"))?;
        totals.counts.insert(Count::SystemCalls, totals.calls.values().sum::<u64>() as f64);
    }
    Ok(totals)
}

fn alone(work: &Work, place: &Place) -> Result<BTreeMap<Count, f64>> {
    let said = run(Command::new(program()?), work, place)?;
    let parse = |line: &str| {
        let (name, total) = line.split_once('\t')?;
        Some((Count::from_name(name)?, total.parse().ok()?))
    };
    said.lines()
        .map(|line| parse(line).with_context(|| format!("expected a count and its total, found {line}")))
        .collect()
}

/// Instructions in the region; `into` has them by function.
pub(crate) fn callgrind(work: &Work, place: &Place, into: &Path) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "-q"]).arg(format!("--toggle-collect={SYMBOL}"));
    command.arg(format!("--callgrind-out-file={}", into.display())).arg(program()?);
    run(command, work, place)?;
    let found = std::fs::read_to_string(into).with_context(|| into.display().to_string())?;
    let totals = found.lines().find_map(|line| line.strip_prefix("totals: "));
    let totals: u64 = totals.context("callgrind: expected a line of totals")?.trim().parse()?;
    ensure!(totals > 0, "callgrind: expected instructions in {SYMBOL}, found none; is it still there?");
    Ok(totals)
}

fn strace(work: &Work, place: &Place, into: &Path) -> Result<BTreeMap<String, u64>> {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "64", "-o"]).arg(into).arg(program()?);
    run(command, work, place)?;
    let found = std::fs::read(into).with_context(|| into.display().to_string())?;
    calls(&String::from_utf8_lossy(&found))
}

/// Calls begun between the marks.
fn calls(trace: &str) -> Result<BTreeMap<String, u64>> {
    let quoted = |name: &str| format!("\"{name}\"");
    let (begin, end) = (quoted(BEGIN), quoted(END));
    let mut calls = BTreeMap::new();
    let mut inside = false;
    for line in trace.lines() {
        if line.contains(&begin) {
            inside = true;
        } else if line.contains(&end) {
            ensure!(inside, "strace: expected the begin of the region before its end");
            return Ok(calls);
        } else if inside
            // A number of a thread, then the call; or what became of one that is listed already.
            && let Some((_, call)) = line.split_once(' ')
            && let Some((name, _)) = call.trim_start().split_once('(')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    bail!("strace: expected the begin and the end of the region, found one of them at most")
}

fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// Runs a work in a fresh directory; what it said.
fn run(mut command: Command, work: &Work, place: &Place) -> Result<String> {
    let directory = place.fresh()?;
    command.arg("work").arg(work.name).arg("--in").arg(directory.path());
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{}: {}\n{}", work.name, output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_begun_between_the_marks_count() {
        let trace = "7 write(1, \"\", 0) = 0\n\
             7 statx(AT_FDCWD, \"/stratalog-counted-begin\", 0) = -1 ENOENT (No such file)\n\
             7 pwrite64(3, \"ab\", 2, 0) = 2\n\
             8 futex(0x1, FUTEX_WAIT <unfinished ...>\n\
             7 fdatasync(3) = 0\n\
             8 <... futex resumed>) = 0\n\
             7 pwrite64(3, \"(\", 1, 2) = 1\n\
             7 +++ exited with 0 +++\n\
             7 statx(AT_FDCWD, \"/stratalog-counted-end\", 0) = -1 ENOENT (No such file)\n\
             7 fdatasync(3) = 0\n";
        let expected = [("fdatasync", 1), ("futex", 1), ("pwrite64", 2)];
        let expected: BTreeMap<String, u64> = expected.map(|(name, n)| (name.to_owned(), n)).into();
        assert_eq!(calls(trace).ok(), Some(expected));
        assert!(calls("7 write(1, \"\", 0) = 0\n").is_err());
    }
}
