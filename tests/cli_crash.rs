//! `kill -9` in mid-ingest, at any moment: what was acknowledged is there, batches are whole, and
//! `--resume` completes the log without duplicates and without gaps.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cli_support::*;

const BATCH: usize = 5;

fn acknowledged(place: &Place) -> u64 {
    let text = std::fs::read_to_string(place.path("acks")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.map(|line| line.parse::<u64>().unwrap()).max().unwrap_or(0)
}

fn line_count(printed: &[u8]) -> usize {
    printed.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn a_killed_ingest_keeps_what_it_acknowledged_and_is_resumed_without_duplicates() {
    let place = Place::new();
    let input = place.file("input", &sample());
    let whole = place.shown("whole");
    run(&format!("ingest {input} --dir {whole}")).fine();
    let whole = run(&format!("cat --dir {whole}")).fine();
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    for round in 0..2 {
        let dir = place.shown(&format!("log{round}"));
        let durability = ["sync", "buffered"][round % 2];
        let _ = std::fs::remove_file(place.path("acks"));
        let mut resume = "";
        let mut killed = 0;
        for attempt in 0..6 {
            let acks = place.shown("acks");
            let command = format!(
                "ingest {input} --dir {dir} --batch {BATCH} --producers 3 --durability {durability} --acks {acks} {resume}"
            );
            let mut child = start(&command);
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            std::thread::sleep(Duration::from_micros((random >> 33) % 80_000));
            let _ = child.kill();
            let ended = child.wait().unwrap();
            if ended.success() {
                break;
            }
            killed += 1;
            let acked = acknowledged(&place);
            if place.path(&format!("log{round}")).is_dir()
                && run(&format!("recover --dir {dir}")).code == Some(0)
            {
                let found = run(&format!("cat --dir {dir}")).fine();
                let context = format!("round {round}, attempt {attempt}, {acked} acknowledged");
                assert!(line_count(&found) as u64 >= acked, "{context}: {} found", line_count(&found));
                assert_eq!(line_count(&found) % BATCH, 0, "{context}: a part of a batch");
                assert!(whole.starts_with(&found), "{context}: not a prefix of the input");
                // If it was killed before it wrote down what it was about to do, there is nothing
                // to resume, and nothing was written.
                resume = "--resume";
            } else {
                assert_eq!(acked, 0);
            }
        }
        // The kill may have come after the last record and before the end of the process.
        run(&format!("ingest {input} --dir {dir} --resume")).fine();
        let found = run(&format!("cat --dir {dir}")).fine();
        assert!(found == whole, "round {round}: killed {killed} times, {} records", line_count(&found));
    }
}

#[test]
fn a_follower_loses_nothing_while_writers_are_killed_and_recovered() {
    let place = Place::new();
    let input = place.file("input", &sample());
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), &numbered(0..10)).fine();
    let mut tail = stratalog();
    tail.args(["tail", "-f", "-n", "10", "--dir", dir.as_str()]);
    tail.stdout(std::fs::File::create(place.path("followed")).unwrap());
    let mut tail = tail.spawn().unwrap();
    for round in 0..5 {
        let mut ingest = start(&format!("ingest {input} --dir {dir} --batch 7"));
        std::thread::sleep(Duration::from_millis(60 + 10 * round));
        let _ = ingest.kill();
        ingest.wait().unwrap();
        run(&format!("ingest {input} --dir {dir} --resume")).fine();
        run_with(&format!("ingest --dir {dir} --batch 1"), &numbered(0..20)).fine();
    }
    let all = run(&format!("cat --dir {dir}")).fine();
    let followed = || std::fs::read(place.path("followed")).unwrap();
    eventually("the follower comes to the end", || followed().len() >= all.len());
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(followed() == all, "the follower printed something else");
}

#[test]
fn to_resume_a_complete_ingest_writes_nothing_twice() {
    let place = Place::new();
    let dir = place.shown("log");
    let all = || ids(&run(&format!("cat --dir {dir}")).fine());
    let file = place.file("input", &numbered(0..20));
    run(&format!("ingest {file} --dir {dir}")).fine();
    let summary = run(&format!("ingest {file} --dir {dir} --resume --json")).json();
    assert_eq!((&summary["skipped_records"], &summary["records"]), (&20.into(), &0.into()));

    // It has grown: the rest is appended.
    place.file("input", &numbered(0..30));
    run(&format!("ingest {file} --dir {dir} --resume")).fine();
    assert_eq!(all(), numbered_ids(0..30));

    // Another content altogether: a fresh run, and no line of it is lost.
    place.file("input", &numbered(30..40));
    let ran = run(&format!("ingest {file} --dir {dir} --resume"));
    assert!(ran.stderr.contains("another input"), "{}", ran.stderr);
    ran.fine();
    assert_eq!(all(), numbered_ids(0..40));

    // Neither the same nor another: to be decided by whoever runs it.
    place.file("input", &[numbered(30..35), numbered(50..60)].concat());
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(3);
    assert!(said.contains("input:6"), "{said}");

    // It has grown, but somebody else has written behind it.
    let log = stratalog::Log::open(place.path("log")).unwrap();
    log.append(stratalog::StreamId::from_u128(5), &stratalog::Batch::one(b"a stranger")).unwrap();
    log.close().unwrap();
    place.file("input", &numbered(30..41));
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(2);
    assert!(said.contains("other records were appended"), "{said}");
    place.file("input", &numbered(30..40));
    run(&format!("ingest {file} --dir {dir} --resume")).fine();

    // Without --resume the same is appended again: that is what was asked for.
    let count = || run(&format!("stat --dir {dir} --json")).json()["committed"].as_u64().unwrap();
    assert_eq!(count(), 41);
    run_with(&format!("ingest --dir {dir}"), &numbered(40..45)).fine();
    run_with(&format!("ingest --dir {dir}"), &numbered(40..45)).fine();
    assert_eq!(count(), 51);
    run_with(&format!("ingest --dir {dir} --resume"), &numbered(40..45)).fine();
    assert_eq!(count(), 51);
}

