//! Each system call of the log in turn fails: the log says so, or it has no effect; it never acknowledges
//! what it has not, and nothing acknowledged is lost.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::child::Lived;
use crate::history::{self, Known, Said};
use crate::judge::judge;
use crate::load::LoadOptions;
use crate::system::run as run_command;

/// Calls by the names of strace; those with `?` are not on every machine.
const CALLS: [&str; 10] = [
    "write",
    "pwrite64",
    "fdatasync",
    "fsync",
    "openat",
    "mmap",
    "ftruncate",
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "fallocate",
];
const SIGABRT: i32 = 6;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Syscalls {
    /// How many different calls of each kind fail, each once and each with all that follow
    #[arg(long, default_value_t = 10, value_parser = crate::some::<u64>())]
    each: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only calls whose name has this in it
    #[arg(long, default_value = "")]
    only: String,
}

/// What the load begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A log whose process was killed: opening it recovers.
    Killed,
}

#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    /// The log, or the call that opens it, told.
    told: u64,
    poisoned: u64,
    /// The process ended before the log was open, or for want of memory.
    ended: u64,
    wrong: u64,
}

pub(crate) fn run(options: &Syscalls, work: &Path) -> Result<bool> {
    let only = &options.only;
    ensure!(
        CALLS.iter().any(|calls| calls.contains(only)),
        "--only: expected a part of {CALLS:?}, found {only:?}"
    );
    let mut good = true;
    make_killed(options, work).context("make a log that was not closed")?;
    for calls in CALLS.into_iter().filter(|calls| calls.contains(only)) {
        let started = Instant::now();
        let name = calls.replace('?', "");
        let mut counts = Counts::default();
        let mut seen = [0, 0];
        for (before, seen) in [Before::Nothing, Before::Killed].into_iter().zip(&mut seen) {
            *seen = count(options, calls, before, work).with_context(|| format!("count {name}"))?;
            for error in ["EIO", "ENOSPC"] {
                for which in chosen(*seen, options.each) {
                    for when in [which.to_string(), format!("{which}+")] {
                        let fault = format!("{calls}:error={error}:when={when}");
                        if let Err(wrong) = fail(options, calls, &fault, before, work, &mut counts) {
                            counts.wrong += 1;
                            println!("  inject={fault} before={before:?}: {wrong:#}");
                        }
                    }
                }
            }
        }
        good &= counts.wrong == 0;
        let Counts { runs, told, poisoned, ended, wrong } = counts;
        println!(
            "syscalls {name}: up to {} calls in a thread, {runs} runs with a failure, {told} told, \
             {poisoned} stopped the log, {ended} ended the process before its log was open or for want of \
             memory, {wrong} failures; {:.0} s",
            seen[0].max(seen[1]),
            started.elapsed().as_secs_f64()
        );
    }
    Ok(good)
}

/// The first few, and some of the others.
fn chosen(most: u64, each: u64) -> Vec<u64> {
    if most <= each {
        return (1..=most).collect();
    }
    let first = each / 2;
    let rest = each - first;
    let spread = (1..=rest).map(|n| first + (most - first) * n / rest);
    (1..=first).chain(spread).collect()
}

fn load(options: &Syscalls, before: Before, work: &Path) -> Result<LoadOptions> {
    let place = work.join("syscalls");
    let _ = fs::remove_dir_all(&place);
    match before {
        Before::Nothing => fs::create_dir_all(&place)?,
        Before::Killed => drop(run_command("cp", [Path::new("-a"), &work.join("killed"), &place])?),
    }
    Ok(LoadOptions {
        dir: place.join("log"),
        said: place.join("said"),
        life: 2,
        seed: options.seed,
        producers: 2,
        batches: 250,
        millis: 20_000,
        segment_bytes: 128 << 10,
        keep: 60,
        close: true,
        ..LoadOptions::default()
    })
}

/// The log that [`Before::Killed`] copies.
fn make_killed(options: &Syscalls, work: &Path) -> Result<()> {
    let load = load(options, Before::Nothing, work)?;
    let load = LoadOptions { life: 1, batches: u64::MAX, close: false, ..load };
    let mut child = Lived::start(&load)?;
    std::thread::sleep(Duration::from_millis(300));
    child.kill()?;
    fs::rename(work.join("syscalls"), work.join("killed"))?;
    Ok(())
}

fn strace(arguments: &[String]) -> Vec<String> {
    ["strace", "-f", "--seccomp-bpf", "-qq", "--signal=none"]
        .iter()
        .map(ToString::to_string)
        .chain(arguments.to_vec())
        .collect()
}

/// How many calls of a kind the busiest thread makes.
fn count(options: &Syscalls, calls: &str, before: Before, work: &Path) -> Result<u64> {
    let load = load(options, before, work)?;
    let trace = work.join("trace");
    let arguments = ["-o".into(), trace.display().to_string(), "-e".into(), format!("trace={calls}")];
    Lived::start_under(&strace(&arguments), Stdio::inherit(), &load)?.ends_well(&load)?;
    let mut threads: HashMap<String, u64> = HashMap::new();
    for line in fs::read_to_string(&trace)?.lines().filter(|line| !line.contains("resumed>")) {
        *threads.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let verdict = judge(&load.dir, &Known::from(&history::read(&load.said)?))?;
    ensure!(verdict.is_good(), "without a failure: {verdict:#?}");
    Ok(threads.into_values().max().unwrap_or(0))
}

fn fail(
    options: &Syscalls,
    calls: &str,
    fault: &str,
    before: Before,
    work: &Path,
    counts: &mut Counts,
) -> Result<()> {
    let load = load(options, before, work)?;
    let said = || if load.said.exists() { history::read(&load.said) } else { Ok(Vec::new()) };
    let said_before = said()?.len();
    let arguments = ["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={fault}")];
    let errors = work.join("errors");
    let mut child = Lived::start_under(
        &strace(&arguments.map(str::to_owned)),
        Stdio::from(fs::File::create(&errors)?),
        &load,
    )?;
    let status = child.ends_within(Duration::from_secs(60))?;
    drop(child);
    let said = said()?;
    let now = &said[said_before..];
    counts.runs += 1;
    counts.told += u64::from(now.iter().any(|said| matches!(said, Said::Failed { .. })));
    counts.poisoned += u64::from(now.iter().any(|said| matches!(said, Said::Failed { poisoned: true, .. })));
    if !status.success() {
        counts.ended += 1;
        let opened = now.iter().any(|said| matches!(said, Said::Open { .. }));
        let errors = fs::read_to_string(&errors).unwrap_or_default();
        ensure!(!opened || out_of_memory(status, calls), "the load ended with {status}: {errors}");
    }
    let verdict = judge(&load.dir, &Known::from(&said))?;
    ensure!(verdict.is_good(), "{verdict:#?}");
    Ok(())
}

/// An allocator whose mmap fails ends the process, and no code of the log's can help that.
fn out_of_memory(status: ExitStatus, calls: &str) -> bool {
    calls == "mmap" && (status.signal() == Some(SIGABRT) || status.code() == Some(128 + SIGABRT))
}
