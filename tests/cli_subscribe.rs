//! `subscribe`: what is there and then what comes, handed over before the cursor says so.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use cli_support::*;

/// What comes out of a running command, line by line.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let printed = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    receive
}

fn expect(lines: &mpsc::Receiver<String>, id: &str) {
    let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(ids(line.as_bytes()), [id]);
}

#[test]
fn a_subscriber_beside_a_writer_gets_what_is_there_and_then_what_comes() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let mut subscriber = start(&format!("subscribe --dir {dir} --collection b --batch 7"));
    let lines = lines_of(&mut subscriber);
    (1..=30).for_each(|n| expect(&lines, &format!("r{}", 3 * n)));
    let mut ingest = start(&format!("ingest --dir {dir} --batch 1"));
    let mut stdin = ingest.stdin.take().unwrap();
    for n in 91..=120u32 {
        let collection = if n % 3 == 0 { "b" } else { "a" };
        stdin.write_all(line(n, Some(collection)).as_bytes()).unwrap();
        if n % 3 == 0 {
            expect(&lines, &format!("r{n}"));
        }
    }
    drop(stdin);
    assert!(ingest.wait().unwrap().success());
    // And what another writer appends later.
    run_with(&format!("ingest --dir {dir} --collection b"), &numbered(121..130)).fine();
    (121..130).for_each(|n| expect(&lines, &format!("r{n}")));
    signal(&subscriber, "TERM");
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    assert!(lines.recv().is_err(), "nothing comes twice");
}

#[test]
fn what_is_printed_is_what_cat_prints() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    for options in ["", "--raw", "--from 5 --to 60"] {
        let cat = run(&format!("cat --dir {dir} --collection a {options}")).fine();
        let idle = if options.contains("--to") { "" } else { "--until-idle 10ms" };
        let subscribed = run(&format!("subscribe --dir {dir} --collection a {options} {idle}")).fine();
        assert!(!cat.is_empty() && cat == subscribed, "{options}");
    }
}

#[test]
fn it_ends_when_the_end_is_reached_also_if_that_is_another_collections_record() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    // 88 and 89 are of "a"; nothing of "b" comes behind them to say that they were passed.
    let printed = run(&format!("subscribe --dir {dir} --collection b --from 80 --to 89")).fine();
    assert_eq!(ids(&printed), ["r81", "r84", "r87"]);
    let mut subscriber = start(&format!("subscribe --dir {dir} --collection b --from 90 --to 92"));
    let lines = lines_of(&mut subscriber);
    expect(&lines, "r90");
    assert!(subscriber.try_wait().unwrap().is_none());
    run_with(&format!("ingest --dir {dir} --collection a"), &numbered(91..93)).fine();
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    assert!(lines.recv().is_err());
}

#[test]
fn a_cursor_carries_on_where_the_last_run_ended() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let subscribe = |more: &str| {
        ids(&run(&format!("subscribe --dir {dir} --collection b --cursor indexer {more}")).fine())
    };
    assert_eq!(subscribe("--to 6"), ["r3", "r6"]);
    assert_eq!(cursor(&dir, "indexer"), (6, 2, 28));
    assert_eq!(subscribe("--to 12 --batch 1"), ["r9", "r12"]);
    assert_eq!(subscribe("").len(), 26);
    assert_eq!(cursor(&dir, "indexer"), (90, 30, 0));
    assert!(subscribe("").is_empty());
    run_with(&format!("ingest --dir {dir} --collection b"), &numbered(200..203)).fine();
    assert_eq!(subscribe(""), numbered_ids(200..203));
    run(&format!("cursors --dir {dir} --collection b --rollback indexer --to 90")).fine();
    assert_eq!(subscribe(""), numbered_ids(200..203));
}

