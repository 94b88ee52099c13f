//! `cat`, `tail`, `stat` and `recover`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use cli_support::*;

/// A log of 300 records: two of every three in "a", the rest in "b".
fn two_collections(place: &Place) -> String {
    let dir = place.shown("log");
    let input: String = (1..=300u32).map(|n| line(n, Some(if n % 3 == 0 { "b" } else { "a" }))).collect();
    run_with(&format!("ingest --dir {dir} --batch 40"), input.as_bytes()).fine();
    dir
}

#[test]
fn cat_prints_the_range_that_is_asked_for() {
    let place = Place::new();
    let dir = two_collections(&place);
    let of = |options: &str| ids(&run(&format!("cat --dir {dir} {options}")).fine());
    assert_eq!(of(""), numbered_ids(1..301));
    assert_eq!(of("--from 290"), numbered_ids(290..301));
    assert_eq!(of("--from 10 --to 12"), numbered_ids(10..13));
    assert_eq!(of("--to 3 --limit 2"), numbered_ids(1..3));
    assert_eq!(of("--collection b --offset 99"), ["r297", "r300"]);
    assert_eq!(of("--collection b --offset 2 --limit 1"), ["r6"]);
    assert_eq!(of("--collection b --from 4 --to 9"), ["r6", "r9"]);
    assert_eq!(of("--collection a --from 298"), ["r298", "r299"]);
    for nothing in
        ["--from 301", "--from 12 --to 10", "--limit 0", "--collection nobody", "--collection a --offset 201"]
    {
        assert!(of(nothing).is_empty(), "{nothing}");
    }
    assert_eq!(of("--from 0 --to 18446744073709551615").len(), 300);
    assert_eq!(of("--collection a --offset 18446744073709551615").len(), 0);
}

#[test]
fn tail_prints_the_last_records() {
    let place = Place::new();
    let dir = two_collections(&place);
    let of = |options: &str| ids(&run(&format!("tail --dir {dir} {options}")).fine());
    assert_eq!(of(""), numbered_ids(291..301));
    assert_eq!(of("-n 1"), ["r300"]);
    assert_eq!(of("-n 2 --collection b"), ["r297", "r300"]);
    assert_eq!(of("-n 999999999999").len(), 300);
    assert!(of("-n 0").is_empty() && of("--collection nobody").is_empty());
}

#[test]
fn tail_follows_a_live_ingest() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), &numbered(0..10)).fine();
    let mut tail = start(&format!("tail --dir {dir} -f -n 2"));
    let printed = BufReader::new(tail.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || printed.lines().try_for_each(|line| send.send(line.unwrap())));
    let expect = |id: String| {
        let line = receive.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(ids(line.as_bytes()), [id]);
    };
    expect("r8".into());
    expect("r9".into());
    let mut ingest = start(&format!("ingest --dir {dir} --batch 1"));
    let mut stdin = ingest.stdin.take().unwrap();
    for n in 10..20 {
        stdin.write_all(&numbered(n..n + 1)).unwrap();
        expect(format!("r{n}"));
    }
    drop(stdin);
    assert!(ingest.wait().unwrap().success());
    run_with(&format!("ingest --dir {dir}"), &numbered(20..40)).fine();
    (20..40).for_each(|n| expect(format!("r{n}")));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let place = Place::new();
    let dir = place.shown("log");
    run(&format!("ingest {SAMPLE} --dir {dir}")).fine();
    for command in ["cat", "cat --raw", "tail -n 1000", "tail -f -n 1000"] {
        let mut child = start(&format!("{command} --dir {dir}"));
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        printed.read_line(&mut first).unwrap();
        drop(printed);
        let ended: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command}");
    }
    for command in ["stat", "recover", "stat --json"] {
        let mut run = stratalog();
        run.args(command.split(' ')).arg("--dir").arg(&dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = run.spawn().unwrap();
        drop(child.stdout.take());
        let ended: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn a_payload_that_is_no_record_is_named_and_shown_raw() {
    let place = Place::new();
    let log = stratalog::Log::open(place.path("log")).unwrap();
    log.append(stratalog::StreamId::from_u128(5), &stratalog::Batch::one(b"\x00hello\xff")).unwrap();
    log.close().unwrap();
    let dir = place.shown("log");
    let said = run(&format!("cat --dir {dir}")).refused(1);
    assert!(said.contains("SeqId 1: operation record:") && said.contains("--raw"), "{said}");
    let raw = run(&format!("cat --dir {dir} --raw")).json();
    assert_eq!((&raw["seq_id"], &raw["payload_hex"]), (&1.into(), &"0068656c6c6fff".into()));
}

#[test]
fn stat_tells_the_same_beside_a_writer_and_after_it() {
    let place = Place::new();
    let dir = two_collections(&place);
    let stat = run(&format!("stat --dir {dir} --streams --json")).json();
    for (figure, expected) in
        [("committed", 300), ("durable", 300), ("streams", 2), ("unwitnessed_records", 0), ("dead_bytes", 0)]
    {
        assert_eq!(stat[figure], expected, "{figure}");
    }
    assert_eq!(stat["checkpoint"]["last_seq_id"], 300);
    assert_eq!(stat["bytes_since_checkpoint"], 0);
    let mut records: Vec<u64> = stat["stream_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["records"].as_u64().unwrap())
        .collect();
    records.sort_unstable();
    assert_eq!(records, [100, 200]);

    // What is behind the checkpoint is counted too.
    let log = stratalog::Log::open(place.path("log")).unwrap();
    let mut batch = stratalog::Batch::new();
    batch.push(b"x");
    for n in 0..50 {
        log.append(stratalog::StreamId::from_u128(n % 5), &batch).unwrap();
    }
    eventually("the writer witnesses its last commit", || {
        run(&format!("stat --dir {dir} --json")).json()["committed"] == 350
    });
    let stat = run(&format!("stat --dir {dir} --streams --json")).json();
    assert_eq!((&stat["streams"], &stat["checkpoint"]["last_seq_id"]), (&7.into(), &300.into()));
    assert!(stat["bytes_since_checkpoint"].as_u64().unwrap() > 50);
    log.close().unwrap();
    let text = run(&format!("stat --dir {dir} --streams")).text();
    assert!(
        text.contains("committed 350, durable 350") && text.contains("00000000-0000-0000-0000-000000000004"),
        "{text}"
    );
}

#[test]
fn records_that_nothing_witnesses_show_after_recover_and_a_note_says_so() {
    let place = Place::new();
    let dir = place.shown("log");
    let acks = place.shown("acks");
    let mut ingest = start(&format!("ingest --dir {dir} --batch 1 --acks {acks}"));
    let mut stdin = ingest.stdin.take().unwrap();
    stdin.write_all(&numbered(0..50)).unwrap();
    eventually("an acknowledgement", || std::fs::read(&acks).is_ok_and(|acks| !acks.is_empty()));
    ingest.kill().unwrap();
    ingest.wait().unwrap();
    let acked = std::fs::read_to_string(&acks).unwrap().lines().count();
    let before = run(&format!("cat --dir {dir}"));
    let shown = ids(&before.stdout).len();
    let report = run(&format!("recover --dir {dir} --json")).json();
    let found = ids(&run(&format!("cat --dir {dir}")).fine()).len();
    assert!(found >= acked && report["last_seq_id"] == found as u64);
    assert_eq!(before.stderr.contains("stratalog recover"), shown < found, "{}", before.stderr);
    assert_eq!(report["rewritten_records"], (found - shown) as u64);
    let again = run(&format!("recover --dir {dir}")).text();
    assert!(again.contains("closed cleanly"), "{again}");
}
