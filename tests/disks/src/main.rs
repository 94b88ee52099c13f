//! A log on real file systems: power cuts, failing and full disks, kill -9, failing system calls.
//!
//! See docs/disks.md of the repository.

mod blocks;
mod chance;
mod child;
mod device;
mod eio;
mod full_disk;
mod history;
mod image;
mod judge;
mod kill9;
mod load;
mod payload;
mod place;
mod power_cuts;
mod recording;
mod syscalls;
mod system;
mod unsynced;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};

use system::Need;

#[derive(Debug, Parser)]
#[command(about = "A log on real file systems: what it acknowledged must be there")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Fail where something that is needed is missing, instead of skipping
    #[arg(long, global = true)]
    require: bool,
    /// Where to make a directory for all files; by default in memory
    #[arg(long, global = true)]
    work: Option<PathBuf>,
    /// Leave that directory behind
    #[arg(long, global = true)]
    keep_work: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cut the power beneath a file system at many moments of a load
    PowerCuts(power_cuts::PowerCuts),
    /// Let one write or flush of a disk fail, go on in the same boot, then cut the power
    Eio(eio::Eio),
    /// Kill the command line in mid-ingest, over and over
    Kill9(kill9::Kill9),
    /// Fill small file systems under a load
    FullDisk(full_disk::FullDisk),
    /// Let each system call fail in turn
    Syscalls(syscalls::Syscalls),
    /// Run a load; the other commands start this
    #[command(hide = true)]
    Load(load::LoadOptions),
    /// Compare a log with what a load on it said
    #[command(hide = true)]
    Look {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        said: PathBuf,
    },
}

/// How many of something: none would prove nothing.
fn some<T: TryFrom<u64>>() -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(1..)
}

/// Milliseconds, up to an hour.
fn millis() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=3_600_000)
}

impl Command {
    fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut recorded_disk = |fs: system::FileSystem| {
            needs.extend([Need::Root, Need::Fuse, Need::Command("losetup"), Need::LoopDevice]);
            needs.extend(fs.commands().iter().copied().map(Need::Command));
        };
        match self {
            Command::PowerCuts(options) => recorded_disk(options.fs),
            Command::Eio(options) => recorded_disk(options.fs),
            Command::FullDisk(_) => {
                needs.extend([Need::Root, Need::Command("losetup"), Need::LoopDevice]);
                needs.push(Need::Command("mkfs.ext4"));
            }
            Command::Syscalls(_) => needs.push(Need::Command("strace")),
            Command::Kill9(_) | Command::Load(_) | Command::Look { .. } => {}
        }
        needs
    }

    /// True if all is as it must be.
    fn run(&self, work: &Path) -> Result<bool> {
        match self {
            Command::PowerCuts(options) => power_cuts::run(options, work),
            Command::Eio(options) => eio::run(options, work),
            Command::Kill9(options) => kill9::run_rounds(options, work),
            Command::FullDisk(options) => full_disk::run(options, work),
            Command::Syscalls(options) => syscalls::run(options, work),
            Command::Load(options) => load::run(options.clone()).map(|()| true),
            Command::Look { dir, said } => {
                let verdict = judge::judge(dir, &history::Known::from(&history::read(said)?))?;
                println!("{verdict:#?}");
                Ok(verdict.is_good())
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (&arguments.command, place::inside()) {
        (Command::Load(_), _) => {
            place::end_with_parent(&load::ASKED_TO_END);
            arguments.command.run(Path::new("")).map(exit)
        }
        (_, Some(work)) => {
            place::end_with_parent(&load::ASKED_TO_END);
            arguments.command.run(&work).map(exit)
        }
        (_, None) => {
            let missing = system::missing(&arguments.command.needs());
            if missing.is_empty() {
                place::supervise(
                    &arguments.work.clone().unwrap_or_else(place::default_base),
                    arguments.keep_work,
                )
            } else {
                println!("SKIPPED: {}", missing.join(", "));
                Ok(exit(!arguments.require))
            }
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
