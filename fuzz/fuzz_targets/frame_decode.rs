//! Decoders of frame, segment header, index, checkpoint and control records: no input makes them panic, and what
//! they accept encodes to what decodes to the same.
//!
//! Input: one byte that says what it is and whether its checksums are set right first, then it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stratalog::fuzzing;

const SALT: u32 = 0x5eed_cafe;
const POSITION: u64 = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    if kind & 0x80 != 0 {
        match kind & 7 {
            0 => drop(fuzzing::reseal_frame(&mut bytes, SALT, POSITION)),
            1 => fuzzing::reseal_file(bytes.get_mut(..128).unwrap_or_default()),
            _ => fuzzing::reseal_file(&mut bytes),
        }
    }
    match kind & 7 {
        0 => {
            if let Some(again) = fuzzing::frame(&bytes, SALT, POSITION) {
                assert_eq!(again, bytes[..again.len()], "a frame has one encoding");
                let moved = fuzzing::frame(&bytes, SALT, POSITION + 8);
                assert_eq!(moved, None, "a frame is valid only where it was written");
            }
        }
        1 => {
            if let Some(again) = fuzzing::segment_header(&bytes) {
                assert_eq!(fuzzing::segment_header(&again), Some(again));
            }
        }
        2 => {
            if let Some(again) = fuzzing::checkpoint(&bytes) {
                assert_eq!(fuzzing::checkpoint(&again), Some(again));
            }
        }
        4 => {
            if let Some(again) = fuzzing::controls(&bytes) {
                assert_eq!(again, bytes, "control records have one encoding");
            }
        }
        _ => drop(fuzzing::index(&bytes)),
    }
});
