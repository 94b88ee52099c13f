//! A closed log is free at once, also while other threads of the process start programs.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use stratalog::Log;

#[test]
fn a_closed_log_can_be_opened_again_while_another_thread_starts_processes() {
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Until its exec, each new process has all files of this one, and would hold their locks.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let opened: Vec<_> = (0..150).map(|_| Log::open(dir.path()).and_then(|log| log.close())).collect();
        done.store(true, Ordering::Relaxed);
        opened.into_iter().for_each(|outcome| outcome.unwrap());
    });
}
