//! `stratalog-model check` and `stratalog-model replay`.

use std::process::ExitCode;
use std::time::Duration;

use stratalog_model::check::{Watch, check};
use stratalog_model::shrink::shrink;
use stratalog_model::{Counts, Program, Violation, plain, run};

const USAGE: &str = "usage:
  stratalog-model check [--seconds N] [--seeds A..B] [--threads N]
      runs the programs of these seeds (0.. without an end) for so long (60 s, or to the end of the
      seeds if they are given) on so many threads (one per core)
  stratalog-model replay --seed N
      runs the program of one seed, and shrinks it if it breaks a promise";

/// How long a program that breaks a promise is shrunk.
const SHRINKING: Duration = Duration::from_secs(30);

/// A program takes some thousandths of a second.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Command::parse(&arguments) {
        Ok(Command::Check { seeds, seconds, threads }) => {
            let time = seconds.map(Duration::from_secs);
            let watch =
                Watch { progress: &|counts, time| show(counts, time), patience: PATIENCE, hangs: &hangs };
            let report = check(seeds.0..seeds.1, time, threads, &plain, watch);
            show(&report.counts, report.time);
            match report.failure {
                None => ExitCode::SUCCESS,
                Some((seed, violation)) => tell(seed, violation),
            }
        }
        Ok(Command::Replay { seed }) => match run(&Program::of_seed(seed), &plain) {
            (counts, Ok(())) => {
                println!(
                    "seed {seed}: every promise kept ({} operations, {} crashes)",
                    counts.operations, counts.cases
                );
                ExitCode::SUCCESS
            }
            (_, Err(violation)) => tell(seed, violation),
        },
        Ok(Command::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Command {
    Check { seeds: (u64, u64), seconds: Option<u64>, threads: usize },
    Replay { seed: u64 },
    Help,
}

impl Command {
    fn parse(arguments: &[String]) -> Result<Command, String> {
        let (command, mut rest) = arguments.split_first().ok_or("expected check or replay, found nothing")?;
        if arguments.iter().any(|word| matches!(word.as_str(), "help" | "--help" | "-h")) {
            return Ok(Command::Help);
        }
        let mut flags = Vec::new();
        while let Some((flag, behind)) = rest.split_first() {
            let (value, behind) = behind.split_first().ok_or(format!("expected a value behind {flag}"))?;
            if flags.iter().any(|(held, _)| held == flag) {
                return Err(format!("expected {flag} once, found it twice"));
            }
            flags.push((flag.clone(), value.clone()));
            rest = behind;
        }
        let mut take = |name: &str| {
            let at = flags.iter().position(|(flag, _)| flag == name)?;
            Some(flags.swap_remove(at).1)
        };
        let parsed = match command.as_str() {
            "check" => {
                let seeds = take("--seeds").map(|range| seeds(&range)).transpose()?;
                let seconds = take("--seconds").map(|text| number("--seconds", &text)).transpose()?;
                let threads = take("--threads").map(|text| number("--threads", &text)).transpose()?;
                let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
                let threads = threads.unwrap_or(cores);
                if !(1..=1024).contains(&threads) {
                    return Err(format!("--threads: expected 1 to 1024, found {threads}"));
                }
                if seconds == Some(0) {
                    return Err("--seconds: expected 1 or more, found 0: nothing would be tried".into());
                }
                let seconds = if seeds.is_none() { seconds.or(Some(60)) } else { seconds };
                Command::Check { seeds: seeds.unwrap_or((0, u64::MAX)), seconds, threads: threads as usize }
            }
            "replay" => {
                let seed = take("--seed").ok_or("replay: expected --seed N, found none")?;
                Command::Replay { seed: number("--seed", &seed)? }
            }
            other => return Err(format!("expected check or replay, found {other:?}")),
        };
        match flags.first() {
            Some((flag, _)) => Err(format!("{command} has no flag {flag}")),
            None => Ok(parsed),
        }
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{flag}: expected a number from 0 to {}, found {text:?}", u64::MAX))
}

fn seeds(range: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("--seeds: expected A..B with A below B, found {range:?}");
    let (from, upto) = range.split_once("..").ok_or_else(wrong)?;
    let (from, upto) = (number("--seeds", from)?, number("--seeds", upto)?);
    if from < upto { Ok((from, upto)) } else { Err(wrong()) }
}

fn show(counts: &Counts, time: Duration) {
    let minutes = time.as_secs_f64() / 60.0;
    println!(
        "{:.0} s: {} cases of crash and recovery, {} programs, {} operations, {} storage calls, \
         {} faults injected; {:.0} cases a minute",
        time.as_secs_f64(),
        counts.cases,
        counts.programs,
        counts.operations,
        counts.calls,
        counts.faults,
        counts.cases as f64 / minutes
    );
}

fn hangs(seed: u64) {
    println!(
        "seed {seed}: P10\n  expected its program to end within {} s\n  found it still running",
        PATIENCE.as_secs()
    );
    println!("once more: cargo run --release -p stratalog-model -- replay --seed {seed}");
    std::process::exit(1);
}

fn tell(seed: u64, violation: Violation) -> ExitCode {
    println!("seed {seed}: {violation}\nshrinking for up to {} s", SHRINKING.as_secs());
    let (program, violation) = shrink(Program::of_seed(seed), violation, &plain, SHRINKING);
    println!("the smallest program that was found:\n{program:#?}\n{violation}");
    println!("once more: cargo run --release -p stratalog-model -- replay --seed {seed}");
    ExitCode::FAILURE
}
