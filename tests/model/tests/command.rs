//! The command says what it did, and what is wrong with what it was told.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stratalog-model")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_check_counts_what_it_tried() {
    let output = run(&["check", "--seeds", "0..40", "--threads", "2"]);
    assert!(output.status.success(), "{output:?}");
    for word in ["cases of crash and recovery, 40 programs", "faults injected", "cases a minute"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
}

#[test]
fn a_check_ends_with_the_last_seed_there_is() {
    let output = run(&["check", "--seeds", "18446744073709551613..18446744073709551615", "--threads", "2"]);
    assert!(output.status.success() && stdout(&output).contains(", 2 programs"), "{output:?}");
}

#[test]
fn help_is_given_wherever_it_is_asked_for() {
    for arguments in [&["--help"][..], &["check", "--help"], &["replay", "-h"]] {
        let output = run(arguments);
        assert!(output.status.success() && stdout(&output).starts_with("usage:"), "{output:?}");
    }
}

#[test]
fn a_replay_gives_the_same_every_time() {
    let first = run(&["replay", "--seed", "8"]);
    assert!(first.status.success());
    assert_eq!(stdout(&first), stdout(&run(&["replay", "--seed", "8"])));
}

#[test]
fn what_it_does_not_know_is_refused_with_what_it_expected() {
    let wrong: [(&[&str], &str); 11] = [
        (&[], "expected check or replay, found nothing"),
        (&["chekc"], "found \"chekc\""),
        (&["check", "--second", "5"], "check has no flag --second"),
        (
            &["check", "--seconds", "x"],
            "--seconds: expected a number from 0 to 18446744073709551615, found \"x\"",
        ),
        (&["check", "--seconds", "0"], "--seconds: expected 1 or more"),
        (&["replay", "--seed", "-1"], "found \"-1\""),
        (&["check", "--seconds"], "expected a value behind --seconds"),
        (&["check", "--threads", "0"], "expected 1 to 1024, found 0"),
        (&["check", "--seeds", "5..5"], "expected A..B with A below B"),
        (&["replay"], "expected --seed N"),
        (&["replay", "--seed", "1", "--seed", "2"], "found it twice"),
    ];
    for (arguments, expected) in wrong {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
