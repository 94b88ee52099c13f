//! kill -9 of the command line in mid-ingest, over and over: what was acknowledged is there, batches are
//! whole, and `--resume` goes on without a gap and without a duplicate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::chance::Chance;
use crate::system::run;

const BATCH: u64 = 5;
/// Records of one input; what is killed seldom comes to its end.
const RECORDS: u64 = 40_000;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Kill9 {
    #[arg(long, default_value_t = 100, value_parser = crate::some::<u64>())]
    rounds: u64,
    /// Where the logs go, for a disk of one's own choice; by default beside everything else
    #[arg(long)]
    dir: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest that an ingest runs before it is killed
    #[arg(long, default_value_t = 80, value_parser = crate::millis())]
    millis: u64,
    /// The `stratalog` command; by default the one beside this program
    #[arg(long)]
    cli: Option<PathBuf>,
}

#[derive(Debug)]
struct Place {
    cli: PathBuf,
    input: PathBuf,
    log: PathBuf,
    acks: PathBuf,
    seed: u64,
}

/// The command, and where it is missing what to do.
pub(crate) fn cli(options: &Kill9) -> Result<PathBuf> {
    let beside = || std::env::current_exe().ok().and_then(|this| Some(this.parent()?.join("stratalog")));
    let cli = options.cli.clone().or_else(beside).context("expected a path of this program")?;
    ensure!(
        cli.is_file(),
        "expected the command at {}, found none; cargo build --release --features cli, or --cli PATH",
        cli.display()
    );
    Ok(cli)
}

pub(crate) fn run_rounds(options: &Kill9, work: &Path) -> Result<bool> {
    let base = match &options.dir {
        Some(dir) => dir.join(format!("stratalog-kill9-{}", std::process::id())),
        None => work.join("kill9"),
    };
    fs::create_dir_all(&base).with_context(|| format!("create {}", base.display()))?;
    let outcome = rounds(options, &base);
    fs::remove_dir_all(&base)?;
    outcome
}

fn rounds(options: &Kill9, base: &Path) -> Result<bool> {
    let started = Instant::now();
    let mut chance = Chance::part(options.seed, 9);
    let place = Place {
        cli: cli(options)?,
        input: base.join("input.jsonl"),
        log: base.join("log"),
        acks: base.join("acks"),
        seed: options.seed,
    };
    let lines: String = (0..RECORDS).map(line).collect();
    fs::write(&place.input, lines)?;
    let (mut killed, mut ended, mut logs, mut most, mut wrong) = (0u64, 0u64, 1u64, 0u64, 0u64);
    // What was found after one kill is durable, and must be there after the next.
    let (mut resume, mut least) = (false, 0);
    for round in 0..options.rounds {
        let after = Duration::from_micros(chance.below(options.millis * 1000 + 1));
        if place.killed(resume, chance.between(1, 4), after)? {
            killed += 1;
        } else {
            ended += 1;
        }
        match place.look(least) {
            Ok(found) => {
                (most, least) = (most.max(found), found);
                // Nothing can be resumed that never began.
                resume = place.log.join("ingest.resume").exists();
                if found >= RECORDS || chance.one_in(40) {
                    place.complete(resume).with_context(|| format!("round {round}"))?;
                    logs += 1;
                    (resume, least) = (false, 0);
                    fs::remove_dir_all(&place.log)?;
                }
            }
            Err(error) => {
                wrong += 1;
                println!("  round {round}: {error:#}");
                (resume, least) = (false, 0);
                let _ = fs::remove_dir_all(&place.log);
            }
        }
        let _ = fs::remove_file(&place.acks);
    }
    println!(
        "kill9 seed {}: {} rounds, {killed} killed, {ended} came to their end first, {logs} logs, up to {most} \
         records found; {wrong} with losses; {:.0} s",
        place.seed,
        options.rounds,
        started.elapsed().as_secs_f64()
    );
    ensure!(
        wrong > 0 || most > 0,
        "no ingest came to a batch before it was killed: more --rounds or --millis"
    );
    Ok(wrong == 0)
}

fn line(n: u64) -> String {
    let filler = "x".repeat((n * 7919 % 700) as usize);
    let vector = format!("[{}.5,{}.25,0.125,-1]", n % 97, n % 31);
    format!(
        "{{\"id\":\"record-{n}\",\"operation\":\"ADD\",\"embedding\":{vector},\"metadata\":{{\"filler\":\"{filler}\"}}}}\n"
    )
}

impl Place {
    /// Runs an ingest; true if it was killed.
    fn killed(&self, resume: bool, producers: u64, after: Duration) -> Result<bool> {
        let mut command = Command::new(&self.cli);
        command.arg("ingest").arg(&self.input).arg("--dir").arg(&self.log).arg("--acks").arg(&self.acks);
        command.args(["--batch", &BATCH.to_string(), "--producers", &producers.to_string()]);
        if resume {
            command.arg("--resume");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start an ingest")?;
        std::thread::sleep(after);
        child.kill()?;
        let ended = child.wait_with_output()?;
        if ended.status.code().is_some_and(|code| code != 0) {
            bail!("the ingest failed with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
        }
        Ok(!ended.status.success())
    }

    /// Verifies, recovers, compares; how many records are there.
    fn look(&self, least: u64) -> Result<u64> {
        let acknowledged = self.acknowledged()?.max(least);
        let files = fs::read_dir(&self.log).map_or(0, |files| files.count());
        if files == 0 || (acknowledged == 0 && !self.has_segment()) {
            ensure!(acknowledged == 0, "{acknowledged} records were acknowledged, the log is not there");
            return Ok(0);
        }
        let log = self.log.display().to_string();
        let cli = self.cli.display().to_string();
        run(&cli, ["verify", "--dir", &log]).context("verify before recovery")?;
        run(&cli, ["recover", "--dir", &log]).context("recover")?;
        run(&cli, ["verify", "--dir", &log]).context("verify after recovery")?;
        let printed = run(&cli, ["cat", "--dir", &log])?;
        let mut found = 0;
        for text in printed.lines() {
            let id = format!("\"record-{found}\"");
            ensure!(text.contains(&id), "expected {id} as record {found}, found {text:.120}");
            found += 1;
        }
        ensure!(found >= acknowledged, "lost: {acknowledged} records were acknowledged, {found} are there");
        ensure!(found % BATCH == 0, "a batch is there in part: {found} records");
        Ok(found)
    }

    fn has_segment(&self) -> bool {
        let mut names = fs::read_dir(&self.log).into_iter().flatten().flatten();
        names.any(|entry| entry.path().extension().is_some_and(|extension| extension == "segment"))
    }

    /// The newest SeqId that was written down as acknowledged.
    fn acknowledged(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.acks).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        whole
            .map(|line| line.parse::<u64>().with_context(|| format!("a line of acks: {line:?}")))
            .try_fold(0, |most, n| Ok(most.max(n?)))
    }

    fn complete(&self, resume: bool) -> Result<()> {
        let (cli, log) = (self.cli.display().to_string(), self.log.display().to_string());
        let input = self.input.display().to_string();
        if resume {
            run(&cli, ["ingest", &input, "--dir", &log, "--resume"])?;
            let found = self.look(0)?;
            ensure!(found == RECORDS, "resumed: expected {RECORDS} records, found {found}");
        }
        Ok(())
    }
}
