//! What goes in comes out, bit for bit, live and replayed.

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, come_back, record, records, replay};
use super::seen::Seen;
use super::{Backend, Checked};
use crate::ids::SeqId;
use crate::ingest::{
    ConsumeOptions, Embedding, Encoding, Metadata, MetadataValue, Operation, OperationRecord, SparseVector,
};

pub(super) fn every_operation_comes_back(backend: &mut dyn Backend) -> Checked {
    let every: Vec<_> = Operation::ALL
        .into_iter()
        .map(|operation| {
            let mut one = record(operation.code().into()).document("a document").uri("file:///a");
            one.operation = operation;
            one
        })
        .chain(Operation::ALL.into_iter().map(|operation| OperationRecord::new(operation, "bare")))
        .collect();
    come_back(&*backend.ingest(), &every)
}

pub(super) fn nan_payloads_and_negative_zeros_come_back_bit_for_bit(backend: &mut dyn Backend) -> Checked {
    let singles = [0x7fc0_0001, 0xffc0_dead, 0x7f80_0001, 0x8000_0000, 0x0000_0001, 0x7f80_0000];
    let doubles = [0x7ff8_0000_0000_0001, 0xfff0_0000_0000_beef, 0x8000_0000_0000_0000, 1];
    let doubles: Vec<f64> = doubles.into_iter().map(f64::from_bits).collect();
    let singles: Vec<f32> = singles.into_iter().map(f32::from_bits).collect();
    let mut floats = OperationRecord::add("floats").embedding(singles.clone());
    for (k, double) in doubles.iter().enumerate() {
        floats = floats.metadata_entry(format!("double {k}"), *double);
    }
    floats = floats.metadata_entry("list", doubles);
    let indices = (0..singles.len() as u32).collect();
    floats = floats.metadata_entry("sparse", SparseVector::new(indices, singles)?);
    come_back(&*backend.ingest(), &[floats])
}

pub(super) fn integers_at_their_ends_come_back(backend: &mut dyn Backend) -> Checked {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, (1 << 53) + 1, i64::MAX];
    let mut integers = OperationRecord::add("integers").metadata_entry("list", ends.to_vec());
    for (k, end) in ends.into_iter().enumerate() {
        integers = integers.metadata_entry(format!("end {k}"), end);
    }
    come_back(&*backend.ingest(), &[integers])
}

pub(super) fn int32_embeddings_stay_int32(backend: &mut dyn Backend) -> Checked {
    // As floats, the second and the last but one would come back rounded.
    let numbers = [i32::MIN, -16_777_217, -1, 0, 1, 16_777_217, i32::MAX];
    come_back(&*backend.ingest(), &[OperationRecord::add("int32").embedding(numbers)])
}

pub(super) fn an_empty_embedding_is_not_an_absent_one(backend: &mut dyn Backend) -> Checked {
    let empty = [
        OperationRecord::add("f32").embedding(Embedding::F32(Vec::new())),
        OperationRecord::add("i32").embedding(Embedding::I32(Vec::new())),
        OperationRecord::add("absent"),
    ];
    come_back(&*backend.ingest(), &empty)
}

pub(super) fn an_encoding_without_an_embedding_comes_back(backend: &mut dyn Backend) -> Checked {
    let named = [
        OperationRecord::delete("f32").encoding(Encoding::Float32),
        OperationRecord::update("i32").encoding(Encoding::Int32),
        OperationRecord::delete("none"),
    ];
    come_back(&*backend.ingest(), &named)
}

pub(super) fn texts_with_nul_and_non_ascii_come_back(backend: &mut dyn Backend) -> Checked {
    let texts = ["", "\0", "a\0b\0", "Grüße, 世界 🦀", "e\u{301} is not \u{e9}", "\u{feff}\u{2028}\r\n\"\\"];
    let told: Vec<_> = texts
        .into_iter()
        .map(|text| {
            OperationRecord::upsert(text)
                .document(text)
                .uri(text)
                .metadata_entry(text, text)
                .metadata_entry(format!("list of {text}"), &texts[..])
        })
        .chain([OperationRecord::upsert("without document and uri")])
        .collect();
    come_back(&*backend.ingest(), &told)
}

