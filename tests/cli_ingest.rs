//! What `ingest` promises: the same log from any form of input, batches in order, bad input named.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::Write;
use std::process::Command;

use cli_support::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn what_cat_prints_is_ingested_to_the_same_log() {
    let place = Place::new();
    let (a, b) = (place.shown("a"), place.shown("b"));
    let summary = run(&format!("ingest {SAMPLE} --dir {a} --collection papers --json")).json();
    assert_eq!((&summary["records"], &summary["batches"]), (&1000.into(), &10.into()));
    assert!(summary["syncs"].as_u64().unwrap() > 0 && summary["ack_p50_micros"].as_f64().unwrap() > 0.0);
    let first = run(&format!("cat --dir {a}")).fine();
    let printed = place.file("printed.jsonl", &first);
    run(&format!("ingest {printed} --dir {b} --batch 7")).fine();
    let second = run(&format!("cat --dir {b}")).fine();
    assert_eq!(first.split(|byte| *byte == b'\n').count(), 1001);
    assert!(first == second, "the second log differs from the first");
}

#[test]
fn plain_gzip_zstd_and_standard_input_make_the_same_log() {
    let place = Place::new();
    let text = numbered(0..300);
    let (head, tail) = text.split_at(text.len() / 2);
    let split = head.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let (head, tail) = (&text[..split], &[&text[split..head.len()], tail].concat());
    let empty_skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    let forms: [(&str, Vec<u8>); 6] = [
        ("plain", text.clone()),
        ("named.txt.gz", text.clone()),
        ("gzip", gzip(&text)),
        ("gzip.members", [gzip(head), gzip(tail)].concat()),
        ("zstd", zstd(&text)),
        ("zstd.frames", [empty_skippable.as_slice(), &zstd(head), empty_skippable, &zstd(tail)].concat()),
    ];
    let mut logs = Vec::new();
    for (name, content) in &forms {
        let file = place.file(name, content);
        let dir = place.shown(&format!("{name}.log"));
        run(&format!("ingest {file} --dir {dir}")).fine();
        logs.push(run(&format!("cat --dir {dir}")).fine());
        let dir = place.shown(&format!("{name}.piped"));
        let dash = if name.starts_with("gzip") { "-" } else { "" };
        run_with(&format!("ingest {dash} --dir {dir}"), content).fine();
        logs.push(run(&format!("cat --dir {dir}")).fine());
    }
    assert_eq!(ids(&logs[0]), numbered_ids(0..300));
    assert!(logs.iter().all(|log| *log == logs[0]));
}

#[test]
fn several_files_are_read_one_after_the_other() {
    let place = Place::new();
    let (one, two, none) = (
        place.file("one", &numbered(0..5)),
        place.file("two", &gzip(&numbered(5..9))),
        place.file("none", b""),
    );
    let dir = place.shown("log");
    run_with(&format!("ingest {one} {none} - {two} --dir {dir}"), &numbered(100..102)).fine();
    let expected = [numbered_ids(0..5), numbered_ids(100..102), numbered_ids(5..9)].concat();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), expected);
}

#[test]
fn four_producers_keep_the_order_of_the_input() {
    let place = Place::new();
    let dir = place.shown("log");
    let file = place.file("input", &numbered(0..2000));
    run(&format!("ingest {file} --dir {dir} --producers 4 --batch 3 --durability buffered")).fine();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..2000));
}

#[test]
fn collections_may_alternate_from_line_to_line() {
    let place = Place::new();
    let dir = place.shown("log");
    let names = ["a", "b", "b", "7f000001-0000-4000-8000-00000000002a"];
    let input: String = (0..400u32).map(|n| line(n, names.get(n as usize % 5).copied())).collect();
    run_with(&format!("ingest --dir {dir} --batch 50"), input.as_bytes()).fine();
    let all = run(&format!("cat --dir {dir}")).fine();
    assert_eq!(ids(&all), numbered_ids(0..400));
    for (name, expected) in
        [("a", 80), ("b", 160), ("7f000001-0000-4000-8000-00000000002a", 80), ("default", 80)]
    {
        let of_one = run(&format!("cat --dir {dir} --collection {name}")).fine();
        assert_eq!(ids(&of_one).len(), expected, "{name}");
    }
    let again = place.shown("again");
    run_with(&format!("ingest --dir {again}"), &all).fine();
    assert!(run(&format!("cat --dir {again}")).fine() == all);
}