#[test]
fn a_cursor_never_passes_what_its_reader_did_not_get() {
    let place = Place::new();
    let dir = place.shown("log");
    run(&format!("ingest {SAMPLE} --dir {dir} --collection demo")).fine();
    let mut child = start(&format!("subscribe --dir {dir} --collection demo --cursor slow --batch 10"));
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    (0..25).for_each(|_| assert!(printed.read_line(&mut text).unwrap() > 0));
    // What is in the pipe now, nobody reads.
    let in_buffer = String::from_utf8_lossy(printed.buffer()).matches('\n').count() as u64;
    drop(printed);
    let ended: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let (at, ..) = cursor(&dir, "slow");
    // The pipe itself may have held 64 KiB more: about 14 records, so 2 batches.
    assert!(at.is_multiple_of(10) && at <= 25 + in_buffer + 30, "{at}");
    let next = run(&format!("subscribe --dir {dir} --collection demo --cursor slow --to {}", at + 1)).fine();
    let all = run(&format!("cat --dir {dir} --collection demo --from {} --limit 1", at + 1)).fine();
    assert!(next == all);
}

#[test]
fn a_reader_that_goes_away_ends_a_subscriber_that_waits() {
    let place = Place::new();
    let dir = three_to_one(&place, 30);
    let mut child = start(&format!("subscribe --dir {dir} --collection b"));
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    (0..10).for_each(|_| assert!(printed.read_line(&mut String::new()).unwrap() > 0));
    drop(printed);
    let ended: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_interrupt_ends_it_with_all_it_took_written() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let file = place.shown("out");
    for name in ["INT", "TERM"] {
        let _ = std::fs::remove_file(&file);
        let mut child = start(&format!("subscribe --dir {dir} --collection b --output {file}"));
        eventually("all is written", || std::fs::read(&file).is_ok_and(|text| ids_if_whole(&text) == 30));
        signal(&child, name);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{name}");
    }
}

fn ids_if_whole(text: &[u8]) -> usize {
    if text.ends_with(b"\n") { ids(text).len() } else { 0 }
}

#[test]
fn a_killed_subscriber_with_a_file_of_its_own_has_each_record_exactly_once() {
    let place = Place::new();
    let dir = place.shown("log");
    run(&format!("ingest {SAMPLE} --dir {dir} --collection demo")).fine();
    let all = run(&format!("cat --dir {dir} --collection demo")).fine();
    let mut random = Random::new();
    for options in ["--cursor one --batch 8", "--batch 8 --until-idle 10ms"] {
        let file = place.shown(&format!("out{}", options.len()));
        let command = format!("subscribe --dir {dir} --collection demo --output {file} {options}");
        for round in 0.. {
            let mut child = start(&command);
            std::thread::sleep(Duration::from_micros(random.below(30_000 + 3_000 * round)));
            let _ = child.kill();
            let ended = child.wait().unwrap();
            let written = std::fs::read(&file).unwrap_or_default();
            assert!(all.starts_with(&written), "round {round}: {} bytes", written.len());
            if options.contains("--cursor") && run(&format!("recover --dir {dir}")).code == Some(0) {
                let (at, ..) = cursor_or_none(&dir, "one").unwrap_or_default();
                let whole = written.iter().filter(|byte| **byte == b'\n').count() as u64;
                assert!(at <= whole, "round {round}: the cursor at {at}, {whole} records in the file");
            }
            // A kill may come too late.
            if ended.success() {
                break;
            }
        }
        assert!(std::fs::read(&file).unwrap() == all, "{options}");
    }
}

#[test]
fn a_killed_subscriber_prints_each_record_at_least_once_and_in_order() {
    let place = Place::new();
    let dir = place.shown("log");
    run(&format!("ingest {SAMPLE} --dir {dir} --collection demo")).fine();
    let mut random = Random::new();
    let mut next = 1;
    for round in 0.. {
        let out = place.path(&format!("printed{round}"));
        let mut command = stratalog();
        command.args(["subscribe", "--collection", "demo", "--cursor", "c", "--batch", "8", "--dir", &dir]);
        let mut child = command.stdout(std::fs::File::create(&out).unwrap()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(30_000 + 3_000 * round)));
        let _ = child.kill();
        let ended = child.wait().unwrap();
        let mut printed = std::fs::read(&out).unwrap();
        printed.truncate(printed.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        let seqs = seq_ids(&printed);
        if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
            assert!(*first <= next, "round {round}: {first} after {next} was due");
            assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "round {round}: {seqs:?}");
            next = next.max(last + 1);
        }
        if ended.success() {
            break;
        }
        run(&format!("recover --dir {dir}")).fine();
        let (at, ..) = cursor_or_none(&dir, "c").unwrap_or_default();
        assert!(at < next, "round {round}: the cursor at {at}, printed up to {}", next - 1);
    }
    assert_eq!(next, 1001);
}

