//! The part of a work that is counted. What stands before it readies and warms up.

use std::hint::black_box;

use anyhow::{Context, Result};

use crate::heap;

/// Names of files that are not there: who reads a list of system calls finds the region between them.
pub(crate) const BEGIN: &str = "/stratalog-counted-begin";
pub(crate) const END: &str = "/stratalog-counted-end";

/// callgrind counts inside this function alone.
pub(crate) const SYMBOL: &str = "*stratalog_counted::region::counted*";

/// What the program itself can tell of a region.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) allocations: u64,
    pub(crate) faults: u64,
}

pub(crate) fn region(mut work: impl FnMut() -> Result<()>) -> Result<Told> {
    let faults_before = faults()?;
    let before = heap::allocations();
    mark(BEGIN);
    let done = counted(&mut work);
    mark(END);
    let allocations = heap::allocations() - before;
    let faults = faults()? - faults_before;
    done.map(|()| Told { allocations, faults })
}

#[inline(never)]
fn counted(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    // Looked at behind the call, which is no jump then.
    black_box(work())
}

fn mark(name: &str) {
    let _ = black_box(std::fs::metadata(name));
}

/// Minor ones of this process.
fn faults() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before the last bracket may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let minor = fields.split_whitespace().nth(7).context("/proc/self/stat: expected minflt")?;
    Ok(minor.parse()?)
}
