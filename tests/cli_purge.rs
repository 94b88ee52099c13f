//! `cursors`, `purge`, `delete`, and what they leave to `cat`, `tail` and `stat`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::*;

/// The sample in "x" and in "y", one behind the other, several segments each.
fn two_samples(place: &Place) -> String {
    let dir = place.shown("log");
    for collection in ["x", "y"] {
        run(&format!("ingest {SAMPLE} --dir {dir} --collection {collection}")).fine();
    }
    dir
}

fn segment_files(place: &Place) -> usize {
    let names = std::fs::read_dir(place.path("log")).unwrap();
    names.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".segment")).count()
}

#[test]
fn cursors_are_made_moved_listed_and_dropped() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    let on = |change: &str| run(&format!("cursors --dir {dir} --collection b {change}"));
    assert_eq!(run(&format!("cursors --dir {dir}")).text(), "there is no cursor\n");
    let made = on("--advance indexer --to 31 --json").json();
    assert_eq!((&made["seq_id"], &made["log_offset"]), (&31.into(), &10.into()));
    assert_eq!(made["records_behind"], 20);
    on("--advance mirror --to 0").fine();
    run(&format!("cursors --dir {dir} --collection a --advance indexer --to 90")).fine();
    let list = run(&format!("cursors --dir {dir} --json")).json();
    assert_eq!(list["cursors"].as_array().unwrap().len(), 3);
    let of_b = on("--json").json();
    let names: Vec<_> = of_b["cursors"].as_array().unwrap().iter().map(|cursor| &cursor["name"]).collect();
    assert_eq!(names, ["indexer", "mirror"]);
    let text = on("").text();
    assert_eq!(text.lines().count(), 3, "{text}");
    let back = on("--rollback indexer --to 2").text();
    assert_eq!(back, "cursor indexer stands at SeqId 2 (log_offset 0), 30 records behind\n");
    assert_eq!(on("--drop mirror --json").json()["dropped"], "mirror");
    assert_eq!(cursor_or_none(&dir, "mirror"), None);
    assert_eq!(on("").text().lines().count(), 2);
}

#[test]
fn the_list_reads_beside_a_writer_and_a_move_does_not() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    run(&format!("cursors --dir {dir} --collection b --advance c --to 3")).fine();
    let log = stratalog::Log::open(place.path("log")).unwrap();
    let stream = log.cursors()[0].stream;
    log.advance_cursor(stream, "c", stratalog::SeqId(6)).unwrap();
    for _ in 0..3 {
        log.append(stream, &stratalog::Batch::one(b"x")).unwrap();
    }
    eventually("the writer witnesses its last commit", || cursor(&dir, "c") == (6, 2, 31));
    for change in ["--advance c --to 9", "--rollback c --to 3", "--drop c"] {
        run(&format!("cursors --dir {dir} --collection b {change}")).refused(5);
    }
    run(&format!("purge --dir {dir} --collection b --passed")).refused(5);
    run(&format!("delete --dir {dir} --collection b --yes")).refused(5);
    let would = run(&format!("delete --dir {dir} --collection b --json")).json();
    assert_eq!((&would["done"], &would["records"]), (&false.into(), &33.into()));
    log.close().unwrap();
}

#[test]
fn misuse_of_cursors_and_purges_is_told_and_changes_nothing() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    run(&format!("cursors --dir {dir} --collection b --advance c --to 30")).fine();
    let long = "n".repeat(256);
    for (line, code) in [
        ("cursors --collection b --advance c --to 92".to_owned(), 2),
        ("cursors --collection b --advance c --to 29".to_owned(), 2),
        ("cursors --collection b --rollback c --to 31".to_owned(), 2),
        ("cursors --collection b --rollback nobody --to 3".to_owned(), 1),
        ("cursors --collection b --drop nobody".to_owned(), 1),
        ("cursors --collection b --advance c".to_owned(), 2),
        ("cursors --advance c --to 3".to_owned(), 2),
        ("cursors --collection b --to 3".to_owned(), 2),
        ("cursors --collection b --drop c --to 3".to_owned(), 2),
        ("cursors --collection b --advance c --drop c --to 31".to_owned(), 2),
        (format!("cursors --collection b --advance {long} --to 31"), 2),
        ("purge --collection b".to_owned(), 2),
        ("purge --collection b --to 3 --passed".to_owned(), 2),
        ("purge --collection b --to 93".to_owned(), 2),
        ("purge --collection nobody --to 3".to_owned(), 1),
        ("delete --collection nobody --yes".to_owned(), 1),
        ("delete --yes".to_owned(), 2),
    ] {
        let ran = run(&format!("{line} --dir {dir}"));
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{line}");
    }
    let missing = place.shown("missing");
    for line in ["cursors", "purge --collection b --to 1", "delete --collection b --yes"] {
        run(&format!("{line} --dir {missing}")).refused(6);
    }
    assert!(!place.path("missing").exists());
    assert_eq!(cursor(&dir, "c"), (30, 10, 20));
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()).len(), 90);
}