#[test]
fn what_is_unfinished_at_the_end_of_the_file_is_cut_and_nothing_else() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let file = place.shown("out");
    let command = format!("subscribe --dir {dir} --collection b --output {file} --until-idle 10ms");
    run(&command).fine();
    let whole = std::fs::read(&file).unwrap();
    for tail in [&b"{"[..], b"{\"collection\":\"x", b"\0\0\0\0", b"\0\0\n\0", b"{}\n", &whole[..40]] {
        for keep in [0, whole.len() / 2, whole.len()] {
            let keep = whole[..keep].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if keep == 0 && tail.contains(&b'\n') {
                continue;
            }
            std::fs::write(&file, [&whole[..keep], tail].concat()).unwrap();
            let ran = run(&command);
            assert!(ran.stderr.contains("unfinished write"), "{}", ran.stderr);
            ran.fine();
            assert!(std::fs::read(&file).unwrap() == whole, "{keep} bytes and {tail:?}");
        }
    }
}

#[test]
fn a_file_larger_than_one_look_is_gone_on_with() {
    let place = Place::new();
    let dir = place.shown("log");
    run(&format!("ingest {SAMPLE} --dir {dir} --collection demo")).fine();
    let file = place.shown("out");
    let all = run(&format!("cat --dir {dir}")).fine();
    assert!(all.len() > 4 << 20);
    for (cursor, to) in [("--cursor far", 400), ("--cursor far", 990), ("--cursor far", 1000)] {
        run(&format!("subscribe --dir {dir} --collection demo --output {file} {cursor} --to {to}")).fine();
        assert_eq!(seq_ids(&std::fs::read(&file).unwrap()).len(), to);
    }
    // The cursor is far behind the file: a power cut may have taken its last moves.
    run(&format!("cursors --dir {dir} --collection demo --rollback far --to 10")).fine();
    std::fs::write(&file, [&all[..], b"{\"torn"].concat()).unwrap();
    run(&format!("subscribe --dir {dir} --collection demo --output {file} --cursor far")).fine();
    assert!(std::fs::read(&file).unwrap() == all);
}

