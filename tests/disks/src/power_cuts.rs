//! Power cuts: what a load leaves on a disk at any moment, by what was flushed and what was not.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::chance::Chance;
use crate::child::Lived;
use crate::device::Device;
use crate::history::Known;
use crate::image::{Check, Outcome};
use crate::load::LoadOptions;
use crate::recording::{Cut, Images, Recording};
use crate::system::{FileSystem, LoopDevice, Mounted};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PowerCuts {
    /// The file system beneath the log
    #[arg(long, value_enum, default_value = "ext4")]
    pub(crate) fs: FileSystem,
    /// How many images are made and opened
    #[arg(long, default_value_t = 100, value_parser = crate::some::<usize>())]
    images: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Images of one recorded load
    #[arg(long, default_value_t = 125, value_parser = crate::some::<usize>())]
    images_per_load: usize,
    /// Lives of the log in one recorded load, each ended by a close or a kill -9
    #[arg(long, default_value_t = 4, value_parser = crate::some::<u64>())]
    lives: u64,
    /// The longest that a life lasts
    #[arg(long, default_value_t = 1200, value_parser = crate::millis())]
    millis: u64,
    /// Mount options of the file system under the log
    #[arg(long, default_value = "")]
    mount_options: String,
    /// The log's syncs do nothing: losses must be found
    #[arg(long)]
    without_sync: bool,
    /// Mount every n-th image of ext4; the others are replayed by e2fsck
    #[arg(long, default_value_t = 10, value_parser = crate::some::<usize>())]
    mount_every: usize,
    /// Images that are looked at together
    #[arg(long, default_value_t = 2, value_parser = crate::some::<usize>())]
    jobs: usize,
    /// Keep images on which something is wrong, and what had been said by then, in this directory
    #[arg(long)]
    save: Option<PathBuf>,
}

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) images: usize,
    /// Images with a promise broken.
    pub(crate) bad: usize,
    /// Images that `check::verify` calls damaged.
    pub(crate) unclean: usize,
    /// Images on which the file system itself could not be recovered.
    pub(crate) unusable: usize,
    pub(crate) torn: usize,
    pub(crate) rewritten: usize,
    pub(crate) records: u64,
    pub(crate) acknowledged: usize,
    pub(crate) examples: Vec<String>,
}

