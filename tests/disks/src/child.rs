//! A load in a process of its own.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::load::LoadOptions;

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Lived {
    child: Child,
    /// The load ends when this closes; waiting for it must not close it.
    while_open: Option<ChildStdin>,
}

impl Lived {
    pub(crate) fn start(load: &LoadOptions) -> Result<Lived> {
        Lived::start_under(&[], Stdio::inherit(), load)
    }

    /// `under` runs the program that is its last argument: `strace` and its options.
    pub(crate) fn start_under(under: &[String], errors: Stdio, load: &LoadOptions) -> Result<Lived> {
        let this = std::env::current_exe()?;
        let mut command = match under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
            None => Command::new(this),
        };
        command.arg("load").args(load.arguments()).stdin(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let while_open = child.stdin.take();
        Ok(Lived { child, while_open })
    }

    /// Asks it to end in good order.
    pub(crate) fn ask_to_end(&mut self) -> Result<()> {
        let pipe = self.while_open.as_mut().context("expected a load with a standard input")?;
        // It may have ended by itself.
        let _ = pipe.write_all(b"e");
        Ok(())
    }

    /// Waits for its end; one that takes longer hangs.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the load hangs: expected it to end within {limit:?}");
    }

    /// It said all that it had to say, and broke no promise while it ran.
    pub(crate) fn ends_well(&mut self, load: &LoadOptions) -> Result<()> {
        let status = self.ends_within(Duration::from_millis(load.millis) + Duration::from_secs(30))?;
        ensure!(status.success(), "the load ended with {status}");
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("expected the load to run until it is killed, it ended with {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Lived {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
