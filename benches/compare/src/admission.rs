//! Who may take part: whoever gives back what was appended, and, in durable rows, syncs before it
//! acknowledges.
//!
//! The second is checked on the system calls: a child process appends with several producers under
//! `strace` and marks the begin and the return of each append by a call that fails (the `statx` of a
//! path that does not exist). Between the two marks of every append there has to be a whole fsync,
//! fdatasync or synchronous msync that succeeded, or a write into a file opened with O_SYNC or O_DSYNC.
//! That says nothing of *what* was synced: a rival that syncs another file than it writes would pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::appends;
use crate::contender::{Contender, Promise, Setup, Work};
use crate::payload::Payload;
use crate::place::Place;
use crate::traced;

const PRODUCERS: usize = 4;
const APPENDS: usize = 25;
const RECORD_BYTES: usize = 2_048;

/// Why a contender may not take part in durable rows; `None` if it may.
pub(crate) fn durable(place: &Place, contender: &dyn Contender, trust: bool) -> Result<Option<String>> {
    if trust {
        return Ok(None);
    }
    let scratch = place.scratch(1 << 30)?;
    let trace = scratch.path().join("trace");
    let calls = "statx,openat,fsync,fdatasync,msync,write,writev,pwrite64,pwritev,pwritev2";
    let store = scratch.path().join("store");
    std::fs::create_dir(&store)?;
    let child = Command::new("strace")
        .args(["-f", "-qq", "-s", "96", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"])
        .arg(&trace)
        .arg(std::env::current_exe()?)
        .args(["child", "append", contender.name()])
        .arg(&store)
        .output();
    let child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "durable rows need strace, to check that everyone syncs before it acknowledges, and it was not \
             found: install it, or pass --trust-syncs"
        ),
        other => other.context("run strace")?,
    };
    if !child.status.success() {
        let said = String::from_utf8_lossy(&child.stderr);
        let said: String =
            said.trim().chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
        return Ok(Some(format!("could not be checked for its syncs: {said}")));
    }
    let seen = traced::judge(&std::fs::read_to_string(&trace)?);
    ensure!(
        seen.appends == PRODUCERS * APPENDS,
        "expected {} appends of {} in the trace of its system calls, found {}",
        PRODUCERS * APPENDS,
        contender.name(),
        seen.appends
    );
    Ok((seen.unsynced > 0).then(|| {
        format!(
            "{} of {} appends returned without a sync between call and return",
            seen.unsynced, seen.appends
        )
    }))
}

/// The child under `strace`.
pub(crate) fn append_marked(contender: &dyn Contender, directory: &Path) -> Result<()> {
    let payload = Payload::new(RECORD_BYTES);
    let setup = setup(Promise::Durable, PRODUCERS);
    let store = contender.open(directory, &setup)?;
    let one = |number: usize| -> Result<()> {
        let mut producer = store.producer(number)?;
        for n in 0..APPENDS {
            mark("begin", number, n);
            producer.append(&[payload.record(n)])?;
            mark("end", number, n);
        }
        Ok(())
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PRODUCERS).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => bail!("a producer panicked"),
        })
    })?;
    store.close()
}

fn mark(what: &str, producer: usize, n: usize) {
    let path = PathBuf::from(traced::MARK).join(what).join(producer.to_string()).join(n.to_string());
    // It does not exist: that it was asked for is the mark.
    let _ = std::fs::metadata(path);
}

fn setup(promise: Promise, producers: usize) -> Setup {
    Setup { promise, record_bytes: RECORD_BYTES, producers, capacity_bytes: 8 << 20, keep: true }
}

/// Why a contender may not take part at all; `None` if it may: what it was given has to come back, from
/// the open store and after a close, with the count and the checksums of all records.
pub(crate) fn reads_back(place: &Place, contender: &dyn Contender) -> Result<Option<String>> {
    let promise =
        if contender.offers(Work::Append(Promise::Process)) { Promise::Process } else { Promise::Durable };
    let scratch = place.scratch(1 << 30)?;
    let payload = Payload::new(RECORD_BYTES);
    let setup = setup(promise, 1);
    let check = || -> Result<()> {
        let store = contender.open(scratch.path(), &setup)?;
        let mut wrote = appends::fill_in(store.as_ref(), &payload, 1 << 20, 100)?;
        wrote.add(appends::fill_in(store.as_ref(), &payload, 64 << 10, 1)?);
        store.close()?;
        let store = contender.open(scratch.path(), &setup)?;
        appends::read_back(store.as_ref(), &payload, wrote)?;
        store.close()
    };
    Ok(check().err().map(|error| format!("{error:#}")))
}
