//! What one file holds: in the cache, and on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::random::Random;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
const SECTORS: usize = BLOCK / SECTOR;

/// Zeros where there is no block. Blocks are shared between images that hold the same.
#[derive(Debug, Clone, Default)]
struct Image {
    len: usize,
    /// May go on behind `len`: content can reach the disk before the length.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Image {
    fn block(&mut self, at: usize) -> &mut Option<Arc<[u8; BLOCK]>> {
        if self.blocks.len() <= at {
            self.blocks.resize(at + 1, None);
        }
        &mut self.blocks[at]
    }

    fn bytes(&mut self, at: usize) -> &mut [u8; BLOCK] {
        Arc::make_mut(self.block(at).get_or_insert_with(|| Arc::new([0; BLOCK])))
    }

    fn read(&self, mut buffer: &mut [u8], mut position: usize) -> usize {
        let len = self.len.saturating_sub(position).min(buffer.len());
        buffer = &mut buffer[..len];
        while !buffer.is_empty() {
            let (at, start) = (position / BLOCK, position % BLOCK);
            let n = (BLOCK - start).min(buffer.len());
            let (piece, rest) = buffer.split_at_mut(n);
            match self.blocks.get(at).and_then(Option::as_ref) {
                Some(block) => piece.copy_from_slice(&block[start..start + n]),
                None => piece.fill(0),
            }
            (buffer, position) = (rest, position + n);
        }
        len
    }

    fn write(&mut self, mut bytes: &[u8], mut position: usize) {
        while !bytes.is_empty() {
            let start = position % BLOCK;
            let (piece, rest) = bytes.split_at((BLOCK - start).min(bytes.len()));
            self.bytes(position / BLOCK)[start..start + piece.len()].copy_from_slice(piece);
            (bytes, position) = (rest, position + piece.len());
        }
        self.len = self.len.max(position);
    }

    /// What lies behind a cut is zeros if the file grows again.
    fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.blocks.truncate(len.div_ceil(BLOCK));
            if !len.is_multiple_of(BLOCK) && self.blocks.get(len / BLOCK).is_some_and(Option::is_some) {
                self.bytes(len / BLOCK)[len % BLOCK..].fill(0);
            }
        }
        self.len = len;
    }

    fn sector(&self, sector: usize) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        if let Some(block) = self.blocks.get(sector / SECTORS).and_then(Option::as_ref) {
            let start = sector % SECTORS * SECTOR;
            bytes.copy_from_slice(&block[start..start + SECTOR]);
        }
        bytes
    }

    /// Takes some sectors of a block from another image.
    fn take(&mut self, from: &Image, at: usize, sectors: u8) {
        let source = from.blocks.get(at).and_then(Option::as_ref);
        if sectors == u8::MAX {
            *self.block(at) = source.cloned();
            return;
        }
        let to = self.bytes(at);
        for sector in (0..SECTORS).filter(|sector| sectors & (1 << sector) != 0) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            match source {
                Some(source) => to[range.clone()].copy_from_slice(&source[range]),
                None => to[range].fill(0),
            }
        }
    }
}

/// Where `cached` and `durable` differ, the sector is in `dirty`, or a failed sync has lost it.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    cached: Image,
    durable: Image,
    /// Sectors by block that were written and not synced.
    dirty: BTreeMap<usize, u8>,
}

