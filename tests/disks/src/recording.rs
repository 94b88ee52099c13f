//! Everything that reached a disk, in its order, and the images that a power cut could leave.

use std::ops::Range;
use std::sync::Arc;

use crate::blocks::{BLOCK, Blocks, SECTOR};
use crate::chance::Chance;
use crate::history::Said;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Write {
        position: u64,
        bytes: Arc<[u8]>,
    },
    /// All writes before it are durable.
    Flush,
    /// Of the load: what it was about to do, or what it was told.
    Said(Said),
}

/// What becomes of writes that no flush followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survives {
    None,
    All,
    /// Each block of each write, by the throw of a coin.
    Blocks,
    /// Each sector of each write.
    Sectors,
}

/// A moment at which the power fails, and what the disk does then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// This many events came before.
    pub(crate) at: usize,
    pub(crate) survives: Survives,
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Recording {
    /// The disk before the first event, all of it durable.
    pub(crate) before: Blocks,
    pub(crate) events: Vec<Event>,
}

impl Recording {
    /// Cuts within a range of events, in order of time: half of them anywhere, half right behind an
    /// acknowledgement, where a loss shows at once.
    pub(crate) fn cuts(&self, range: Range<usize>, count: usize, seed: u64) -> Vec<Cut> {
        let mut chance = Chance::part(seed, 1);
        let acknowledged: Vec<usize> = range
            .clone()
            .filter(|at| matches!(self.events[*at], Event::Said(Said::Appended { .. } | Said::Purged { .. })))
            .collect();
        let mut cuts: Vec<Cut> = (0..count)
            .map(|n| {
                let anywhere = chance.between(range.start as u64, range.end as u64) as usize;
                let at = if n % 2 == 0 || acknowledged.is_empty() {
                    anywhere
                } else {
                    acknowledged[chance.below(acknowledged.len() as u64) as usize] + 1
                };
                let survives = match chance.below(8) {
                    0 | 1 => Survives::None,
                    2 => Survives::All,
                    3..6 => Survives::Blocks,
                    _ => Survives::Sectors,
                };
                Cut { at, survives, seed: chance.next() }
            })
            .collect();
        cuts.sort_by_key(|cut| cut.at);
        cuts
    }

    /// What the load said in a range of events.
    pub(crate) fn said_in(&self, range: Range<usize>) -> impl Iterator<Item = &Said> {
        self.events[range].iter().filter_map(|event| match event {
            Event::Said(said) => Some(said),
            _ => None,
        })
    }

    /// Where the log is open for the first time.
    pub(crate) fn first_open(&self) -> Option<usize> {
        self.events.iter().position(|event| matches!(event, Event::Said(Said::Open { .. })))
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        let bytes = |event: &Event| if let Event::Write { bytes, .. } = event { bytes.len() } else { 0 };
        self.events.iter().map(|event| bytes(event) as u64).sum()
    }

    pub(crate) fn flushes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Flush)).count()
    }
}

/// Makes the images of cuts that come in order of time, in one pass over the recording.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    recording: &'a Recording,
    /// All that is durable before `flushed`.
    durable: Blocks,
    /// The first event behind the last flush that `durable` knows.
    flushed: usize,
}

impl<'a> Images<'a> {
    pub(crate) fn of(recording: &'a Recording) -> Self {
        Images { recording, durable: recording.before.clone(), flushed: 0 }
    }

    /// The disk after a cut that is not before the one asked for last.
    pub(crate) fn after(&mut self, cut: &Cut) -> Blocks {
        let events = &self.recording.events[self.flushed..cut.at];
        if let Some(last) = events.iter().rposition(|event| matches!(event, Event::Flush)) {
            for event in &events[..last] {
                if let Event::Write { position, bytes } = event {
                    self.durable.write(*position, bytes);
                }
            }
            self.flushed += last + 1;
        }
        let mut image = self.durable.clone();
        let mut chance = Chance::new(cut.seed);
        for event in &self.recording.events[self.flushed..cut.at] {
            if let Event::Write { position, bytes } = event {
                survive(&mut image, *position, bytes, cut.survives, &mut chance);
            }
        }
        image
    }
}

/// A part of one write reaches the disk.
pub(crate) fn survive(
    image: &mut Blocks,
    position: u64,
    bytes: &[u8],
    survives: Survives,
    chance: &mut Chance,
) {
    let unit = match survives {
        Survives::None => return,
        Survives::All => return image.write(position, bytes),
        Survives::Blocks => BLOCK,
        Survives::Sectors => SECTOR,
    };
    let mut at = position;
    let mut rest = bytes;
    while !rest.is_empty() {
        // The superblock of ext4 is two sectors under one checksum: no cut may tear it.
        let unit = if at < BLOCK as u64 { BLOCK } else { unit };
        let (piece, later) = rest.split_at(rest.len().min(unit - at as usize % unit));
        if chance.one_in(2) {
            image.write(at, piece);
        }
        at += piece.len() as u64;
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let write = |position: u64, byte: u8| Event::Write { position, bytes: vec![byte; 8192].into() };
        let said = || Event::Said(Said::Closed);
        Recording {
            before: Blocks::new(1 << 20),
            events: vec![write(0, 1), Event::Flush, write(0, 2), said(), write(8192, 3), Event::Flush],
        }
    }

    #[test]
    fn what_was_flushed_is_in_every_image() {
        let recording = recording();
        for survives in [Survives::None, Survives::All, Survives::Blocks, Survives::Sectors] {
            let mut images = Images::of(&recording);
            let before = images.after(&Cut { at: 1, survives: Survives::None, seed: 1 });
            assert_eq!(before.read(0, 8192), vec![0; 8192]);
            let flushed = images.after(&Cut { at: 2, survives, seed: 1 });
            assert_eq!(flushed.read(0, 8192), vec![1; 8192]);
            let all = images.after(&Cut { at: 6, survives, seed: 1 });
            assert_eq!(all.read(0, 16384), [vec![2; 8192], vec![3; 8192]].concat());
        }
    }

    #[test]
    fn what_was_not_flushed_survives_in_any_part() {
        let recording = recording();
        let after = |survives, seed| Images::of(&recording).after(&Cut { at: 5, survives, seed });
        assert_eq!(after(Survives::None, 0).read(0, 16384), [vec![1; 8192], vec![0; 8192]].concat());
        assert_eq!(after(Survives::All, 0).read(0, 16384), [vec![2; 8192], vec![3; 8192]].concat());
        let firsts: Vec<Vec<u8>> = (0..32).map(|seed| after(Survives::Blocks, seed).read(0, 16384)).collect();
        for image in &firsts {
            assert!(image.chunks(BLOCK).all(|block| block.iter().all(|byte| *byte == block[0])));
        }
        assert!(firsts.iter().any(|image| image[0] == 1 && image[4096] == 2 && image[8192] == 0));
        assert!((0..32).any(|seed| {
            let image = after(Survives::Sectors, seed).read(4096, 4096);
            image[0] != image[512]
        }));
    }
}
