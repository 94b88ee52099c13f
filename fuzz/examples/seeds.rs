//! Writes the seeds of every corpus, from real logs: `cargo run --example seeds`, in `fuzz/`.

use std::path::Path;

use stratalog::ingest::{Envelope, Metadata, MetadataValue, OperationRecord, SparseVector, write_line};
use stratalog::storage::MemoryStorage;
use stratalog_fuzz::{content, directory, files, history, options};

/// Operations of `history`: three small batches, a checkpoint, a large one, a crash, one more.
const HISTORY: [u8; 14] = [0, 9, 1, 30, 0, 2, 5, 0, 4, 20, 7, 0, 2, 6];

/// Small batches, cursors, a batch of a producer; then enough for segments, and purges that free some.
const CONSUMED: [u8; 46] = [
    0, 9, 1, 30, 8, 252, 15, 40, 15, 128, 10, 60, 4, 200, 4, 200, 4, 200, 5, 0, 4, 200, 4, 200, 2, 5, 8, 252,
    14, 0, 12, 1, 13, 128, 7, 0, 4, 200, 8, 252, 14, 0, 11, 2, 0, 7,
];
const CONSUMED_SMALL: [u8; 20] = [0, 9, 1, 30, 8, 252, 15, 40, 10, 60, 5, 0, 14, 0, 12, 1, 13, 130, 2, 6];

fn eight(bytes: &[u8], at: usize) -> [u8; 8] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let directory = corpus.join(target);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(name), bytes)
    };
    let tagged = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();

    let small = &HISTORY[..8];
    let (closed, _) = history::build(&options(0), small, false);
    let crashed = |operations| history::build(&options(1), operations, true).0;
    for (name, bytes) in files(&closed) {
        let seed = match name.rsplit('.').next().unwrap_or_default() {
            "segment" => {
                put("frame_decode", "segment_header", &tagged(1, &bytes[..128]))?;
                // With its checksums set anew for the position that the target takes it to stand at.
                put("frame_decode", "frame", &tagged(0x80, &bytes[4096..]))?;
                continue;
            }
            "index" => ("index", tagged(3, &bytes)),
            _ => ("checkpoint", tagged(2, &bytes)),
        };
        put("frame_decode", seed.0, &seed.1)?;
    }

    for (name, record) in records() {
        let mut payload = Vec::new();
        record.encode_into(&mut payload).map_err(std::io::Error::other)?;
        put("record_codec", name, &payload)?;
        let mut line = Vec::new();
        let envelope = Envelope { collection: Some("papers"), seq_id: Some(7), log_offset: Some(3) };
        write_line(&mut line, envelope, &record)?;
        put("json_lines", name, &line)?;
    }

    for (name, storage) in [("closed", closed), ("crashed", crashed(small))] {
        for (kind, mode) in [("as_it_is", 0), ("resealed", 1)] {
            if let Some(squeezed) = directory::squeezed(&without_background_files(&storage), mode) {
                put("open_directory", &format!("{name}_{kind}"), &tagged(0, &squeezed))?;
            }
        }
    }
    put("open_directory", "recovered", &tagged(1, &recovered(small)))?;
    put("open_directory", "repaired", &tagged(0, &repaired()))?;
    put("open_directory", "before_the_first", &tagged(0, &before_the_first(small)))?;

    let mut controls = Vec::new();
    for (name, bytes) in files(&history::build(&options(0), &CONSUMED, false).0) {
        if name.starts_with("checkpoint") {
            put("frame_decode", "checkpoint_with_controls", &tagged(2, &bytes))?;
            let behind = bytes.len() - u64::from_le_bytes(eight(&bytes, 96)) as usize;
            controls = bytes[behind..].to_vec();
        }
    }
    put("frame_decode", "controls", &tagged(4, &controls))?;
    for (name, crash) in [("consumed_closed", false), ("consumed_crashed", true)] {
        let storage = without_background_files(&history::build(&options(0), &CONSUMED_SMALL, crash).0);
        if let Some(squeezed) = directory::squeezed(&storage, 0) {
            put("open_directory", name, &tagged(0, &squeezed))?;
        }
    }

    for (target, name, choice, operations, pieces) in [
        ("damaged_log", "consumed_crash", 4u8, &CONSUMED[..], &[][..]),
        ("damaged_log", "consumed_flipped", 0, &CONSUMED, &[[0, 3, 64, 16, 0, 3]]),
        ("check_log", "consumed_close", 0, &CONSUMED, &[]),
        ("check_log", "consumed_crash", 4, &CONSUMED, &[]),
        ("check_log", "consumed_flipped", 0, &CONSUMED, &[[0, 3, 64, 16, 0, 3]]),
        ("check_log", "consumed_zeros", 1, &CONSUMED, &[[2, 2, 0, 16, 200, 0]]),
        ("check_log", "segment_removed", 0, &CONSUMED, &[[5, 1, 0, 0, 0, 0]]),
        ("check_log", "checkpoint_removed", 4, &CONSUMED, &[[5, 254, 0, 0, 0, 0]]),
        ("check_log", "truncated", 5, &HISTORY, &[[1, 1, 0, 17, 0, 0]]),
    ] {
        let count = (operations.len() / 2) as u8;
        put(target, name, &[&[choice, count][..], operations, &pieces.concat()].concat())?;
    }

    let count = (HISTORY.len() / 2) as u8;
    for (name, choice, pieces) in [
        ("undamaged_crash", 4u8, &[][..]),
        ("undamaged_close", 0, &[]),
        ("flipped_bit", 4, &[[0, 0, 40, 16, 0, 3]]),
        ("truncated", 5, &[[1, 1, 0, 17, 0, 0]]),
        ("zeros", 2, &[[2, 0, 0, 16, 200, 0]]),
        ("moved_frame", 4, &[[4, 0, 0, 16, 255, 66]]),
        ("swapped_and_removed", 1, &[[6, 0, 0, 0, 0, 1], [5, 2, 0, 0, 0, 0]]),
    ] {
        let seed = [&[choice, count][..], &HISTORY, &pieces.concat()].concat();
        put("damaged_log", name, &seed)?;
    }
    Ok(())
}