impl Totals {
    pub(crate) fn add(&mut self, name: &str, cut: &Cut, outcome: &Outcome) {
        let verdict = &outcome.verdict;
        self.images += 1;
        self.torn += usize::from(verdict.torn);
        self.rewritten += usize::from(verdict.rewritten > 0);
        self.records += verdict.records;
        self.acknowledged += outcome.acknowledged;
        self.bad += usize::from(!verdict.wrong.is_empty());
        self.unclean += usize::from(!verdict.unclean.is_empty());
        if let Some(why) = &outcome.unusable {
            self.unusable += 1;
            self.examples.push(format!("image {name}, {cut:?}\n      {why}"));
        }
        if !verdict.is_good() && self.examples.len() < 10 {
            let wrong = [verdict.wrong.as_slice(), &verdict.unclean].concat().join("\n      ");
            self.examples.push(format!("image {name}, {cut:?}\n      {wrong}"));
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bad == 0 && self.unclean == 0 && self.unusable * 100 <= self.images
    }
}

pub(crate) fn run(options: &PowerCuts, work: &Path) -> Result<bool> {
    let loads = options.images.div_ceil(options.images_per_load);
    let started = Instant::now();
    let mut totals = Totals::default();
    let mut checking = Duration::ZERO;
    for load in 0..loads {
        let seed = Chance::part(options.seed, load as u64).next();
        let recording = record(options, seed, work).with_context(|| format!("load {load}"))?;
        let count = options.images_per_load.min(options.images - load * options.images_per_load);
        let begin = recording.first_open().context("the load never opened its log")?;
        // Some while the log is being made, most while it is at work.
        let mut cuts = recording.cuts(0..begin, count / 20, seed);
        cuts.extend(recording.cuts(begin..recording.events.len(), count - count / 20, seed));
        let since = Instant::now();
        let check = Check {
            fs: options.fs,
            mount_every: options.mount_every,
            work: work.to_owned(),
            save: options.save.clone(),
        };
        let name = format!("{}-{}-{load}", options.fs.name(), options.seed);
        for (at, cut, outcome) in look_at(&recording, &cuts, &check, options.jobs, &name)? {
            totals.add(&format!("{name}-{at}"), &cut, &outcome);
        }
        checking += since.elapsed();
        println!(
            "load {load}: {} writes and lines, {} flushes, {} MiB; \
             {} images so far, {} with losses, {} not clean",
            recording.events.len(),
            recording.flushes(),
            recording.written_bytes() >> 20,
            totals.images,
            totals.bad,
            totals.unclean
        );
    }
    report(options, &totals, started.elapsed(), checking);
    if options.without_sync && totals.bad == 0 {
        println!("expected losses without syncs, found none: what is looked at here is not what was lost");
    }
    Ok(if options.without_sync { totals.bad > 0 } else { totals.is_good() })
}

fn report(options: &PowerCuts, totals: &Totals, all: Duration, checking: Duration) {
    totals.examples.iter().for_each(|example| println!("  {example}"));
    let Totals { images, bad, unclean, unusable, torn, rewritten, records, acknowledged, .. } = totals;
    println!(
        "power-cuts {}{} seed {}: {images} images, {bad} with losses, {unclean} not clean, \
         {unusable} on which the file system was lost; {torn} with a torn tail, {rewritten} with records rewritten; \
         {acknowledged} acknowledged batches looked for, {records} records read; \
         {:.1} images/s, {:.0} s in all",
        options.fs.name(),
        if options.without_sync { " without sync" } else { "" },
        options.seed,
        *images as f64 / checking.as_secs_f64(),
        all.as_secs_f64(),
    );
}

/// Runs the lives of a log on a fresh file system and records what reaches its disk.
fn record(options: &PowerCuts, seed: u64, work: &Path) -> Result<Recording> {
    let device = Device::mount(&work.join("device"), FileSystem::DISK_BYTES)?;
    let disk = LoopDevice::over(&device.disk())?;
    options.fs.mkfs(disk.path())?;
    device.begin();
    let mount_options = if options.mount_options.is_empty() { "defaults" } else { &options.mount_options };
    let mounted = Mounted::mount(disk.path(), &work.join("disk"), options.fs.name(), mount_options)?;
    let mut chance = Chance::part(seed, 2);
    // Without syncs it is many times as fast.
    let longest = if options.without_sync { options.millis / 4 } else { options.millis };
    for life in 1..=options.lives {
        let close = chance.one_in(2);
        let millis = chance.between(longest / 4, longest);
        let load = LoadOptions {
            dir: mounted.path().join("log"),
            said: device.said(),
            life,
            seed: chance.next(),
            producers: chance.between(1, 4),
            millis: if close { millis } else { millis + 10_000 },
            close,
            without_sync: options.without_sync,
            ..LoadOptions::default()
        };
        let mut child = Lived::start(&load)?;
        let ended = if close {
            child.ends_well(&load)
        } else {
            std::thread::sleep(Duration::from_millis(millis));
            child.kill()
        };
        // Nothing fails here on purpose.
        if let Some(why) = device.last_failure() {
            anyhow::bail!("life {life}: a call of the log failed: {why}");
        }
        ended?;
    }
    let recording = device.finish()?;
    drop((mounted, disk, device));
    Ok(recording)
}

/// Makes the image of each cut and looks at it, several at a time; with the number of each. `name` is
/// what saved images are called by.
pub(crate) fn look_at(
    recording: &Recording,
    cuts: &[Cut],
    check: &Check,
    jobs: usize,
    name: &str,
) -> Result<Vec<(usize, Cut, Outcome)>> {
    let source = Mutex::new((Images::of(recording), Known::default(), 0, cuts.iter().enumerate()));
    let outcomes = Mutex::new(Vec::new());
    let worker = |job: usize| -> Result<()> {
        loop {
            let (at, cut, image, known) = {
                let mut source = source.lock().map_err(|_| anyhow::anyhow!("another worker panicked"))?;
                let (images, known, heard, cuts) = &mut *source;
                let Some((at, cut)) = cuts.next() else {
                    return Ok(());
                };
                recording.said_in(*heard..cut.at).for_each(|said| known.hear(said));
                *heard = cut.at;
                (at, *cut, images.after(cut), known.clone())
            };
            let outcome = check.look(job, at, &image, &known)?;
            if !outcome.verdict.is_good() || outcome.unusable.is_some() {
                check.save(&format!("{name}-{at}"), &image, recording.said_in(0..cut.at))?;
            }
            outcomes.lock().map_err(|_| anyhow::anyhow!("another worker panicked"))?.push((at, cut, outcome));
        }
    };
    std::thread::scope(|scope| {
        let worker = &worker;
        let threads: Vec<_> = (0..jobs.max(1)).map(|job| scope.spawn(move || worker(job))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        })
    })?;
    let mut outcomes = outcomes.into_inner().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    outcomes.sort_by_key(|(at, ..)| *at);
    Ok(outcomes)
}

/// Where a log lies on the disks of all loads.
pub(crate) fn log_in(mounted: &Path) -> PathBuf {
    mounted.join("log")
}