#[test]
fn a_resumed_run_compares_what_it_skips_and_names_the_first_line_that_differs() {
    let place = Place::new();
    let dir = place.shown("log");
    let interrupted = [numbered(0..20), b"?".to_vec()].concat();
    let file = place.file("input", &interrupted);
    run(&format!("ingest {file} --dir {dir} --batch 5")).refused(3);

    let said = run(&format!("ingest {file} --dir {dir}")).refused(2);
    assert!(said.contains("was interrupted") && said.contains("--forget-interrupted"), "{said}");
    let said = run(&format!("ingest - --dir {dir} --resume")).refused(2);
    assert!(said.contains("had the inputs"), "{said}");
    let said = run(&format!("ingest {file} --dir {dir} --resume --collection other")).refused(2);
    assert!(said.contains("--collection none"), "{said}");

    place.file("input", &[numbered(0..7), numbered(107..140)].concat());
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(3);
    assert!(said.contains("input:8: expected the record that the log has at SeqId 8"), "{said}");

    let moved: String = (0..20).map(|n| line(n, (n == 12).then_some("other"))).collect();
    place.file("input", moved.as_bytes());
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(3);
    assert!(said.contains("input:13: expected a record of collection"), "{said}");

    place.file("input", &numbered(0..9));
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(3);
    assert!(said.contains("the input ends after 9 records"), "{said}");

    // None of these runs has written anything.
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..20));
    place.file("input", &numbered(0..50));
    let summary = run(&format!("ingest {file} --dir {dir} --resume --json")).json();
    assert_eq!((&summary["skipped_records"], &summary["records"]), (&20.into(), &30.into()));
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..50));
}

#[test]
fn what_somebody_else_appended_in_between_is_not_taken_for_the_input() {
    let place = Place::new();
    let dir = place.shown("log");
    let file = place.file("input", &[numbered(0..10), b"?".to_vec()].concat());
    run(&format!("ingest {file} --dir {dir} --batch 5")).refused(3);
    {
        let log = stratalog::Log::open(place.path("log")).unwrap();
        log.append(stratalog::StreamId::from_u128(5), &stratalog::Batch::one(b"a stranger")).unwrap();
        log.close().unwrap();
    }
    place.file("input", &numbered(0..30));
    let said = run(&format!("ingest {file} --dir {dir} --resume")).refused(3);
    assert!(said.contains("input:11") && said.contains("SeqId 11"), "{said}");
    run(&format!("ingest {file} --dir {dir} --forget-interrupted --collection again")).fine();
    let again = run(&format!("cat --dir {dir} --collection again")).fine();
    assert_eq!(ids(&again), numbered_ids(0..30));
}

#[test]
fn resume_where_nothing_was_interrupted_is_a_fresh_run_that_says_so() {
    let place = Place::new();
    let dir = place.shown("log");
    let ran = run_with(&format!("ingest --dir {dir} --resume"), &numbered(0..3));
    assert!(ran.stderr.contains("no ingest was interrupted here"), "{}", ran.stderr);
    ran.fine();
}

#[test]
fn a_state_file_that_makes_no_sense_is_an_error_with_a_way_out() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), &numbered(0..3)).fine();
    for (state, code) in [
        ("", 1),
        ("{}", 1),
        ("\0\0\0\0", 1),
        (r#"{"version":9,"committed":0,"inputs":[],"collection":null}"#, 6),
    ] {
        place.file("log/ingest.resume", state.as_bytes());
        run_with(&format!("ingest --dir {dir} --resume"), &numbered(3..5)).refused(code);
    }
    run_with(&format!("ingest --dir {dir} --forget-interrupted"), &numbered(3..5)).fine();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..5));
}

#[test]
fn the_demo_kills_recovers_resumes_consumes_purges_and_verifies() {
    let place = Place::new();
    let dir = place.shown("demo");
    let said = run(&format!("demo --dir {dir}")).text();
    for expected in [
        "kill -9  in mid-ingest",
        "1,000 records in, 1,000 in the log, identical",
        "kill -9  in the middle",
        "all 1,000 in the file as `cat` prints them: no gap, none twice",
        "purge    what the cursor has passed",
        "no damage",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(run(&format!("cat --dir {dir}/log")).fine().is_empty());
    run(&format!("demo --dir {dir}")).refused(2);
}