/// A log that was recovered, and crashed again before anything else happened.
fn recovered(operations: &[u8]) -> Vec<u8> {
    let operations = [operations, &[7, 0]].concat();
    let (storage, _) = history::build(&options(1), &operations, true);
    directory::squeezed(&without_background_files(&storage), 0).unwrap_or_default()
}

/// A segment that a repair wrote again without a record in its middle, and no checkpoint beyond it.
fn repaired() -> Vec<u8> {
    let storage = history::build(&options(0), &[0, 9, 1, 30, 0, 2, 1, 5, 0, 9, 1, 30], false).0;
    for (name, mut bytes) in files(&storage).into_iter().filter(|(name, _)| name.ends_with(".segment")) {
        bytes[4096 + 300] ^= 1;
        stratalog_fuzz::put(&storage, &name, &bytes);
    }
    let _ = stratalog::check::repair(std::sync::Arc::new(storage.clone()));
    directory::squeezed(&segments_only(&storage), 0).unwrap_or_default()
}

/// A copy of the first segment under a name that comes before all.
fn before_the_first(operations: &[u8]) -> Vec<u8> {
    let storage = segments_only(&history::build(&options(0), operations, false).0);
    if let Some((_, bytes)) = files(&storage).into_iter().next() {
        stratalog_fuzz::put(&storage, &format!("{:020}.segment", 0), &bytes);
    }
    directory::squeezed(&storage, 0).unwrap_or_default()
}

fn segments_only(storage: &MemoryStorage) -> MemoryStorage {
    let kept = MemoryStorage::new();
    for (name, bytes) in files(storage).into_iter().filter(|(name, _)| name.ends_with(".segment")) {
        stratalog_fuzz::put(&kept, &name, &bytes);
    }
    kept
}

/// Without what the background may or may not have made by now.
fn without_background_files(storage: &MemoryStorage) -> MemoryStorage {
    let kept = MemoryStorage::new();
    for (name, _) in files(storage) {
        if name != "spare" && !name.ends_with(".tmp") {
            stratalog_fuzz::put(&kept, &name, &content(storage, &name));
        }
    }
    kept
}

/// A record of every field and every type of value, and small ones.
fn records() -> Vec<(&'static str, OperationRecord)> {
    let mut metadata = Metadata::new();
    metadata
        .set("null", MetadataValue::Null)
        .set("str", "é\0")
        .set("int", i64::MIN)
        .set("float", f64::NAN)
        .set("bool", true)
        .set("strs", vec!["x".to_owned(), String::new()])
        .set("ints", vec![1i64, -2])
        .set("floats", vec![0.5, -2.25])
        .set("bools", vec![false, true])
        .set("no ints", Vec::<i64>::new());
    if let Ok(sparse) = SparseVector::new(vec![0, 7, u32::MAX], vec![0.5, -0.0, 2.0]) {
        metadata.set("sparse", sparse);
    }
    if let Ok(sparse) = SparseVector::with_tokens(vec![3, 9], vec![1.0, 2.0], vec!["a".into(), "ß".into()]) {
        metadata.set("tokens", sparse);
    }
    let every_field = OperationRecord::upsert("id-1")
        .embedding([1.0f32, -2.5, f32::INFINITY])
        .document("text")
        .uri("file:///x")
        .metadata(metadata);
    vec![
        ("every_field", every_field),
        ("smallest", OperationRecord::delete("")),
        ("integers", OperationRecord::update("b").embedding(vec![i32::MIN, -1, i32::MAX])),
        (
            "empty_parts",
            OperationRecord::add("c").embedding(Vec::<f32>::new()).document("").metadata(Metadata::new()),
        ),
    ]
}
