//! Before anything is rewritten: every segment under its own name, and an end of the log that is
//! surely on the disk.

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::segment::names;

use super::examination::Doubt;
use super::files;
use super::repair::Run;
use super::rewrite::SegmentWriter;
use super::walk::Walk;

impl Run<'_> {
    /// Every segment under the name that its header says; true if anything moved.
    pub(super) fn right_names(&mut self) -> Result<bool> {
        let mut moved = false;
        let strays = std::mem::take(&mut self.found.chain.misplaced);
        for stray in &strays {
            let target = stray.belongs.map(names::segment);
            let taken =
                |name: &str| -> Result<bool> { Ok(files::open(self.storage.as_ref(), name)?.is_some()) };
            match target {
                Some(target) if !taken(&target)? => {
                    if self.act(&stray.name, format!("gets its name back: {target}")) {
                        self.workshop().rename(&stray.name, &target)?;
                    }
                }
                Some(target) if strays.iter().any(|other| other.name == target) => {
                    return Err(Error::corrupt(
                        &stray.name,
                        32,
                        format!("base SeqId {}, as the file is named", stray.base),
                        format!(
                            "that of {target}, which has a wrong name too; give both their names by hand"
                        ),
                    ));
                }
                _ => {
                    let kept = self.workshop().kept_name(&stray.name, stray.base, "misplaced")?;
                    if self.act(&stray.name, format!("moved to {kept}: it does not belong here")) {
                        self.workshop().rename(&stray.name, &kept)?;
                    }
                    self.report.kept_aside.push(kept);
                }
            }
            moved = true;
        }
        if moved && !self.dry {
            self.workshop().sync_directory()?;
        }
        Ok(moved)
    }

    /// Does what opening would do at the end of the log; true if segments changed.
    pub(super) fn settle_end(&mut self) -> Result<bool> {
        if let Some(torn) = self.found.torn.take() {
            let (from, kept) = (names::segment(torn.base), names::aside(torn.base, torn.position));
            self.report.kept_aside.push(kept.clone());
            if self.act(&from, format!("{} bytes of an unfinished commit copied to {kept}", torn.bytes)) {
                self.workshop().copy(&from, torn.position, torn.position + torn.bytes, &kept)?;
            }
        }
        let orphans = std::mem::take(&mut self.found.orphans);
        let doubts: Vec<Doubt> = std::mem::take(&mut self.found.doubts).into();
        for run in doubts.chunk_by(|a, b| a.base == b.base) {
            self.rewrite_doubts(run)?;
        }
        for base in orphans.iter().rev() {
            let (name, kept) = (names::segment(*base), names::aside(*base, 0));
            if self.act(&name, format!("moved to {kept}: it lies behind an unfinished commit")) {
                self.workshop().rename(&name, &kept)?;
            }
            self.report.kept_aside.push(kept);
        }
        let changed = !orphans.is_empty() || !doubts.is_empty();
        if changed && !self.dry {
            self.workshop().sync_directory()?;
        }
        Ok(changed)
    }

    /// Frames that may only be in the page cache get a file of their own that is surely synced.
    fn rewrite_doubts(&mut self, run: &[Doubt]) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let name = names::segment(first.base);
        let what = format!("SeqIds {} to {} written anew and synced", first.first_seq, last.next_seq - 1);
        if !self.act(&names::segment(first.first_seq), what) {
            return Ok(());
        }
        let Some(salt) = self.salt_of(first.base) else { return Ok(()) };
        let header = self.header(first.first_seq, last.next_seq, false);
        let file = self.workshop().open(&name)?;
        let mut walk = Walk::new(file.as_ref(), &name, salt)?;
        let room = DATA_START + (walk.scanner.size().saturating_sub(first.position));
        let mut writer = SegmentWriter::begin(self.storage.as_ref(), &header, room)?;
        for doubt in run {
            walk.position = doubt.position;
            match walk.look()? {
                Ok(seen) if seen.bad.is_empty() => {
                    writer.keep(&seen, walk.content(&seen)?)?;
                }
                Ok(_) => {
                    return Err(Error::corrupt(
                        &name,
                        doubt.position,
                        "the frame seen before",
                        "a damaged one",
                    ));
                }
                Err(invalid) => return Err(invalid.in_file(&name, doubt.position)),
            }
        }
        writer.finish()
    }

    fn salt_of(&self, base: u64) -> Option<u32> {
        self.found.states.iter().find(|state| state.base == base)?.header.map(|header| header.salt)
    }
}
