//! Disks that fill up under a load: the error is a clean one, nothing is lost, and the log goes on once
//! there is room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::chance::Chance;
use crate::child::Lived;
use crate::history::{self, Known, Said};
use crate::judge::judge;
use crate::load::LoadOptions;
use crate::power_cuts::log_in;
use crate::system::{FileSystem, LoopDevice, Mounted};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FullDisk {
    /// How often each file system is filled, with another amount of room each time
    #[arg(long, default_value_t = 12, value_parser = crate::some::<u64>())]
    rounds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What one round found.
#[derive(Debug, Default)]
struct Full {
    errors: usize,
    poisoned: bool,
    /// Batches acknowledged after the first error.
    went_on: usize,
}

pub(crate) fn run(options: &FullDisk, work: &Path) -> Result<bool> {
    let mut good = true;
    for tmpfs in [true, false] {
        let started = Instant::now();
        let name = if tmpfs { "tmpfs of 10 MiB" } else { "ext4 of 16 MiB" };
        let (mut errors, mut poisoned, mut wrong) = (0, 0, 0);
        for round in 0..options.rounds {
            match fill(tmpfs, Chance::part(options.seed, round * 2 + u64::from(tmpfs)), work) {
                Ok(full) => {
                    errors += full.errors;
                    poisoned += usize::from(full.poisoned);
                }
                Err(error) => {
                    wrong += 1;
                    println!("  {name}, round {round}: {error:#}");
                }
            }
        }
        good &= wrong == 0;
        println!(
            "full-disk {name} seed {}: filled {} times, {errors} calls failed with a clean error, {poisoned} \
             times the log stopped and was opened again, {wrong} failures; {:.0} s",
            options.seed,
            options.rounds,
            started.elapsed().as_secs_f64()
        );
    }
    Ok(good)
}

fn fill(tmpfs: bool, mut chance: Chance, work: &Path) -> Result<Full> {
    let place = work.join("full");
    let image = work.join("full-image");
    let mut device = None;
    let mounted = if tmpfs {
        Mounted::mount(Path::new("tmpfs"), &place, "tmpfs", "size=10m")?
    } else {
        File::create(&image)?.set_len(16 << 20)?;
        let device = device.insert(LoopDevice::over(&image)?);
        FileSystem::Ext4.mkfs(device.path())?;
        Mounted::mount(device.path(), &place, "ext4", "defaults")?
    };
    let ballast = mounted.path().join("ballast");
    // For the judge, in case the disk is full again by then.
    let reserve = mounted.path().join("reserve");
    fs::write(&reserve, vec![0; 3 << 20])?;
    let room = chance.between(100 << 10, 4 << 20);
    take_all_but(&ballast, room)?;
    let mut load = LoadOptions {
        dir: log_in(mounted.path()),
        said: work.join("full-said"),
        seed: chance.next(),
        millis: 60_000,
        segment_bytes: 256 << 10,
        // No purge: it is the disk that must fill up.
        keep: 1 << 40,
        ..LoadOptions::default()
    };
    let _ = fs::remove_file(&load.said);
    let mut child = Lived::start(&load)?;
    let failed = |said: &[Said]| said.iter().position(|said| matches!(said, Said::Failed { .. }));
    let first = until(&load.said, Duration::from_secs(20), failed).context("no error on a full disk")?;
    fs::remove_file(&ballast)?;
    let appended_since = |said: &[Said]| {
        let appended = |said: &&Said| matches!(said, Said::Appended { .. });
        said[first..].iter().filter(appended).count()
    };
    // It goes on by itself, or says that it stopped.
    let stopped = |said: &[Said]| said.iter().any(|said| matches!(said, Said::Failed { poisoned: true, .. }));
    let never_opened = |said: &[Said]| !said.iter().any(|said| matches!(said, Said::Open { .. }));
    until(&load.said, Duration::from_secs(20), |said| {
        (appended_since(said) > 20 || stopped(said) || never_opened(said)).then_some(())
    })
    .context("it did not go on once there was room")?;
    child.ask_to_end()?;
    load.millis = 0;
    child.ends_well(&load)?;
    drop(child);
    let said = history::read(&load.said)?;
    let full = Full {
        errors: said.iter().filter(|said| matches!(said, Said::Failed { .. })).count(),
        poisoned: stopped(&said),
        went_on: appended_since(&said),
    };
    for said in &said {
        if let Said::Failed { why, .. } = said {
            ensure!(why.contains("No space left"), "expected an error that names the cause, found: {why}");
        }
    }
    fs::remove_file(&reserve)?;
    let verdict = judge(&load.dir, &Known::from(&said))?;
    ensure!(verdict.is_good(), "{verdict:#?}");
    ensure!(full.went_on > 0 || full.poisoned || never_opened(&said), "it did not go on: {full:?}");
    drop((mounted, device));
    Ok(full)
}

/// A file that leaves so many bytes free.
fn take_all_but(ballast: &Path, room: u64) -> Result<()> {
    let mut file = File::create(ballast)?;
    let zeros = vec![0; 64 << 10];
    let mut taken = 0u64;
    while let Ok(more) = file.write(&zeros) {
        taken += more as u64;
    }
    file.sync_all().ok();
    file.set_len(taken.saturating_sub(room))?;
    Ok(())
}

/// Reads what a load has said so far until it is as wanted.
fn until<T>(said: &Path, limit: Duration, wanted: impl Fn(&[Said]) -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if said.exists()
            && let Some(found) = wanted(&history::read(said)?)
        {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited for {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
