//! One write or flush of the disk fails; the log is opened again in the same boot and appended to; then
//! the power fails.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::blocks::BLOCK;
use crate::chance::Chance;
use crate::child::Lived;
use crate::device::{Device, Fault};
use crate::history::Said;
use crate::image::Check;
use crate::load::LoadOptions;
use crate::power_cuts::{Totals, log_in, look_at};
use crate::recording::{Cut, Event, Recording, Survives};
use crate::system::{self, FileSystem, LoopDevice, Mounted};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Eio {
    /// The file system beneath the log
    #[arg(long, value_enum, default_value = "ext4")]
    pub(crate) fs: FileSystem,
    /// The first write or flush to fail
    #[arg(long, default_value_t = 1, value_parser = crate::some::<u64>())]
    from: u64,
    /// The last one
    #[arg(long, default_value_t = 50, value_parser = crate::some::<u64>())]
    to: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Power cuts after each failure, not counting the one at the very end
    #[arg(long, default_value_t = 6)]
    cuts: usize,
    #[arg(long, default_value_t = 2, value_parser = crate::some::<usize>())]
    jobs: usize,
    /// A flush that fails loses, for good, some of the data written since the last one, whoever asked
    /// for it. Losses are to be expected then: see docs/disks.md. ext4 only, which keeps its own metadata
    #[arg(long)]
    flush_loses: bool,
    /// Keep images on which something is wrong, and what had been said by then, in this directory
    #[arg(long)]
    save: Option<PathBuf>,
}

/// From when on writes and flushes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// From before the log is made.
    FromTheStart,
    /// From some moment at which it is at work.
    AtWork,
}

/// What one failure led to.
#[derive(Debug)]
struct Failed {
    recording: Recording,
    what: String,
    /// The first event after it.
    at: usize,
    /// Calls of the log that failed, and whether the log stopped.
    reported: usize,
    poisoned: bool,
    /// The file system went read-only and had to be mounted anew.
    mounted_anew: bool,
}

pub(crate) fn run(options: &Eio, work: &Path) -> Result<bool> {
    ensure!(!options.flush_loses || options.fs == FileSystem::Ext4, "--flush-loses: expected --fs ext4");
    let (from, to) = (options.from, options.to);
    ensure!(from <= to, "expected --from up to --to, found --from {from} --to {to}");
    let started = Instant::now();
    let mut totals = Totals::default();
    let (mut runs, mut reported, mut poisoned, mut anew, mut broken) = (0, 0, 0, 0, Vec::new());
    for n in options.from..=options.to {
        for counted in [Counted::FromTheStart, Counted::AtWork] {
            let seed = Chance::part(options.seed, n * 2 + u64::from(counted == Counted::AtWork)).next();
            let name = format!("{}-{}-{n}-{counted:?}", options.fs.name(), options.seed);
            runs += 1;
            let failed = match fail(options, n, counted, seed, work) {
                Ok(failed) => failed,
                Err(error) => {
                    println!("  {name}: {error:#}");
                    broken.push(name);
                    continue;
                }
            };
            reported += usize::from(failed.reported > 0);
            poisoned += usize::from(failed.poisoned);
            anew += usize::from(failed.mounted_anew);
            let before = (totals.bad, totals.unclean);
            let check =
                Check { fs: options.fs, mount_every: 1, work: work.to_owned(), save: options.save.clone() };
            let cuts = cuts(options, &failed, seed);
            for (at, cut, outcome) in look_at(&failed.recording, &cuts, &check, options.jobs, &name)? {
                totals.add(&format!("{name}-{at}"), &cut, &outcome);
            }
            if before != (totals.bad, totals.unclean) {
                println!("  {name}: {failed}: LOSSES OR DAMAGE");
            }
        }
    }
    totals.examples.iter().for_each(|example| println!("  {example}"));
    println!(
        "eio {} seed {}: {runs} failures of a write or flush, {reported} reported by the log, {poisoned} \
         stopped it, {anew} made the file system read-only, {} hung or broke a promise at run time; \
         {} images after more was appended, {} with losses, {} not clean; {:.0} s",
        options.fs.name(),
        options.seed,
        broken.len(),
        totals.images,
        totals.bad,
        totals.unclean,
        started.elapsed().as_secs_f64()
    );
    Ok(totals.is_good() && broken.is_empty())
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} failed, {} calls failed, {}{}",
            self.what,
            self.reported,
            if self.poisoned { "the log stopped" } else { "the log went on" },
            if self.mounted_anew { ", the file system was mounted anew" } else { "" }
        )
    }
}

