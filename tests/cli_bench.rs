//! `bench`: its report is whole, and what it worked in is gone afterwards. How fast anything is, is
//! no matter here.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::*;
use serde_json::Value;

fn names(place: &Place, dir: &str) -> Vec<String> {
    snapshot(&place.path(dir)).into_iter().map(|(name, _)| name).collect()
}

fn directory(place: &Place) -> String {
    std::fs::create_dir(place.path("disk")).unwrap();
    place.shown("disk")
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("expected a number as {name}, found {value}"))
}

#[track_caller]
fn check_spread(spread: &Value) {
    let [least, median, most] = ["least", "median", "most"].map(|name| number(spread, name));
    assert!(0.0 < least && least <= median && median <= most, "{spread}");
}

#[track_caller]
fn check_side(side: &Value, timed: bool, durable: bool) {
    assert!(!side["what"].as_str().unwrap().is_empty());
    check_spread(&side["per_second"]);
    assert!(number(side, "cpu_share") >= 0.0);
    assert_eq!(side["records_per_sync"].is_number(), durable, "{side}");
    if durable {
        assert!(number(side, "records_per_sync") > 0.0);
    }
    let latency = &side["latency"];
    assert_eq!(latency.is_object(), timed, "{side}");
    if timed {
        assert!(latency["count"].as_u64().unwrap() > 0);
        assert!(latency["timed_of"].as_u64().unwrap() > 0);
        let shares = ["p50_micros", "p90_micros", "p99_micros", "p99_9_micros", "max_micros"];
        let shares = shares.map(|name| number(latency, name));
        assert!(shares[0] > 0.0 && shares.is_sorted(), "{latency}");
    }
}

#[test]
fn the_report_has_every_figure_and_the_directory_is_left_as_it_was() {
    let place = Place::new();
    let dir = directory(&place);
    place.file("disk/mine", b"stays");
    let html = place.shown("report.html");
    place.file("report.html", &vec![b'x'; 1 << 20]);
    let line = format!("bench --dir {dir} --seconds 1 --producers 4,2,4 --record-bytes 300");
    let report = run(&format!("{line} --json --html {html}")).json();

    assert_eq!(report["record_bytes"], 300);
    assert_eq!(report["rounds"], 3);
    assert!(number(&report, "seconds") > 0.0 && number(&report, "cores") >= 1.0);
    for text in ["stratalog", "measured_at", "directory", "file_system"] {
        assert!(!report[text].as_str().unwrap().is_empty(), "{text}");
    }
    assert!(report["memory"].is_boolean());
    assert!(
        report["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("short run"))
    );

    let figures = report["figures"].as_array().unwrap();
    let works: Vec<_> = figures.iter().map(|figure| figure["work"].as_str().unwrap()).collect();
    let expected = [
        "durable_1_producer",
        "durable_2_producers",
        "durable_4_producers",
        "durable_batches",
        "durable_in_flight",
        "unsynced",
        "unsynced_batches",
        "replay",
        "point_read",
        "open",
    ];
    assert_eq!(works, expected);
    for figure in figures {
        let work = figure["work"].as_str().unwrap();
        let (timed, durable) = (work != "replay", work.starts_with("durable"));
        check_side(&figure["log"], timed, durable);
        assert_eq!(figure["memory_per_second"].is_object(), work.starts_with("unsynced"));
        if work == "open" {
            assert!(figure["floor"].is_null() && figure["ratio"].is_null() && figure["limit"].is_null());
            continue;
        }
        check_side(&figure["floor"], timed, durable);
        check_spread(&figure["ratio"]);
        let limit = figure["limit"].as_str().unwrap();
        assert!(["disk_sync", "write_path", "cpu", "log", "unclear"].contains(&limit), "{limit}");
        assert!(figure["why"].as_str().unwrap().contains(char::is_numeric));
        if durable {
            let inside = number(&figure["floor"], "write_share") + number(&figure["floor"], "sync_share");
            assert!(inside > 0.0 && inside <= 1.01, "{figure}");
        }
    }
    assert_eq!(report["verdict"]["limit"], figures[0]["limit"]);
    assert!(report["verdict"]["words"].as_str().unwrap().contains(char::is_numeric));

    check_page(&std::fs::read_to_string(&html).unwrap(), &works);
    assert_eq!(names(&place, "disk"), ["mine"]);
}

/// Every tag is closed, in order, and nothing is fetched.
#[track_caller]
fn check_page(page: &str, works: &[&str]) {
    let rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    let mut open: Vec<&str> = Vec::new();
    let mut shown = 0;
    for piece in rest.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "{piece}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{piece}");
            continue;
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(!["script", "link", "img", "iframe", "object", "image", "use"].contains(&name), "{tag}");
        shown += usize::from(name == "td");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(page.trim_end().ends_with("</html>"));
    for word in ["http:", "https:", "//", "@import", "url(", "src=", "href="] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(shown > works.len() * 5);
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("durable, 4 producers") && !page.contains("NaN"));
}

