//! The format does not change unnoticed: a log written by version 1 reads as it was written, and
//! the same operations make the same bytes today.
//!
//! If a test here fails, logs on people's disks are concerned: what is needed is a new version
//! with golden files of its own beside these, and code that still reads these.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stratalog::ingest::{self, Metadata, MetadataValue, OperationRecord, RecordView, SparseVector};
use stratalog::storage::{Access, MemoryStorage, Storage};
use stratalog::{Batch, Cursor, Log, LogOffset, Options, ProducerId, Record, SeqId, StreamId, Terms, check};

type Files = BTreeMap<String, Vec<u8>>;

const A: StreamId = StreamId::from_u128(0xa1);
const B: StreamId = StreamId::from_u128(0xb2);
const C: StreamId = StreamId::from_u128(0xc3);

/// What stands in the golden log: stream, log_offset, time and payload by SeqId.
fn expected() -> Vec<Record> {
    let mut operation = Vec::new();
    every_field().encode_into(&mut operation).unwrap();
    // SeqIds 9, 10, 12, 14 and 15 are control records.
    let records: [(u64, StreamId, u64, i64, &[u8]); 10] = [
        (1, A, 1, 0, b"first"),
        (2, A, 2, 0, b""),
        (3, B, 1, 1, &operation),
        (4, A, 3, 2, b"third"),
        (5, B, 2, 3, b"in doubt"),
        (6, B, 3, 3, b"in doubt as well"),
        (7, C, 1, 4, b"alpha"),
        (8, C, 2, 4, b"be"),
        (11, B, 4, 8, b"of a producer"),
        (13, A, 4, 10, b"last"),
    ];
    let record = |(seq_id, stream, log_offset, unix_micros, payload): (_, _, _, _, &[u8])| Record {
        seq_id: SeqId(seq_id),
        stream,
        log_offset: LogOffset(log_offset),
        unix_micros,
        payload: payload.to_vec().into(),
    };
    records.into_iter().map(record).collect()
}

#[test]
fn a_log_of_version_1_reads_as_it_was_written() {
    let storage = in_memory(&golden("closed"));
    let read_only = options().open_storage_read_only(Arc::new(storage.clone())).unwrap();
    assert_eq!(all(&read_only), unpurged());
    assert_known(&read_only);
    assert!(check::verify(&storage, &mut |_| {}).unwrap().is_clean());
    let log = open(&storage);
    assert!(log.recovery().clean);
    assert_eq!(all(&log), unpurged());
    assert_known(&log);
    // A retry of the producer's batch writes nothing.
    let again = log.append_on(&by_producer(), B, &Batch::one(b"of a producer")).unwrap();
    assert_eq!((again.first_seq_id, again.first_log_offset), (SeqId(11), LogOffset(4)));
    assert_eq!(log.committed(), SeqId(15));
    let operation = log.record_at(B, LogOffset(1)).unwrap().unwrap();
    assert_eq!(RecordView::decode(operation.payload).unwrap().to_record(), every_field());
}

/// The first builds of version 1 knew no control records: what they wrote reads as it was written.
#[test]
fn a_log_from_before_there_were_control_records_still_opens() {
    for (name, records) in [("closed", 8), ("crashed", 6)] {
        let storage = in_memory(&read(&PathBuf::from("tests/data/golden/v1-first").join(name)));
        assert!(check::verify(&storage, &mut |_| {}).unwrap().is_clean());
        let log = open(&storage);
        assert_eq!(all(&log), expected()[..records], "{name}");
        assert!(log.cursors().is_empty() && log.purge_point(A).is_none());
        log.advance_cursor(A, "reader", SeqId(2)).unwrap();
        log.purge_passed(A).unwrap();
        log.close().unwrap();
        assert_eq!(all(&open(&storage)), expected()[2..records], "{name}");
        assert!(check::verify(&storage, &mut |_| {}).unwrap().is_clean());
    }
}