fn cuts(options: &Eio, failed: &Failed, seed: u64) -> Vec<Cut> {
    let end = failed.recording.events.len();
    let mut cuts = failed.recording.cuts(failed.at..end, options.cuts, seed);
    cuts.push(Cut { at: end, survives: Survives::None, seed });
    cuts
}

/// The journal, the superblock and the tables; directories are known by what is in them.
fn ext4_metadata(disk: &Path) -> Result<Vec<Range<u64>>> {
    let block = |n: u64| n * BLOCK as u64;
    let mut ranges = Vec::new();
    let words = [OsStr::new("-R"), OsStr::new("blocks <8>"), disk.as_os_str()];
    for journal in system::run("debugfs", words)?.split_whitespace() {
        let n: u64 = journal.parse().with_context(|| format!("a block of the journal: {journal:?}"))?;
        ranges.push(block(n)..block(n + 1));
    }
    let tables = system::run("dumpe2fs", [disk])?;
    let tables = tables.lines().filter_map(|line| line.trim().strip_prefix("Inode table at "));
    for table in tables {
        let range = table.split([' ', ',']).next().and_then(|range| range.split_once('-'));
        let (_, last) = range.with_context(|| format!("where an inode table is: {table:?}"))?;
        // Superblock, descriptors and bitmaps come before the tables of the first group.
        ranges.push(0..block(last.parse::<u64>()? + 1));
    }
    ensure!(ranges.len() > 100, "expected a journal of ext4, found {} ranges", ranges.len());
    Ok(ranges)
}

fn fail(options: &Eio, n: u64, counted: Counted, seed: u64, work: &Path) -> Result<Failed> {
    let mut chance = Chance::part(seed, 3);
    let device = Device::mount(&work.join("device"), FileSystem::DISK_BYTES)?;
    let disk = LoopDevice::over(&device.disk())?;
    options.fs.mkfs(disk.path())?;
    if options.flush_loses {
        device.protect(ext4_metadata(disk.path())?);
    }
    let mount = || Mounted::mount(disk.path(), &work.join("disk"), options.fs.name(), "defaults");
    let mut mounted = mount()?;
    device.begin();
    let mut load = LoadOptions {
        dir: log_in(mounted.path()),
        said: device.said(),
        seed: chance.next(),
        producers: chance.between(1, 4),
        // It is asked to end once the failure has come.
        millis: 30_000,
        ..LoadOptions::default()
    };
    if counted == Counted::FromTheStart {
        device.fail(Fault { after: n - 1, seed: chance.next(), flush_loses: options.flush_loses });
    }
    let mut child = Lived::start(&load)?;
    if counted == Counted::AtWork {
        device.until_said(|said| matches!(said, Said::Appended { .. }), Duration::from_secs(10))?;
        std::thread::sleep(Duration::from_millis(chance.between(0, 150)));
        device.fail(Fault { after: n - 1, seed: chance.next(), flush_loses: options.flush_loses });
    }
    let (what, at) = device.until_failed(Duration::from_secs(20))?;
    std::thread::sleep(Duration::from_millis(chance.between(50, 300)));
    child.ask_to_end()?;
    load.millis = 0;
    child.ends_well(&load).context("with the failure")?;

    // In the same boot: the page cache is as the failure left it.
    let mut mounted_anew = false;
    for life in 2.. {
        let opened = device.opened();
        load.life = life;
        load.seed = chance.next();
        load.millis = 250;
        load.close = chance.one_in(2);
        Lived::start(&load)?.ends_well(&load).context("after the failure")?;
        if device.opened() > opened {
            break;
        }
        ensure!(life < 4, "the log can't be opened again: {:?}", device.last_failure());
        // ext4 and xfs stop for good when their own journal fails.
        mounted_anew = true;
        drop(mounted);
        mounted = mount()?;
    }
    drop((mounted, disk));
    let recording = device.finish()?;
    let failures = recording.events.iter().filter_map(|event| match event {
        Event::Said(Said::Failed { poisoned, .. }) => Some(*poisoned),
        _ => None,
    });
    let failures: Vec<bool> = failures.collect();
    let poisoned = failures.contains(&true);
    Ok(Failed { recording, what, at, reported: failures.len(), poisoned, mounted_anew })
}
