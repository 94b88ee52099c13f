//! `stratalog`: the log from the command line.
//!
//! Each command is a file with its `Args` and a `run`. What they share: [`failure`], how a command
//! ends; [`output`], where its results go; [`place`], the log it works on.

mod bench;
mod cat;
mod collection;
mod cursors;
mod delete;
mod demo;
mod failure;
mod ingest;
mod inspect;
mod latency;
mod output;
mod place;
mod purge;
mod record_lines;
mod recover;
mod repair;
mod stat;
mod stop;
mod subscribe;
mod time;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{CliError, Exit};
use output::Output;

const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  the operation failed (the system said no, or the log could not go on)
  2  usage
  3  bad input data; nothing of its batch was written
  4  the log is damaged
  5  the log is open for writing in another process
  6  not a log, or one of a newer version; nothing was touched";

/// An embedded write-ahead log: fill it, read it, look inside.
#[derive(Debug, Parser)]
#[command(name = "stratalog", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ingest(ingest::Args),
    Cat(cat::Args),
    Tail(cat::TailArgs),
    Subscribe(subscribe::Args),
    Cursors(cursors::Args),
    Purge(purge::Args),
    Delete(delete::Args),
    Stat(stat::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Recover(recover::Args),
    Repair(repair::Args),
    Bench(bench::Args),
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads to its end is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Fine }.into();
        }
    };
    let mut out = Output::stdout();
    let done = match cli.command {
        Command::Ingest(args) => ingest::run(args, &mut out),
        Command::Cat(args) => cat::run(args, &mut out),
        Command::Tail(args) => cat::run_tail(args, &mut out),
        Command::Subscribe(args) => subscribe::run(args, &mut out),
        Command::Cursors(args) => cursors::run(args, &mut out),
        Command::Purge(args) => purge::run(args, &mut out),
        Command::Delete(args) => delete::run(args, &mut out),
        Command::Stat(args) => stat::run(args, &mut out),
        Command::Inspect(args) => inspect::run(args, &mut out),
        Command::Verify(args) => verify::run(args, &mut out),
        Command::Repair(args) => repair::run(args, &mut out),
        Command::Recover(args) => recover::run(args, &mut out),
        Command::Bench(args) => bench::run(args, &mut out),
        Command::Demo(args) => demo::run(args, &mut out),
    };
    let done = done.and_then(|exit| out.flush().map(|()| exit));
    match done {
        Ok(exit) => exit.into(),
        Err(CliError::NobodyReads) => Exit::Fine.into(),
        Err(CliError::Failed(failure)) => {
            // What was found before it failed comes first.
            let _ = out.flush();
            output::error(&failure);
            failure.exit.into()
        }
    }
}