#[test]
fn a_bad_line_is_named_and_nothing_of_its_batch_is_written() {
    let place = Place::new();
    let dir = place.shown("log");
    let mut text = numbered(0..34);
    text.extend_from_slice(b"\n{\"id\":\"r34\",\"operation\":\"PUT\"}\n");
    text.extend_from_slice(&numbered(35..100));
    let file = place.file("input.jsonl", &text);
    let said = run(&format!("ingest {file} --dir {dir} --batch 10")).refused(3);
    assert!(said.contains("input.jsonl:36: column 25: operation: expected ADD"), "{said}");
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..30));

    // The line is corrected, and the run goes on as if nothing had happened.
    let said = run(&format!("ingest {file} --dir {dir}")).refused(2);
    assert!(said.contains("--resume"), "{said}");
    place.file("input.jsonl", &numbered(0..100));
    run(&format!("ingest {file} --dir {dir} --resume")).fine();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..100));
}

#[test]
fn after_a_bad_line_in_the_first_batch_nothing_is_left_to_resume() {
    let place = Place::new();
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir}"), b"what?\n").refused(3);
    run_with(&format!("ingest --dir {dir}"), &numbered(0..3)).fine();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..3));
}

#[test]
fn input_that_is_not_what_it_seems_is_refused_by_name() {
    let place = Place::new();
    let packed = gzip(&numbered(0..1000));
    let mut flipped = zstd(&numbered(0..1000));
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let inputs: [(&str, Vec<u8>, &str); 6] = [
        ("cut.gz", packed[..packed.len() / 2].to_vec(), "gzip input"),
        ("flipped.zst", flipped, "flipped.zst"),
        (
            "latin1",
            b"{\"id\":\"caf\xe9\",\"operation\":\"ADD\"}\n".to_vec(),
            "latin1:1: column 11: line: expected UTF-8",
        ),
        ("zeros", vec![0; 5000], "zeros:1: column 1"),
        (
            "two",
            b"{\"id\":\"a\",\"operation\":\"ADD\"}{\"id\":\"b\",\"operation\":\"ADD\"}".to_vec(),
            "two:1",
        ),
        ("list", b"[{\"id\":\"a\",\"operation\":\"ADD\"}]".to_vec(), "list:1: column 1"),
    ];
    for (name, content, expected) in inputs {
        let file = place.file(name, &content);
        let dir = place.shown(&format!("{name}.log"));
        let said = run(&format!("ingest {file} --dir {dir} --batch 1000000")).refused(3);
        assert!(said.contains(expected), "{name}: {said}");
        assert_eq!(run(&format!("cat --dir {dir}")).fine(), b"", "{name}");
    }
}

#[test]
fn a_line_over_the_limit_is_refused_and_one_below_it_is_taken() {
    let place = Place::new();
    let dir = place.shown("log");
    let with_document = |bytes: usize| {
        format!("{{\"id\":\"a\",\"operation\":\"ADD\",\"document\":\"{}\"}}\n", "x".repeat(bytes))
            .into_bytes()
    };
    let large = with_document(20 << 20);
    run_with(&format!("ingest --dir {dir}"), &large).fine();
    let said = run_with(&format!("ingest --dir {dir}"), &with_document(65 << 20)).refused(3);
    assert!(said.contains("standard input:1: expected a line of at most 64 MiB"), "{said}");
}

#[test]
fn byte_order_mark_carriage_returns_and_blank_lines_do_no_harm() {
    let place = Place::new();
    let dir = place.shown("log");
    let text = String::from_utf8(numbered(0..3)).unwrap().replace('\n', "\r\n\r\n  \n");
    let text = format!("\u{feff}{}", text.trim_end());
    run_with(&format!("ingest --dir {dir}"), text.as_bytes()).fine();
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..3));
}

#[test]
fn when_a_batch_cannot_be_written_nothing_behind_it_is_and_resume_completes_the_log() {
    let place = Place::new();
    let large =
        format!("{{\"id\":\"large\",\"operation\":\"ADD\",\"document\":\"{}\"}}\n", "x".repeat(2 << 20));
    let input = [numbered(0..90), large.into_bytes(), numbered(90..600)].concat();
    let input = place.file("input", &input);
    let all = place.shown("all");
    run(&format!("ingest {input} --dir {all}")).fine();
    let all = run(&format!("cat --dir {all}")).fine();
    for round in 0..5 {
        let dir = place.shown(&format!("log{round}"));
        let program = env!("CARGO_BIN_EXE_stratalog");
        // A file can't grow beyond 1 MiB, so there can be no segment for the large record.
        let script = format!(
            "trap '' XFSZ; ulimit -f 1024; exec {program} ingest {input} --dir {dir} --batch 3 --producers 4"
        );
        let failed: Ran = Command::new("bash").arg("-c").arg(script).output().unwrap().into();
        let said = failed.refused(1);
        assert!(said.contains("input:91 to 93: create") && said.contains("--resume"), "{said}");
        assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), numbered_ids(0..90));
        run(&format!("ingest {input} --dir {dir} --resume")).fine();
        assert!(run(&format!("cat --dir {dir}")).fine() == all);
    }
}
