//! `verify`, `inspect` and `repair`: what they print, and how they end.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::path::PathBuf;

use cli_support::{Place, ids, numbered, numbered_ids, run, run_with, snapshot};
use serde_json::Value;

/// A log of 60 records in batches of 7, closed.
fn log(place: &Place) -> (String, PathBuf) {
    let dir = place.shown("log");
    run_with(&format!("ingest --dir {dir} --batch 7 -"), &numbered(0..60)).fine();
    let first = fs::read_dir(place.path("log")).unwrap().map(|entry| entry.unwrap().path());
    let first =
        first.filter(|path| path.extension().is_some_and(|ending| ending == "segment")).min().unwrap();
    (dir, first)
}

fn lines(printed: &[u8]) -> Vec<Value> {
    printed
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Flips a bit in the second record of the second batch; its position and SeqId.
fn damage(segment: &PathBuf) -> (u64, u64) {
    let shown = lines(&run(&format!("inspect {} --json --records", segment.display())).fine());
    let batch = shown.iter().filter(|line| line["type"] == "batch").nth(1).unwrap();
    let lengths = batch["record_bytes"].as_array().unwrap();
    let table = 64 + 8 * lengths.len() as u64;
    let position =
        batch["position"].as_u64().unwrap() + table + lengths[0].as_u64().unwrap().next_multiple_of(8);
    let mut bytes = fs::read(segment).unwrap();
    bytes[position as usize + 3] ^= 8;
    fs::write(segment, bytes).unwrap();
    (position, batch["first_seq_id"].as_u64().unwrap() + 1)
}

#[test]
fn a_healthy_log_is_verified_and_nothing_is_repaired() {
    let place = Place::new();
    let (dir, _) = log(&place);
    let before = snapshot(&place.path("log"));
    let report = run(&format!("verify --dir {dir} --json")).json();
    assert_eq!(
        (&report["clean"], &report["records"], &report["last_seq_id"]),
        (&true.into(), &60.into(), &60.into())
    );
    assert!(run(&format!("verify --dir {dir}")).text().ends_with("no damage\n"));
    assert!(run(&format!("repair --dir {dir}")).text().contains("nothing to repair"));
    assert_eq!(snapshot(&place.path("log")), before);
    let done = run(&format!("repair --dir {dir} --yes --json")).json();
    assert_eq!(done["actions"], Value::Array(Vec::new()));
}

#[test]
fn damage_is_listed_with_its_position_and_repaired_only_on_request() {
    let place = Place::new();
    let (dir, segment) = log(&place);
    let (position, seq_id) = damage(&segment);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();

    let listed = run(&format!("verify --dir {dir} --json"));
    let report: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed.refused(4).contains("repair"));
    let finding = report["findings"].as_array().unwrap().iter().find(|f| f["severity"] == "damage").unwrap();
    assert_eq!((&finding["file"], &finding["position"]), (&name.as_str().into(), &position.into()));
    assert_eq!((&finding["first_seq_id"], &finding["last_seq_id"]), (&seq_id.into(), &seq_id.into()));
    let shown = run(&format!("inspect {}", segment.display())).text();
    assert!(shown.contains(&format!("{position}  DAMAGED record: SeqId {seq_id},")), "{shown}");

    let before = snapshot(&place.path("log"));
    let plan = run(&format!("repair --dir {dir} --json"));
    assert_eq!(plan.code, Some(4));
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(snapshot(&place.path("log")), before, "a plan changes nothing");

    let done = run(&format!("repair --dir {dir} --yes --json")).json();
    assert_eq!((&plan["actions"], &plan["lost"]), (&done["actions"], &done["lost"]));
    assert_eq!((&done["lost_records"], &done["done"]), (&1.into(), &true.into()));
    let kept = done["kept_aside"][0].as_str().unwrap();
    let original = before.iter().find(|(file, _)| *file == name).unwrap();
    assert_eq!(fs::read(place.path("log").join(kept)).unwrap(), original.1);
    // The copy can be looked into as well.
    assert!(run(&format!("inspect {dir}/{kept}")).text().contains("DAMAGED record"));

    assert_eq!(run(&format!("verify --dir {dir} --json")).json()["records"], 59);
    let mut left = numbered_ids(0..60);
    left.remove(seq_id as usize - 1);
    assert_eq!(ids(&run(&format!("cat --dir {dir}")).fine()), left);
}

#[test]
fn every_kind_of_file_is_shown() {
    let place = Place::new();
    let (dir, _) = log(&place);
    let mut kinds = Vec::new();
    for entry in fs::read_dir(place.path("log")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!run(&format!("inspect {dir}/{name}")).text().is_empty(), "{name}");
        let shown = lines(&run(&format!("inspect {dir}/{name} --json")).fine());
        kinds.extend(shown.iter().map(|line| line["type"].as_str().unwrap().to_owned()));
    }
    for kind in
        ["segment", "batch", "witness", "checkpoint", "checkpoint_stream", "index", "index_stream", "other"]
    {
        assert!(kinds.iter().any(|known| known == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let place = Place::new();
    let (dir, _) = log(&place);
    fs::create_dir(place.path("alone")).unwrap();
    for command in ["verify", "repair"] {
        run(&format!("{command} --dir {}", place.shown("nothing"))).refused(6);
        place.file("alone/notes.txt", b"mine");
        run(&format!("{command} --dir {}", place.shown("alone"))).refused(6);
    }
    run(&format!("inspect {}", place.shown("nothing"))).refused(1);
    run(&format!("inspect {dir}")).refused(2);
}
