//! The checker finds what a storage with a defect loses.
#![allow(clippy::unwrap_used)]

mod defects;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use defects::{Defect, defective};
use stratalog_model::check::{Watch, check};
use stratalog_model::{Program, Violation, plain, run};

const QUIET: Watch<'static> =
    Watch { progress: &|_, _| (), patience: Duration::MAX, hangs: &|seed| panic!("{seed}") };

/// The first violation in some thousand programs.
fn first(defect: Defect) -> Option<(u64, Violation)> {
    check(0..3_000, None, 1, &defective(defect), QUIET).failure
}

#[track_caller]
fn must_be_found(defect: Defect) {
    let (seed, violation) = first(defect).unwrap_or_else(|| panic!("{defect:?} was not found"));
    println!("{defect:?}: seed {seed}, {violation}");
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    must_be_found(Defect::NoSync);
}

#[test]
fn a_sync_of_the_directory_that_does_nothing_is_found() {
    must_be_found(Defect::NoDirectorySync);
}

#[test]
fn one_write_in_many_that_is_dropped_is_found() {
    must_be_found(Defect::DropsWrites);
}

#[test]
fn a_sync_that_fails_and_says_that_it_did_not_is_found() {
    must_be_found(Defect::HidesFailedSyncs);
}

#[test]
fn a_rename_that_does_nothing_is_found() {
    must_be_found(Defect::NoRename);
}

#[test]
fn a_program_that_does_not_end_is_named() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    let named = Cell::new(None);
    let hangs = |seed| {
        named.set(Some(seed));
        RELEASED.store(true, Ordering::Release);
    };
    let watch = Watch { patience: Duration::from_millis(20), hangs: &hangs, ..QUIET };
    let stands_still = |storage: &_| {
        while !RELEASED.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        plain(storage)
    };
    check(7..8, None, 1, &stands_still, watch);
    assert_eq!(named.get(), Some(7));
}

#[test]
fn a_disk_without_a_defect_is_found_to_have_none() {
    assert_eq!(first(Defect::None), None);
}

#[test]
fn a_violation_is_the_same_when_it_is_run_again_and_smaller_when_it_was_shrunk() {
    let wrap = defective(Defect::NoSync);
    let (seed, violation) = first(Defect::NoSync).unwrap();
    let program = Program::of_seed(seed);
    for _ in 0..3 {
        assert_eq!(run(&program, &wrap).1.unwrap_err(), violation);
    }
    let before = program.operations();
    let (small, same) =
        stratalog_model::shrink::shrink(program, violation.clone(), &wrap, Duration::from_secs(20));
    assert!(small.operations() <= before && small.operations() <= 3, "{small:#?}");
    assert!(small.lives.len() <= 2, "{small:#?}");
    assert_eq!(same.promise, violation.promise);
    assert_eq!(run(&small, &wrap).1.unwrap_err(), same);
}