/// What is left once stream A is purged up to SeqId 2.
fn unpurged() -> Vec<Record> {
    expected()[2..].to_vec()
}

fn by_producer() -> Terms {
    Terms::new().producer(ProducerId::from_u128(0xd4), 7)
}

/// Cursors and purges of the golden log.
fn assert_known(log: &Log) {
    let at = |stream, name: &str, seq_id, log_offset| Cursor {
        stream,
        name: name.to_owned(),
        seq_id: SeqId(seq_id),
        log_offset: LogOffset(log_offset),
    };
    assert_eq!(log.cursors(), [at(A, "índex", 8, 3), at(C, "reader", 7, 1)]);
    assert_eq!(log.purge_point(A).unwrap().seq_id, SeqId(2));
    assert_eq!(log.purge_point(B), None);
}

#[test]
fn a_log_of_version_1_that_crashed_is_recovered() {
    let storage = in_memory(&golden("crashed"));
    let log = open(&storage);
    assert!(!log.recovery().clean);
    assert_eq!(log.recovery().rewritten_records, 2);
    assert_eq!(all(&log), expected()[..6]);
}

#[test]
fn the_same_operations_make_the_same_bytes() {
    let (crashed, closed) = written_today();
    for (name, today) in [("crashed", crashed), ("closed", closed)] {
        let golden = golden(name);
        assert_eq!(today.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
        for (file, bytes) in today {
            let differs = bytes.iter().zip(&golden[&file]).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}/{file}");
            assert_eq!(bytes.len(), golden[&file].len(), "{name}/{file}");
        }
    }
}

/// The dump in `docs/format.md` is that of a golden file, byte for byte and all of it.
#[test]
fn the_worked_example_in_the_documentation_is_true() {
    let text = fs::read_to_string("docs/format.md").unwrap();
    let (_, example) = text.split_once("## Worked example").unwrap();
    let name = example.split('`').find(|word| word.ends_with(".segment")).unwrap();
    let bytes = &golden("closed")[name];
    let mut next = 0;
    let dump = example.split("```").nth(1).unwrap();
    for line in dump.lines().skip(1).filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
        let (position, rest) = line.trim_start().split_once("  ").unwrap();
        let position: usize = position.parse().unwrap();
        let hex = rest.trim_start().split("  ").next().unwrap();
        let shown: Vec<u8> = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert!(bytes[next..position].iter().all(|byte| *byte == 0), "left out before {line:?}");
        assert_eq!(bytes[position..position + shown.len()], shown, "{line:?}");
        next = position + shown.len();
    }
    assert_eq!(next, bytes.len());
}