impl Content {
    /// Zeros, which need not be written: a block that does not exist reads as zeros, too.
    pub(super) fn zeros(len: usize) -> Self {
        Content { cached: Image { len, blocks: Vec::new() }, ..Content::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.cached.len
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: usize) -> usize {
        self.cached.read(buffer, position)
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        self.cached.write(bytes, position);
        self.mark(position, position + bytes.len());
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let old = self.cached.len;
        self.cached.set_len(len);
        self.mark(len.min(old), len.max(old));
    }

    fn mark(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            *self.dirty.entry(sector / SECTORS).or_default() |= 1 << (sector % SECTORS);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.set_len(self.cached.len);
        for (block, sectors) in std::mem::take(&mut self.dirty) {
            self.durable.take(&self.cached, block, sectors);
        }
    }

    /// A sync that fails: any of the blocks are written, and all of them count as clean, so that no
    /// later sync writes the others.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        if random.below(2) == 0 {
            self.durable.set_len(self.cached.len);
        }
        for (block, sectors) in std::mem::take(&mut self.dirty) {
            if random.below(2) == 0 {
                self.durable.take(&self.cached, block, sectors);
            }
        }
    }

    /// The disk is written to when nobody asked for it: one block, or the length.
    pub(super) fn write_back(&mut self, random: &mut Random) {
        if random.below(4) == 0 {
            return self.durable.set_len(self.cached.len);
        }
        let start = random.below(1 + self.cached.len.div_ceil(BLOCK) as u64) as usize;
        let next = self.dirty.range(start..).next().or_else(|| self.dirty.iter().next());
        let Some((&block, &sectors)) = next else { return };
        self.durable.take(&self.cached, block, sectors);
        self.dirty.remove(&block);
    }

    /// What a power cut leaves: of each block not synced everything, nothing, or some of its sectors.
    pub(super) fn cut(&mut self, lives: &mut impl FnMut() -> bool) {
        if lives() {
            self.durable.set_len(self.cached.len);
        }
        for (block, sectors) in std::mem::take(&mut self.dirty) {
            let torn = lives();
            if !torn && lives() {
                self.durable.take(&self.cached, block, sectors);
            } else if torn {
                let kept = (0..SECTORS).filter(|_| lives()).fold(0, |kept, sector| kept | 1 << sector);
                if sectors & kept != 0 {
                    self.durable.take(&self.cached, block, sectors & kept);
                }
            }
        }
        self.settle_cut();
    }

    fn settle_cut(&mut self) {
        // Blocks that came ahead of the length are lost with it.
        let len = self.durable.len;
        self.durable.len = len.max(self.durable.blocks.len() * BLOCK);
        self.durable.set_len(len);
        self.cached = self.durable.clone();
    }

    pub(super) fn has_unsynced_length(&self) -> bool {
        self.cached.len != self.durable.len
    }

    /// Sectors, by number in the file, of which a cut can leave either of two contents.
    pub(super) fn unsynced_sectors(&self) -> Vec<usize> {
        let all = self.dirty.iter().flat_map(|(block, sectors)| {
            let set = (0..SECTORS).filter(|sector| *sectors & (1 << *sector) != 0);
            set.map(|sector| *block * SECTORS + sector)
        });
        all.filter(|sector| self.cached.sector(*sector) != self.durable.sector(*sector)).collect()
    }

    /// What a power cut leaves that decides as it is told.
    pub(super) fn cut_leaving(&mut self, length: bool, lives: impl Fn(usize) -> bool) {
        if length {
            self.durable.set_len(self.cached.len);
        }
        for (block, sectors) in std::mem::take(&mut self.dirty) {
            let live = (0..SECTORS).filter(|sector| lives(block * SECTORS + sector));
            let kept = sectors & live.fold(0, |kept, sector| kept | 1 << sector);
            if kept != 0 {
                self.durable.take(&self.cached, block, kept);
            }
        }
        self.settle_cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        let mut content = Content::zeros(2 * BLOCK);
        content.write(bytes, 0);
        content
    }

    fn read(content: &Content) -> Vec<u8> {
        let mut bytes = vec![1; content.len()];
        assert_eq!(content.read(&mut bytes, 0), content.len());
        bytes
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_sync_writes() {
        let mut lost = 0;
        for seed in 0..20 {
            let mut content = content(&[]);
            content.sync();
            content.write(&[7; SECTOR], 0);
            content.fail_sync(&mut Random(seed));
            content.write(&[8; SECTOR], SECTOR);
            content.sync();
            content.cut(&mut || true);
            assert_eq!(read(&content)[SECTOR..2 * SECTOR], [8; SECTOR]);
            lost += usize::from(read(&content)[0] == 0);
        }
        assert!((1..20).contains(&lost), "{lost}");
    }

    #[test]
    fn a_block_survives_vanishes_or_tears_by_sector() {
        let mut kinds = [0; 3];
        for seed in 0..200 {
            let (mut content, mut random) = (content(&[9; BLOCK]), Random(seed));
            content.cut(&mut || random.below(2) == 0);
            let bytes = read(&content);
            let kept = bytes.chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 9)).count();
            let none = bytes.chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0)).count();
            assert_eq!(kept + none, bytes.len() / SECTOR);
            kinds[if bytes.is_empty() || kept == 0 { 0 } else { 1 + usize::from(kept == SECTORS) }] += 1;
        }
        assert!(kinds.iter().all(|kind| *kind > 10), "{kinds:?}");
    }

    #[test]
    fn what_was_written_back_stays_though_it_is_written_over_afterwards() {
        let mut content = content(&[]);
        content.sync();
        content.write(&[1; SECTOR], 0);
        (0..9).for_each(|seed| content.write_back(&mut Random(seed)));
        content.write(&[2; SECTOR], 0);
        content.cut(&mut || false);
        assert_eq!(read(&content)[..SECTOR], [1; SECTOR]);
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
        let mut content = content(&[5; BLOCK]);
        content.sync();
        content.set_len(100);
        content.set_len(BLOCK);
        content.sync();
        content.cut(&mut || false);
        assert!(read(&content)[100..].iter().all(|byte| *byte == 0));
    }
}
