//! Running the command, and records to feed it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::new_without_default)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const SAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/debian-packages-minilm-1000.jsonl.gz");

/// How a run of the command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// The standard output of a run that went well.
    #[track_caller]
    pub fn fine(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// As text.
    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.fine()).unwrap()
    }

    /// The one JSON object that a run with `--json` prints.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_slice(&self.fine()).unwrap()
    }

    /// What a run says that ended with this exit code; it names a remedy.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: ") || self.stderr.contains("\nerror: "), "{}", self.stderr);
        assert!(self.stderr.contains("\nhelp: "), "no remedy is named: {}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn stratalog() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stratalog"))
}

/// Runs a command line of words without spaces.
pub fn run(line: &str) -> Ran {
    run_with(line, b"")
}

/// As `run`, with something on standard input.
pub fn run_with(line: &str, input: &[u8]) -> Ran {
    let mut child = start(line);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that fails early does not read to the end.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.into()
}

/// Starts a command line, all its streams piped.
pub fn start(line: &str) -> Child {
    let mut command = stratalog();
    command.args(line.split_ascii_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A directory for one test.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file of this content.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.shown(name)
    }

    pub fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Every name in a directory with the content of the file.
pub fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

/// The sample, unpacked.
pub fn sample() -> Vec<u8> {
    let mut text = Vec::new();
    let file = std::fs::File::open(SAMPLE).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut text).unwrap();
    text
}

/// Small records, numbered, a line each.
pub fn numbered(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|n| line(n, None).into_bytes()).collect()
}

/// One small record.
pub fn line(n: u32, collection: Option<&str>) -> String {
    let collection = collection.map(|name| format!("\"collection\":\"{name}\",")).unwrap_or_default();
    format!(
        "{{{collection}\"id\":\"r{n}\",\"operation\":\"ADD\",\"embedding\":[{n}.5,-1],\"metadata\":{{\"n\":{n}}}}}\n"
    )
}

/// The ids that `cat` prints, in order.
pub fn ids(printed: &[u8]) -> Vec<String> {
    let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let id = |line: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        value["id"].as_str().unwrap().to_owned()
    };
    lines.map(id).collect()
}

pub fn numbered_ids(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("r{n}")).collect()
}

/// Waits for something to come true.
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A log of `count` records: every third in "b", the others in "a".
pub fn three_to_one(place: &Place, count: u32) -> String {
    let dir = place.shown("log");
    let of = |n: u32| line(n, Some(if n.is_multiple_of(3) { "b" } else { "a" }));
    let input: String = (1..=count).map(of).collect();
    run_with(&format!("ingest --dir {dir} --batch 40"), input.as_bytes()).fine();
    dir
}

/// The SeqIds that `cat` prints, in order.
pub fn seq_ids(printed: &[u8]) -> Vec<u64> {
    let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let seq_id = |line: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        value["seq_id"].as_u64().unwrap()
    };
    lines.map(seq_id).collect()
}

/// SeqId, log_offset and records behind a cursor, whatever its collection.
pub fn cursor_or_none(dir: &str, name: &str) -> Option<(u64, u64, u64)> {
    let list = run(&format!("cursors --dir {dir} --json")).json();
    let found = list["cursors"].as_array().unwrap().iter().find(|cursor| cursor["name"] == name)?;
    let figure = |name: &str| found[name].as_u64().unwrap();
    Some((figure("seq_id"), figure("log_offset"), figure("records_behind")))
}

/// As [`cursor_or_none`], of a cursor that there is.
#[track_caller]
pub fn cursor(dir: &str, name: &str) -> (u64, u64, u64) {
    cursor_or_none(dir, name).unwrap()
}

/// Sends a signal, by name.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

/// Numbers that differ from run to run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Random(now.as_nanos() as u64)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

/// Nothing is damaged, and every segment and index in the directory is one that the log knows: with
/// something in it, or as the one that comes next.
#[track_caller]
pub fn check_whole(dir: &str) {
    let verified = run(&format!("verify --dir {dir} --json"));
    assert_eq!(verified.code, Some(0), "{}{}", String::from_utf8_lossy(&verified.stdout), verified.stderr);
    let stat = run(&format!("stat --dir {dir} --json")).json();
    let known: Vec<&str> = stat["segments"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|segment| [segment["file"].as_str(), segment["index"].as_str()])
        .flatten()
        .collect();
    let next = format!("{:020}.segment", stat["committed"].as_u64().unwrap() + 1);
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".segment") || name.ends_with(".index") {
            assert!(
                known.contains(&name.as_str()) || name == next,
                "{name} is nobody's; known are {known:?}"
            );
        }
    }
}