#[test]
fn a_purge_goes_no_further_than_the_last_cursor_and_names_it() {
    let place = Place::new();
    let dir = two_samples(&place);
    run(&format!("cursors --dir {dir} --collection x --advance far --to 900")).fine();
    run(&format!("cursors --dir {dir} --collection x --advance near --to 500")).fine();
    let said = run(&format!("purge --dir {dir} --collection x --to 501")).refused(1);
    assert!(said.contains("\"near\"") && said.contains("500"), "{said}");
    assert_eq!(ids(&run(&format!("cat --dir {dir} --collection x")).fine()).len(), 1000);
    let purged = run(&format!("purge --dir {dir} --collection x --passed --json")).json();
    assert_eq!((&purged["purged_to_seq_id"], &purged["purged_records"]), (&500.into(), &500.into()));
    let before = segment_files(&place);
    run(&format!("cursors --dir {dir} --collection x --drop near")).fine();
    let text = run(&format!("purge --dir {dir} --collection x --to 900")).text();
    assert!(text.contains("up to SeqId 900: 400 records more are gone, 900 in all"), "{text}");
    assert!(segment_files(&place) <= before + 2);
    let said = run(&format!("cursors --dir {dir} --collection x --rollback far --to 899")).refused(1);
    assert!(said.contains("purged up to SeqId 900"), "{said}");
    // Nobody has passed anything in "y".
    let ran = run(&format!("purge --dir {dir} --collection y --passed --json"));
    assert!(ran.stderr.contains("has no cursor"), "{}", ran.stderr);
    assert_eq!(ran.json()["purged_to_seq_id"], serde_json::Value::Null);
    check_whole(&dir);
}

#[test]
fn a_purge_gives_the_space_back_and_says_how_much() {
    let place = Place::new();
    let dir = two_samples(&place);
    let space = || -> u64 {
        let entries = std::fs::read_dir(place.path("log")).unwrap().map(Result::unwrap);
        let ours = |name: &str| name.ends_with(".segment") || name.ends_with(".index");
        entries
            .filter(|entry| ours(entry.file_name().to_str().unwrap()))
            .map(|entry| entry.metadata().unwrap().len())
            .sum()
    };
    let (files, bytes) = (segment_files(&place) as u64, space());
    let y = run(&format!("cat --dir {dir} --collection y")).fine();
    let purged = run(&format!("purge --dir {dir} --collection x --to 1000 --json")).json();
    let figure = |name: &str| purged[name].as_u64().unwrap();
    assert_eq!((figure("segments_before"), figure("bytes_before")), (files, bytes));
    assert_eq!((figure("segments_after"), figure("bytes_after")), (segment_files(&place) as u64, space()));
    assert!(figure("freed_segments") >= 2 && figure("bytes_after") < bytes * 2 / 3, "{purged}");
    assert!(run(&format!("cat --dir {dir} --collection y")).fine() == y);
    assert!(run(&format!("cat --dir {dir}")).fine() == y);
    check_whole(&dir);
    // It is purged already.
    let again = run(&format!("purge --dir {dir} --collection x --to 1000 --json")).json();
    assert_eq!(again["purged_records"], 0);
}

#[test]
fn stat_says_what_lives_what_is_dead_and_what_holds_it() {
    let place = Place::new();
    let dir = two_samples(&place);
    let stat = || run(&format!("stat --dir {dir} --json")).json();
    let whole = stat();
    assert_eq!((&whole["dead_bytes"], &whole["cursors"]), (&0.into(), &0.into()));
    run(&format!("cursors --dir {dir} --collection x --advance slow --to 600")).fine();
    run(&format!("purge --dir {dir} --collection x --passed")).fine();
    let stat = stat();
    let sum = |name: &str| -> u64 {
        stat["segments"].as_array().unwrap().iter().map(|segment| segment[name].as_u64().unwrap()).sum()
    };
    assert_eq!(
        (sum("live_bytes"), sum("dead_bytes")),
        (figure(&stat, "live_bytes"), figure(&stat, "dead_bytes"))
    );
    assert!(figure(&stat, "dead_bytes") > 0 && figure(&stat, "live_bytes") < figure(&whole, "live_bytes"));
    assert!(sum("used_bytes") >= sum("live_bytes") + sum("dead_bytes"));
    let held = &stat["segments"][0];
    assert_eq!((&held["holder"]["cursor"], &held["holder"]["cursor_seq_id"]), (&"slow".into(), &600.into()));
    assert_eq!((&stat["purge_points"][0]["seq_id"], &stat["cursors"]), (&600.into(), &1.into()));
    let text = run(&format!("stat --dir {dir} --segments --streams")).text();
    assert!(text.contains("cursor slow at SeqId 600") && text.contains("without a cursor"), "{text}");
    assert!(text.contains("2, 1 of them purged"), "{text}");
}

fn figure(stat: &serde_json::Value, name: &str) -> u64 {
    stat[name].as_u64().unwrap()
}