pub(super) fn absent_and_empty_metadata_stay_different(backend: &mut dyn Backend) -> Checked {
    let both =
        [OperationRecord::update("empty").metadata(Metadata::new()), OperationRecord::update("absent")];
    come_back(&*backend.ingest(), &both)
}

pub(super) fn null_stays_apart_from_an_absent_key(backend: &mut dyn Backend) -> Checked {
    let both = [
        OperationRecord::update("a")
            .metadata_entry("removed", MetadataValue::Null)
            .metadata_entry("kept", 1i64),
        OperationRecord::update("a").metadata_entry("kept", 1i64),
    ];
    come_back(&*backend.ingest(), &both)
}

pub(super) fn bools_stay_apart_from_zero_and_one(backend: &mut dyn Backend) -> Checked {
    let values: [MetadataValue; 8] = [
        true.into(),
        1i64.into(),
        1.0f64.into(),
        false.into(),
        0i64.into(),
        0.0f64.into(),
        vec![true, false].into(),
        vec![1i64, 0].into(),
    ];
    let apart: Vec<_> =
        values.into_iter().map(|value| OperationRecord::add("one").metadata_entry("value", value)).collect();
    come_back(&*backend.ingest(), &apart)
}

pub(super) fn lists_of_every_type_come_back(backend: &mut dyn Backend) -> Checked {
    let lists = OperationRecord::add("lists")
        .metadata_entry("texts", vec!["b".to_owned(), String::new(), "a".to_owned()])
        .metadata_entry("ints", vec![3i64, -2, 3])
        .metadata_entry("floats", vec![0.1f64, -0.0])
        .metadata_entry("bools", vec![true, false, true])
        .metadata_entry("no texts", Vec::<String>::new())
        .metadata_entry("no ints", Vec::<i64>::new())
        .metadata_entry("no floats", Vec::<f64>::new())
        .metadata_entry("no bools", Vec::<bool>::new());
    come_back(&*backend.ingest(), &[lists])
}

pub(super) fn sparse_vectors_come_back_with_tokens_and_without(backend: &mut dyn Backend) -> Checked {
    let tokens = vec!["the".to_owned(), "\0".to_owned(), "log".to_owned()];
    let sparse = OperationRecord::add("sparse")
        .metadata_entry("bare", SparseVector::new(vec![0, 7, u32::MAX], vec![0.5, -0.0, 1e-40])?)
        .metadata_entry("tokens", SparseVector::with_tokens(vec![1, 2, 3], vec![1.0, 2.0, 3.0], tokens)?)
        .metadata_entry("empty", SparseVector::new(vec![], vec![])?)
        .metadata_entry("no tokens", SparseVector::with_tokens(vec![], vec![], vec![])?);
    come_back(&*backend.ingest(), &[sparse])
}

pub(super) fn live_and_replayed_records_are_identical(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut live) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    for n in 0..20 {
        ingest.submit_embeddings(collection(1), &records(n * 5..n * 5 + 1 + n % 5))?;
        ingest.submit_embedding(collection(2), &record(n))?;
    }
    let replayed = replay(&*ingest, collection(1), SeqId(0))?;
    let live = live.take(replayed.len())?;
    ensure!(live == replayed, "numbers, times or records differ: {live:?} and {replayed:?}");
    for (live, replayed) in live.iter().zip(&replayed) {
        ensure_eq!(live.record.payload(), replayed.record.payload(), "payload of SeqId {}", live.seq_id);
    }
    Ok(())
}

pub(super) fn records_are_the_same_after_a_restart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 0..10 {
        ingest.submit_embeddings(collection(n % 2), &records(n * 3..n * 3 + 3))?;
    }
    let before = replay(&*ingest, collection(1), SeqId(0))?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?, before, "records after the restart");
    Ok(())
}
