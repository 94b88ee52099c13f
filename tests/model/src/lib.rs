//! A model checker for the log: random programs on a simulated disk, with crashes at any storage call,
//! crashes in the recovery from them, and calls that fail; after each the log is compared with a plain
//! list of what was done.
//!
//! [`check`](crate::check::check) runs many seeds, [`run_bytes`] one program made of arbitrary bytes.

pub mod check;
mod consumers;
mod crowd;
mod draw;
mod front;
mod history;
mod life;
mod observe;
mod payload;
mod program;
mod run;
pub mod shrink;
mod state;
mod threads;
mod violation;
mod writes;

pub use draw::{Random, Source};
pub use program::{Faults, Front, Left, Life, On, Op, Program, Recovery};
pub use run::{Counts, Wrap, plain, run};
pub use violation::Violation;

/// Runs the program that these bytes are: every string of bytes is one, and the same one gives the
/// same run.
///
/// # Panics
/// If the log breaks a promise.
pub fn run_bytes(data: &[u8]) {
    let program = Program::of_bytes(data);
    if let (_, Err(violation)) = run(&program, &plain) {
        panic!("{violation}\n{program:#?}");
    }
}