#[test]
fn a_purged_collection_shows_what_is_left() {
    let place = Place::new();
    let dir = three_to_one(&place, 90);
    run(&format!("purge --dir {dir} --collection b --to 60")).fine();
    let left: Vec<String> = (21..=30).map(|n| format!("r{}", 3 * n)).collect();
    let cat = |options: &str| run(&format!("cat --dir {dir} --collection b {options}"));
    assert_eq!(ids(&cat("").fine()), left);
    assert_eq!(ids(&cat("--from 61").fine()), left);
    assert_eq!(ids(&cat("--offset 21").fine()), left);
    assert_eq!(ids(&cat("--to 66").fine()), left[..2]);
    for below in ["--from 60", "--from 1 --to 2", "--offset 20"] {
        let ran = cat(below);
        assert!(ran.stdout.is_empty());
        let said = ran.refused(1);
        assert!(said.contains("was purged up to SeqId 60 (log_offset 20)"), "{said}");
        assert!(said.contains("--from 61") && said.contains("--offset 21"), "{said}");
    }
    let tail = |options: &str| ids(&run(&format!("tail --dir {dir} --collection b {options}")).fine());
    assert_eq!(tail("-n 3"), left[7..]);
    assert_eq!(tail("-n 25"), left);
    assert_eq!(
        ids(&run(&format!("cat --dir {dir} --from 55 --to 62")).fine()),
        ["r55", "r56", "r58", "r59", "r61", "r62"]
    );
    run(&format!("purge --dir {dir} --collection b --to 90")).fine();
    for command in ["cat", "tail"] {
        let ran = run(&format!("{command} --dir {dir} --collection b"));
        assert!(ran.stderr.contains("collection b was purged up to SeqId 90"), "{}", ran.stderr);
        assert!(ran.fine().is_empty());
    }
}

#[test]
fn a_collection_that_is_not_there_is_told_of() {
    let place = Place::new();
    let dir = three_to_one(&place, 9);
    for command in ["cat", "tail", "cursors"] {
        let ran = run(&format!("{command} --dir {dir} --collection nobody"));
        assert!(ran.stderr.contains("there is no collection \"nobody\""), "{command}: {}", ran.stderr);
        ran.fine();
        assert_eq!(run(&format!("{command} --dir {dir} --collection b")).stderr, "");
    }
}

#[test]
fn a_deleted_collection_is_gone_with_its_cursors_and_its_numbers_go_on() {
    let place = Place::new();
    let dir = two_samples(&place);
    run(&format!("cursors --dir {dir} --collection x --advance c --to 10")).fine();
    let before = snapshot(&place.path("log"));
    let would = run(&format!("delete --dir {dir} --collection x")).text();
    assert!(would.contains("would drop  1,000 records") && would.contains("cursors c"), "{would}");
    assert!(would.contains("--yes"), "{would}");
    assert_eq!(snapshot(&place.path("log")), before);

    let files = segment_files(&place);
    let done = run(&format!("delete --dir {dir} --collection x --yes --json")).json();
    assert_eq!((&done["done"], &done["records"]), (&true.into(), &1000.into()));
    assert!(done["freed_segments"].as_u64().unwrap() >= 2 && segment_files(&place) < files, "{done}");
    assert_eq!(cursor_or_none(&dir, "c"), None);
    assert!(run(&format!("cat --dir {dir} --collection x")).fine().is_empty());
    assert_eq!(ids(&run(&format!("cat --dir {dir} --collection y")).fine()).len(), 1000);
    let last = run(&format!("stat --dir {dir} --json")).json()["committed"].as_u64().unwrap();
    run_with(&format!("ingest --dir {dir} --collection x"), &numbered(0..2)).fine();
    let again = run(&format!("cat --dir {dir} --collection x")).fine();
    let first: serde_json::Value =
        serde_json::from_slice(again.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!((&first["log_offset"], ids(&again).len()), (&1001.into(), 2));
    assert!(first["seq_id"].as_u64().unwrap() > last);
    check_whole(&dir);
    // Nothing is left to be dropped.
    run(&format!("delete --dir {dir} --collection x --yes")).fine();
    let done = run(&format!("delete --dir {dir} --collection x --yes --json")).json();
    assert_eq!((&done["records"], &done["freed_segments"]), (&0.into(), &0.into()));
}

#[test]
fn verify_says_that_it_may_not_read_and_not_that_all_is_damaged() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let dir = three_to_one(&place, 9);
    let segment = place.path("log").join("00000000000000000001.segment");
    std::fs::set_permissions(&segment, std::fs::Permissions::from_mode(0o000)).unwrap();
    let ran = run(&format!("verify --dir {dir}"));
    // Root may read everything.
    if std::fs::File::open(&segment).is_ok() {
        ran.fine();
    } else {
        let said = ran.refused(1);
        assert!(said.contains("00000000000000000001.segment") && said.contains("who may read"), "{said}");
    }
}
