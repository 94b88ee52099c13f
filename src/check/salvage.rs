//! The frames behind a damaged segment header can still be read: all that is needed of it is the
//! salt, and every frame holds a trace of that.

use crate::error::Result;
use crate::format::frame::{self, FrameHeader};
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::storage::{StorageFile, read_full};

use super::walk::Walk;
use crate::error::Error;

/// Where the salt stands in a segment's header.
const SALT: usize = 56;

/// What the header of segment `base` must have said, or `None` if nothing proves it.
pub(super) fn header(
    file: &dyn StorageFile,
    name: &str,
    log_id: [u8; 16],
    base: u64,
) -> Result<Option<SegmentHeader>> {
    let mut bytes = [0u8; SEGMENT_HEADER_BYTES];
    let n = read_full(file, &mut bytes, 0).map_err(|e| Error::io("read", name, e))?;
    if n < SEGMENT_HEADER_BYTES {
        return Ok(None);
    }
    if let Some(header) = one_bit_away(&bytes).filter(|header| header.log_id == log_id && header.base == base)
    {
        return Ok(Some(header));
    }
    let with = |salt| SegmentHeader {
        log_id,
        base,
        durable_upto: 0,
        created_micros: 0,
        salt,
        rewritten: false,
        // Nobody knows any more.
        recycled: true,
        end: 0,
    };
    let stored =
        bytes.get(SALT..SALT + 4).and_then(|salt| salt.first_chunk()).map(|salt| u32::from_le_bytes(*salt));
    if let Some(salt) = stored
        && Walk::new(file, name, salt)?.head_at(DATA_START)?.is_ok()
    {
        return Ok(Some(with(salt)));
    }
    let Some((salt, next)) = salt_of_first_frame(file, name)? else { return Ok(None) };
    // One frame agrees with any salt made from it; a second one is the proof.
    let mut walk = Walk::new(file, name, salt)?;
    let first = walk.head_at(DATA_START)?.is_ok_and(|header| header.first_seq == base);
    Ok((first && walk.head_at(next)?.is_ok()).then(|| with(salt)))
}

/// The header that has one bit other than `bytes`; the checksum allows for no more than one.
fn one_bit_away(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<SegmentHeader> {
    (0..SEGMENT_HEADER_BYTES * 8).find_map(|bit| {
        let mut flipped = *bytes;
        *flipped.get_mut(bit / 8)? ^= 1 << (bit % 8);
        SegmentHeader::decode(&flipped).ok()
    })
}

/// The salt with which the first frame's checksum holds, and where the next frame begins.
fn salt_of_first_frame(file: &dyn StorageFile, name: &str) -> Result<Option<(u32, u64)>> {
    let mut walk = Walk::new(file, name, 0)?;
    let Some(header) = walk.claim(DATA_START)? else { return Ok(None) };
    let head = walk.scanner.bytes(DATA_START, header.head_bytes() as u64)?;
    let Some((stored, covered)) = head.split_first_chunk::<4>().filter(|_| head.len() >= FRAME_HEADER_BYTES)
    else {
        return Ok(None);
    };
    let seed = seed_for(covered, u32::from_le_bytes(*stored));
    let salt = frame::seed(seed, DATA_START);
    Ok(Some((salt, DATA_START + FrameHeader::frame_bytes(&header))))
}

/// The seed with which `bytes` have the checksum `sum`: a checksum is linear in its seed, and
/// different seeds give different sums.
fn seed_for(bytes: &[u8], sum: u32) -> u32 {
    let sum_with = |seed| {
        let mut hasher = crc32fast::Hasher::new_with_initial(seed);
        hasher.update(bytes);
        hasher.finalize()
    };
    let zero = sum_with(0);
    // Rows of an echelon form: what each combination of seed bits changes in the sum.
    let mut rows = [(0u32, 0u32); 32];
    for bit in 0..32 {
        let (mut change, mut seed) = (sum_with(1 << bit) ^ zero, 1u32 << bit);
        while change != 0 {
            let Some(row) = rows.get_mut(change.leading_zeros() as usize) else { break };
            if row.0 == 0 {
                *row = (change, seed);
                break;
            }
            (change, seed) = (change ^ row.0, seed ^ row.1);
        }
    }
    let (mut wanted, mut seed) = (sum ^ zero, 0);
    for (change, bits) in rows {
        if change != 0 && wanted & (1 << (31 - change.leading_zeros())) != 0 {
            (wanted, seed) = (wanted ^ change, seed ^ bits);
        }
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_checksum_is_found() {
        for (k, seed) in [0u32, 1, 0xdead_beef, u32::MAX].into_iter().enumerate() {
            let bytes = vec![k as u8 + 3; 60 + 8 * k];
            let mut hasher = crc32fast::Hasher::new_with_initial(seed);
            hasher.update(&bytes);
            assert_eq!(seed_for(&bytes, hasher.finalize()), seed);
        }
    }
}
