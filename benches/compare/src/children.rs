//! What is done in a process of its own: to be killed, or to have its memory measured alone.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::appends::fill_in;
use crate::contender::{Contender, Promise, Setup};
use crate::payload::Payload;
use crate::place::Place;
use crate::{admission, filled, ours};

/// Runs a task in this process, which is the child.
pub(crate) fn run(task: &str, contender: &dyn Contender, directory: &Path, numbers: &[u64]) -> Result<()> {
    match (task, numbers) {
        ("append", []) => admission::append_marked(contender, directory),
        ("fill", [bytes, record_bytes]) => {
            fill(contender, directory, *bytes, *record_bytes as usize, Promise::Durable)
        }
        ("fill-unsynced", [bytes, record_bytes]) => {
            fill(contender, directory, *bytes, *record_bytes as usize, Promise::Process)
        }
        ("admit", []) => admit(contender, directory),
        ("fill-streams", [bytes, streams]) => ours::memory::fill(directory, *bytes, *streams),
        ("memory", [streams, record_bytes]) => ours::memory::look(directory, *streams, *record_bytes),
        _ => bail!("expected a task, found {task:?} with {numbers:?}"),
    }
}

/// Starts a task, with the child's standard output to be read.
pub(crate) fn start(task: &str, contender: &str, directory: &Path, numbers: &[u64]) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["child", task, contender])
        .arg(directory)
        .args(numbers.iter().map(u64::to_string))
        .stdout(Stdio::piped())
        .spawn()
        .context("start a process of our own")
}

/// Says whether a contender may take part in durable rows: for the test of this check.
fn admit(contender: &dyn Contender, directory: &Path) -> Result<()> {
    let refused = admission::durable(&Place::new(directory)?, contender, false)?;
    println!("{}", refused.unwrap_or_else(|| "admitted".to_owned()));
    Ok(())
}

/// Fills a store in batches of 100 and waits to be killed.
fn fill(
    contender: &dyn Contender,
    directory: &Path,
    bytes: u64,
    record_bytes: usize,
    promise: Promise,
) -> Result<()> {
    let payload = Payload::new(record_bytes);
    let setup = Setup { promise, ..filled::setup(contender, record_bytes, bytes) };
    let store = contender.open(directory, &setup)?;
    let wrote = fill_in(store.as_ref(), &payload, bytes, 100)?;
    println!("{}", wrote.records);
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

/// A directory as a killed process leaves it that had appended `bytes` of records. Returns their count.
pub(crate) fn crashed(
    contender: &dyn Contender,
    directory: &Path,
    bytes: u64,
    record_bytes: usize,
    promise: Promise,
) -> Result<u64> {
    let task = if promise == Promise::Durable { "fill" } else { "fill-unsynced" };
    let mut child = start(task, contender.name(), directory, &[bytes, record_bytes as u64])?;
    let mut said = String::new();
    let output = child.stdout.take().context("expected the output of the child")?;
    let read = BufReader::new(output).read_line(&mut said);
    child.kill()?;
    child.wait()?;
    read?;
    let records = said.trim().parse().context("expected the child to say how many records it appended")?;
    ensure!(records > 0, "the child appended nothing");
    Ok(records)
}