#[test]
fn a_file_that_is_not_this_consumers_is_left_alone() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    run(&format!("subscribe --dir {dir} --collection a --output {} --to 10", place.shown("a"))).fine();
    place.file("notes", b"buy milk\n");
    place.file("word", b"milk");
    let other = run_with(&format!("ingest --dir {}", place.shown("far")), &numbered(0..500));
    other.fine();
    let far = place.shown("far");
    run(&format!("subscribe --dir {far} --collection default --output {} --to 400", place.shown("longer")))
        .fine();
    for (file, collection, says) in [
        ("a", "b", "a record of collection"),
        ("notes", "b", "something else at position 0"),
        ("word", "b", "something else at position 0"),
        ("longer", "default", "the output ends at SeqId 400, the log at"),
    ] {
        let before = std::fs::read(place.path(file)).unwrap();
        run_with(&format!("ingest --dir {dir} --collection default"), &numbered(0..1)).fine();
        let file = place.shown(file);
        let ran = run(&format!(
            "subscribe --dir {dir} --collection {collection} --output {file} --until-idle 10ms"
        ));
        let said = ran.refused(1);
        assert!(said.contains(says), "{said}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
    run(&format!("subscribe --dir {dir} --collection a --output {} --to 10", place.shown("log"))).refused(1);
}

#[test]
fn two_subscribers_do_not_share_a_file() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let file = place.shown("out");
    let mut first = start(&format!("subscribe --dir {dir} --collection b --output {file}"));
    eventually("the first has it", || std::fs::read(&file).is_ok_and(|text| !text.is_empty()));
    let said = run(&format!("subscribe --dir {dir} --collection b --output {file}")).refused(1);
    assert!(said.contains("another process"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_cursor_that_is_ahead_of_its_file_is_told_and_the_way_out_works() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let file = place.shown("out");
    let command = format!("subscribe --dir {dir} --collection b --cursor c --output {file}");
    run(&format!("{command} --to 30")).fine();
    run(&format!("cursors --dir {dir} --collection b --advance c --to 60")).fine();
    let said = run(&command).refused(1);
    let remedy = said.split('`').nth(1).unwrap().strip_prefix("stratalog ").unwrap();
    run(remedy).fine();
    run(&command).fine();
    assert!(std::fs::read(&file).unwrap() == run(&format!("cat --dir {dir} --collection b")).fine());
    // A new file begins behind the cursor.
    run_with(&format!("ingest --dir {dir} --collection b"), &numbered(200..203)).fine();
    std::fs::remove_file(&file).unwrap();
    run(&command).fine();
    assert_eq!(ids(&std::fs::read(&file).unwrap()), numbered_ids(200..203));
}

#[test]
fn what_was_purged_is_no_silent_gap() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let file = place.shown("out");
    run(&format!("subscribe --dir {dir} --collection b --output {file} --to 30")).fine();
    run(&format!("purge --dir {dir} --collection b --to 60")).fine();
    let command = format!("subscribe --dir {dir} --collection b --until-idle 10ms");
    for wanted in ["--from 60", "--from 1", &format!("--output {file}")] {
        let said = run(&format!("{command} {wanted}")).refused(1);
        assert!(said.contains("was purged up to SeqId 60") && said.contains("--from 61"), "{said}");
    }
    let left: Vec<String> = (21..=30).map(|n| format!("r{}", 3 * n)).collect();
    assert_eq!(ids(&run(&command).fine()), left);
    assert_eq!(ids(&run(&format!("{command} --from 61")).fine()), left);
    assert_eq!(ids(&run(&format!("subscribe --dir {dir} --collection b --cursor new")).fine()), left);
    run(&format!("{command} --output {file} --from 61")).fine();
    assert_eq!(ids(&std::fs::read(&file).unwrap()).len(), 20);
}

#[test]
fn misuse_of_subscribe_is_told() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    for wrong in
        ["--from 9 --to 8", "--from 92", "--until-idle 5", "--batch 0", "--from 0", "--cursor c --from 3"]
    {
        let ran = run(&format!("subscribe --dir {dir} --collection b {wrong}"));
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.stderr);
    }
    run(&format!("subscribe --dir {} --collection b", place.shown("nothing"))).refused(6);
    let log = stratalog::Log::open(place.path("log")).unwrap();
    run(&format!("subscribe --dir {dir} --collection b --cursor c")).refused(5);
    assert!(log.cursors().is_empty());
    log.close().unwrap();
    for more in ["--cursor c", "--until-idle 10ms"] {
        let ran = run(&format!("subscribe --dir {dir} --collection nobody {more}"));
        assert!(ran.stderr.contains("there is no collection \"nobody\""), "{}", ran.stderr);
        assert!(ran.fine().is_empty());
    }
    assert!(cursor_or_none(&dir, "c").is_none());
}

#[test]
fn a_subscriber_may_wait_for_a_collection_that_is_not_there_yet() {
    let place = Place::new();
    let dir = three_to_one(&place, 9);
    let mut child = start(&format!("subscribe --dir {dir} --collection late"));
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    let lines = lines_of(&mut child);
    run_with(&format!("ingest --dir {dir} --collection late"), &numbered(0..3)).fine();
    (0..3).for_each(|n| expect(&lines, &format!("r{n}")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_output_that_keeps_nothing_is_refused() {
    let place = Place::new();
    let dir = three_to_one(&place, 9);
    let said = run(&format!("subscribe --dir {dir} --collection b --output /dev/null")).refused(2);
    assert!(said.contains("no regular file"), "{said}");
}