#[test]
fn the_text_says_what_limits_the_log_and_keep_keeps_the_files() {
    let place = Place::new();
    let dir = directory(&place);
    let ran = run(&format!("bench --dir {dir} --seconds 1 --producers 2 --keep"));
    assert!(ran.stderr.contains("note: the files are in "), "{}", ran.stderr);
    let text = ran.text();
    for words in ["durable append", "p99.9", "ratio", "durable, 2 producers: ", "replay: "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let kept = names(&place, "disk");
    assert_eq!(kept.len(), 1, "{kept:?}");
    // Whole logs that were closed.
    for log in ["durable", "unsynced", "read", "closed"] {
        check_whole(&place.shown(&format!("disk/{}/{log}", kept[0])));
    }
    // The next one says that they are there, and leaves them.
    let other = start(&format!("bench --dir {dir} --seconds 600"));
    eventually("a directory of its own", || names(&place, "disk").len() == 2);
    signal(&other, "TERM");
    let said = Ran::from(other.wait_with_output().unwrap()).refused(1);
    assert!(said.contains(&kept[0]) && said.contains("interrupted"), "{said}");
    assert_eq!(names(&place, "disk"), kept);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let place = Place::new();
    let dir = directory(&place);
    let html = place.path("report.html");
    let bench = start(&format!("bench --dir {dir} --seconds 600 --html {}", html.display()));
    eventually("a log to write to", || {
        let at_work = names(&place, "disk");
        at_work.first().is_some_and(|name| place.path("disk").join(name).join("floor").exists())
    });
    assert!(html.exists());
    signal(&bench, "INT");
    let said = Ran::from(bench.wait_with_output().unwrap()).refused(1);
    assert!(said.contains("interrupted before all was measured"), "{said}");
    assert_eq!(names(&place, "disk"), Vec::<String>::new());
    assert!(!html.exists(), "half a report is none");
}

#[test]
fn what_can_not_be_measured_is_refused_with_what_was_expected() {
    let place = Place::new();
    let dir = directory(&place);
    for (flags, expected) in [
        ("--seconds 0", "1..=3600"),
        ("--seconds 4000", "1..=3600"),
        ("--record-bytes 0", "1..=262144"),
        ("--record-bytes 300000", "1..=262144"),
        ("--producers 1", "2..=256"),
        ("--producers 4,,16", "--producers"),
        ("--producers many", "--producers"),
    ] {
        let ran = run(&format!("bench --dir {dir} {flags}"));
        assert_eq!(ran.code, Some(2), "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{flags}: {}", ran.stderr);
    }
    let missing = place.shown("missing");
    let said = run(&format!("bench --dir {missing}")).refused(2);
    assert!(said.contains("expected a directory, found nothing"), "{said}");
    let file = place.file("file", b"x");
    let said = run(&format!("bench --dir {file}")).refused(2);
    assert!(said.contains("expected a directory, found a file"), "{said}");
    let said = run(&format!("bench --dir {dir} --html {missing}/report.html")).refused(1);
    assert!(said.contains("report.html"), "{said}");
    assert_eq!(names(&place, "disk"), Vec::<String>::new());
    assert!(!place.path("missing").exists());
}

#[test]
fn a_log_is_no_place_for_it() {
    let place = Place::new();
    let dir = three_to_one(&place, 30);
    let before = snapshot(&place.path("log"));
    let said = run(&format!("bench --dir {dir} --seconds 1")).refused(2);
    assert!(said.contains("expected a directory without a log"), "{said}");
    assert_eq!(snapshot(&place.path("log")), before);
}
