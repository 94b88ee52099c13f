//! Many orders of the same few threads, chosen by shuttle: what may wait for what, who is told, and
//! that nobody sees more than is durable.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --release --test schedules --target-dir target/shuttle
//! ```
//!
//! `ITERATIONS=n` tries n orders of each scenario by each of two schedulers (default: 3,000, which takes
//! about a minute for all). A failure prints its schedule; `REPLAY=<schedule>` with the name of the test
//! runs that one again.
//!
//! Every scenario runs to the end of all its threads, those of log and hub included: one that waits
//! for ever is a deadlock, and fails. Atomics are sequentially consistent here: a missing `Acquire` is
//! not found by this (Miri and the thread sanitizer look for those).
#![cfg(shuttle)]
#![allow(clippy::unwrap_used)]

mod awaited;
mod close;
mod commit;
mod deliver;
mod disk;
mod explore;
mod fail;
mod hand_over;
mod read;
mod unsubscribe;
mod upkeep;
