//! From the image of a disk to the log on it, by the file system's own recovery.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::blocks::Blocks;
use crate::history::{Known, Said};
use crate::judge::{Verdict, judge};
use crate::power_cuts::log_in;
use crate::system::{FileSystem, LoopDevice, Mounted, run, run_with};

/// What an image was found to hold.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// Batches that had been acknowledged by then.
    pub(crate) acknowledged: usize,
    /// Why the file system itself could not be recovered; there is no verdict then.
    pub(crate) unusable: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) fs: FileSystem,
    /// Every n-th image of ext4 is mounted, the others are replayed without the kernel.
    pub(crate) mount_every: usize,
    pub(crate) work: PathBuf,
    /// Where images go on which something was wrong: no two recordings are the same.
    pub(crate) save: Option<PathBuf>,
}

impl Check {
    /// `job` tells apart what is done at the same time.
    pub(crate) fn look(&self, job: usize, at: usize, image: &Blocks, known: &Known) -> Result<Outcome> {
        let file = self.work.join(format!("image-{job}"));
        image.write_to(&file).with_context(|| format!("write {}", file.display()))?;
        let looked = if self.fs == FileSystem::Ext4 && !at.is_multiple_of(self.mount_every.max(1)) {
            self.replayed(job, &file, known)
        } else {
            self.mounted(job, &file, known)
        };
        std::fs::remove_file(&file)?;
        let (verdict, unusable) = match looked.with_context(|| format!("image {at}"))? {
            Ok(verdict) => (verdict, None),
            Err(why) => (Verdict::default(), Some(format!("{why:#}"))),
        };
        Ok(Outcome { verdict, acknowledged: known.acknowledged.len(), unusable })
    }

    /// Keeps the image, untouched by any recovery, and what had been said by then.
    pub(crate) fn save<'a>(
        &self,
        name: &str,
        image: &Blocks,
        said: impl Iterator<Item = &'a Said>,
    ) -> Result<()> {
        let Some(save) = &self.save else { return Ok(()) };
        std::fs::create_dir_all(save)?;
        let lines: String = said.map(|said| format!("{said}\n")).collect();
        std::fs::write(save.join(format!("{name}.said")), lines)?;
        image.write_to(&save.join(format!("{name}.image"))).context("save an image")
    }

    fn mounted(&self, job: usize, file: &Path, known: &Known) -> Result<Result<Verdict>> {
        let disk = LoopDevice::over(file)?;
        let options = if self.fs == FileSystem::Xfs { "nouuid" } else { "defaults" };
        let place = self.work.join(format!("image-{job}-mounted"));
        match Mounted::mount(disk.path(), &place, self.fs.name(), options) {
            Ok(mounted) => judge(&log_in(mounted.path()), known).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// ext4 only: the journal is replayed by e2fsck, the files are taken out by debugfs.
    fn replayed(&self, job: usize, file: &Path, known: &Known) -> Result<Result<Verdict>> {
        let arguments = ["-y", "-E", "journal_only"].map(OsStr::new);
        // 1: something was corrected.
        if let Err(why) = run_with("e2fsck", arguments.into_iter().chain([file.as_os_str()]), &[0, 1]) {
            return Ok(Err(why));
        }
        let taken_out = self.work.join(format!("image-{job}-files"));
        std::fs::create_dir_all(&taken_out)?;
        let order = format!("rdump / {}", taken_out.display());
        run("debugfs", [OsStr::new("-R"), OsStr::new(&order), file.as_os_str()])?;
        let verdict = judge(&log_in(&taken_out), known);
        std::fs::remove_dir_all(&taken_out)?;
        verdict.map(Ok)
    }
}
