//! Programs of everything a log does, on a simulated disk, with crashes at any call, crashes in the
//! recovery from them, and calls that fail: after each the log is compared with a plain list.
//!
//! Input: what the program is made of (see `Program::of_bytes` in `tests/model`).

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| stratalog_model::run_bytes(data));