/// So is the payload of SeqId 3, and the limits of such payloads are the documented ones.
#[test]
fn the_operation_record_in_the_documentation_is_true() {
    let text = fs::read_to_string("docs/format.md").unwrap();
    let (_, example) = text.split_once("The payload of SeqId 3").unwrap();
    let dump = example.split("```").nth(1).unwrap().trim_start_matches("text");
    let shown: String = dump.split_whitespace().collect();
    let payload = &expected()[2].payload;
    assert_eq!(shown, payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    for (name, value) in [
        ("RECORD_VERSION", usize::from(ingest::RECORD_VERSION)),
        ("MAX_ID_BYTES", ingest::MAX_ID_BYTES),
        ("MAX_KEY_BYTES", ingest::MAX_KEY_BYTES),
        ("MAX_METADATA_ENTRIES", ingest::MAX_METADATA_ENTRIES),
        ("MAX_PAYLOAD_BYTES", ingest::MAX_PAYLOAD_BYTES),
    ] {
        assert!(text.contains(&format!("| `{name}` | {value} |")), "{name}");
    }
}

/// For a new version only: `cargo test --test format_golden -- --ignored`.
#[test]
#[ignore = "writes the golden files anew"]
fn write_the_golden_files() {
    let (crashed, closed) = written_today();
    for (name, files) in [("crashed", crashed), ("closed", closed)] {
        let directory = directory(name);
        fs::create_dir_all(&directory).unwrap();
        for (file, bytes) in files {
            fs::write(directory.join(file), bytes).unwrap();
        }
    }
}

/// The files of the log as a crash left them, and as they were after recovery, more and a close.
/// Storage in memory counts its clock and its random numbers from the start, so all repeats.
fn written_today() -> (Files, Files) {
    let storage = MemoryStorage::new();
    let log = open(&storage);
    let due = expected();
    let append = |log: &Log, range: std::ops::Range<usize>| {
        let mut batch = Batch::new();
        due[range.clone()].iter().for_each(|record| batch.push(&record.payload));
        log.append(due[range.start].stream, &batch).unwrap();
    };
    for range in [0..2, 2..3, 3..4, 4..6] {
        append(&log, range);
    }
    let crashed = storage.snapshot().unwrap();
    let left = files(&crashed);

    let log = open(&crashed);
    assert_eq!(log.recovery().rewritten_records, 2);
    append(&log, 6..8);
    log.checkpoint().unwrap();
    log.close().unwrap();

    let log = open(&crashed);
    log.advance_cursor(A, "índex", SeqId(8)).unwrap();
    log.advance_cursor(C, "reader", SeqId(7)).unwrap();
    log.append_on(&by_producer(), B, &Batch::one(b"of a producer")).unwrap();
    log.purge(A, SeqId(2)).unwrap();
    append(&log, 9..10);
    // A cursor that is gone again leaves its control record.
    log.advance_cursor(C, "none", SeqId(0)).unwrap();
    log.drop_cursor(C, "none").unwrap();
    log.close().unwrap();
    (left, files(&crashed))
}

fn options() -> Options {
    // No witness by the clock of the machine: only closing leaves one.
    Options::new().segment_bytes(64 << 10).idle_witness(Duration::from_secs(3600))
}

fn open(storage: &MemoryStorage) -> Log {
    options().open_storage(Arc::new(storage.clone())).unwrap()
}

fn all(log: &Log) -> Vec<Record> {
    log.reader(..).unwrap().map(|record| record.unwrap()).collect()
}

/// All files but the spare, which is zeros and may or may not be there yet, and without the zeros
/// at their ends, which are preallocated.
fn files(storage: &MemoryStorage) -> Files {
    let mut files = Files::new();
    for entry in storage.list().unwrap().into_iter().filter(|entry| !entry.name.starts_with("spare")) {
        let file = storage.open(&entry.name, Access::Read).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used.next_multiple_of(8));
        files.insert(entry.name, bytes);
    }
    files
}

fn in_memory(files: &Files) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (name, bytes) in files {
        storage.create(name, bytes.len() as u64).unwrap().write_at(bytes, 0).unwrap();
    }
    storage
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from("tests/data/golden/v1").join(name)
}

fn golden(name: &str) -> Files {
    read(&directory(name))
}

fn read(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// A record that has every field, and every type of value.
fn every_field() -> OperationRecord {
    let sparse = SparseVector::new(vec![0, 7, u32::MAX], vec![0.5, -0.0, 2.0]).unwrap();
    let tokens = vec!["a".to_owned(), "ß".to_owned()];
    let with_tokens = SparseVector::with_tokens(vec![3, 9], vec![1.0, 2.0], tokens).unwrap();
    let mut metadata = Metadata::new();
    metadata
        .set("null", MetadataValue::Null)
        .set("str", "é\0")
        .set("int", i64::MIN)
        .set("float", -0.0)
        .set("bool", true)
        .set("strs", vec!["x".to_owned(), String::new()])
        .set("ints", vec![1i64, -2])
        .set("floats", vec![0.5, -2.25])
        .set("bools", vec![false, true])
        .set("sparse", sparse)
        .set("tokens", with_tokens);
    OperationRecord::upsert("id-1")
        .embedding([1.0f32, -2.5, 0.0])
        .document("text")
        .uri("file:///x")
        .metadata(metadata)
}
