//! Operations on a log whose storage fails where the input says: every call of it, in opening and
//! recovery too, once or for good. What was acknowledged is there whatever failed.
//!
//! Input: one byte of options, then operations and faults (see `failing`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use stratalog_fuzz::{failing::Run, options};

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let mut run = Run::new(options(*choice));
    for &[operation, argument] in data.as_chunks::<2>().0.iter().take(60) {
        run.step(operation, argument);
    }
    run.look_at_files();
});
