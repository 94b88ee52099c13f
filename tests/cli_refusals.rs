//! Misuse: the exit code tells what kind it was, the text what to do, and nothing is touched.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::*;

const READING: [&str; 3] = ["cat", "tail", "stat"];

#[test]
fn a_directory_that_is_no_log_is_left_as_it_is() {
    let place = Place::new();
    std::fs::create_dir(place.path("photos")).unwrap();
    place.file("photos/holiday.jpg", b"sunshine");
    let before = snapshot(&place.path("photos"));
    let dir = place.shown("photos");
    let input = place.file("input", &numbered(0..3));
    for command in READING.iter().copied().chain(["recover", &format!("ingest {input}")]) {
        let said = run(&format!("{command} --dir {dir}")).refused(6);
        assert!(said.contains("holiday.jpg"), "{said}");
    }
    assert_eq!(snapshot(&place.path("photos")), before);
}

#[test]
fn where_there_is_no_log_nothing_but_ingest_makes_one() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    let file = place.file("file", b"x");
    run(&format!("ingest {file} --dir {file}")).refused(6);
    for dir in [place.shown("empty"), place.shown("missing"), file] {
        for command in READING.iter().chain(&["recover"]) {
            run(&format!("{command} --dir {dir}")).refused(6);
        }
    }
    assert_eq!(snapshot(&place.path("empty")), []);
    assert!(!place.path("missing").exists());
}

#[test]
fn a_log_that_is_open_for_writing_refuses_a_second_writer_and_lets_readers_in() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), &numbered(0..3)).fine();
    let log = stratalog::Log::open(place.path("log")).unwrap();
    let pid = std::process::id().to_string();
    for command in ["ingest", "recover"] {
        let said = run_with(&format!("{command} --dir {dir}"), &numbered(3..4));
        let said = said.refused(5);
        assert!(said.contains(&pid), "{said}");
    }
    for command in READING {
        run(&format!("{command} --dir {dir}")).fine();
    }
    log.close().unwrap();
}

#[test]
fn damage_to_committed_records_is_told_with_its_place() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir} --batch 10"), &numbered(0..100)).fine();
    let segment = place.path("log").join("00000000000000000001.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let needle = bytes.windows(3).position(|bytes| bytes == b"r42").unwrap();
    bytes[needle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let ran = run(&format!("cat --dir {dir}"));
    assert_eq!(ids(&ran.stdout), numbered_ids(0..42));
    let said = ran.refused(4);
    assert!(said.contains("00000000000000000001.segment") && said.contains("stratalog verify"), "{said}");
    let ran = run(&format!("cat --dir {dir} --skip-damaged"));
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!(ids(&ran.stdout), [numbered_ids(0..42), numbered_ids(43..100)].concat());
    // Nothing was repaired without being asked.
    assert_eq!(std::fs::read(&segment).unwrap(), bytes);
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), &numbered(0..3)).fine();
    for name in ["checkpoint-0", "checkpoint-1"] {
        let path = place.path("log").join(name);
        if let Ok(mut bytes) = std::fs::read(&path) {
            bytes[8] = 200;
            // Another version has another checksum; with version 1's it would be a flipped bit.
            bytes[12] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let before = snapshot(&place.path("log"));
    for command in ["cat", "recover"] {
        let said = run(&format!("{command} --dir {dir}")).refused(6);
        assert!(said.contains("format version 200"), "{said}");
    }
    let after: Vec<_> = snapshot(&place.path("log")).into_iter().filter(|(name, _)| name != "LOCK").collect();
    assert_eq!(after, before.into_iter().filter(|(name, _)| name != "LOCK").collect::<Vec<_>>());
}

#[test]
fn misuse_is_exit_code_two() {
    let place = Place::new();
    let dir = place.shown("log");
    for line in [
        "",
        "frobnicate",
        "ingest",
        "cat",
        "cat --dir x --from one",
        "cat --dir x --offset 3",
        "cat --dir x --offset 3 --collection a --from 2",
        "cat --dir x --from -1",
        "ingest --dir x --batch 0",
        "ingest --dir x --producers 0",
        "ingest --dir x --durability maybe",
        "ingest --dir x --durability every:0ms",
        "ingest --dir x --resume --forget-interrupted",
        "tail --dir x -n many",
    ] {
        let ran = run(line);
        assert_eq!(ran.code, Some(2), "{line}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{line}");
    }
    run(&format!("ingest - - --dir {dir}")).refused(2);
    assert!(!place.path("log").exists() && !std::path::Path::new("x").exists());
}

#[test]
fn an_input_that_is_not_there_makes_no_log() {
    let place = Place::new();
    let dir = place.shown("log");
    let good = place.file("good", &numbered(0..3));
    run(&format!("ingest {good} {} --dir {dir}", place.shown("missing"))).refused(1);
    std::fs::create_dir(place.path("directory")).unwrap();
    let said = run(&format!("ingest {} --dir {dir}", place.shown("directory"))).refused(1);
    assert!(said.contains("is a directory"), "{said}");
    assert!(!place.path("log").exists());
}

#[test]
fn help_is_no_error_and_documents_the_exit_codes() {
    for line in ["--help", "help", "ingest --help", "--version", "cat -h"] {
        assert!(!run(line).fine().is_empty(), "{line}");
    }
    let help = run("--help").text();
    assert!(help.contains("Exit codes:") && help.contains("5  the log is open for writing"), "{help}");
}
