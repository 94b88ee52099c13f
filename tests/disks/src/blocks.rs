//! The content of a disk, in blocks of 4 KiB; blocks of zeros take no room.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const SECTOR: usize = 512;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A clone shares all blocks until one of the two is written to.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Blocks {
    pub(crate) fn new(bytes: u64) -> Self {
        Blocks { blocks: vec![None; (bytes as usize).div_ceil(BLOCK)] }
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    pub(crate) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = (position + len as u64).min(self.bytes());
        let mut out = Vec::with_capacity(len);
        let mut at = position;
        while at < end {
            let (block, from) = (at as usize / BLOCK, at as usize % BLOCK);
            let to = BLOCK.min(from + (end - at) as usize);
            let content = self.blocks[block].as_deref().unwrap_or(&ZEROS);
            out.extend_from_slice(&content[from..to]);
            at += (to - from) as u64;
        }
        out
    }

    /// What reaches beyond the end of the disk is left out.
    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) {
        let mut at = position as usize;
        let mut rest = bytes;
        while !rest.is_empty() && at < self.blocks.len() * BLOCK {
            let (block, from) = (at / BLOCK, at % BLOCK);
            let (piece, later) = rest.split_at(rest.len().min(BLOCK - from));
            let slot = &mut self.blocks[block];
            if slot.is_some() || piece.iter().any(|byte| *byte != 0) {
                let content = slot.get_or_insert_with(|| Arc::new([0; BLOCK]));
                Arc::make_mut(content)[from..from + piece.len()].copy_from_slice(piece);
            }
            if piece.len() == BLOCK && piece == ZEROS {
                *slot = None;
            }
            at += piece.len();
            rest = later;
        }
    }

    /// As a sparse file.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes())?;
        for (at, block) in self.blocks.iter().enumerate() {
            if let Some(content) = block {
                file.write_all_at(&content[..], (at * BLOCK) as u64)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_across_blocks_and_a_clone_keeps_the_old() {
        let mut disk = Blocks::new(64 << 10);
        let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8 | 1).collect();
        disk.write(3000, &bytes);
        let before = disk.clone();
        disk.write(4096, &[0; 4096]);
        assert_eq!(before.read(3000, 10_000), bytes);
        assert_eq!(disk.read(4096, 4096), vec![0; 4096]);
        assert_eq!(disk.read(2000, 1000), vec![0; 1000]);
        assert_eq!(disk.read((64 << 10) - 10, 100).len(), 10);
    }
}
