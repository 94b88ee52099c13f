//! `verify` and `repair` of a real log with arbitrary damage: without damage there is nothing to find,
//! and what a repair leaves is clean, can be opened, and holds and claims nothing that was not so.
//!
//! Input: as that of `damaged_log`.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use stratalog::{Batch, StreamId, check};
use stratalog_fuzz::{files, history, open, options, read_all};

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, count], data)) = data.split_first_chunk::<2>() else { return };
    let options = options(choice);
    let (operations, damage) = data.split_at((usize::from(count % 24) * 2).min(data.len()));
    let (storage, model) = history::build(&options, operations, choice & 4 != 0);
    let damage = damage.as_chunks::<6>().0;
    damage.iter().take(8).for_each(|piece| history::damage(&storage, *piece));
    // What was cut or zeroed may leave nothing that says it is a log.
    let Ok(report) = check::verify(&storage, &mut |_| {}) else { return };
    if damage.is_empty() {
        assert!(report.is_clean(), "nothing is damaged: {:#?}", report.findings);
    }
    let before = files(&storage);
    let plan = check::plan_repair(Arc::new(storage.clone()));
    assert!(files(&storage) == before, "a plan changed something");
    let Ok(plan) = plan else { return };
    assert_eq!(plan.actions.is_empty(), report.is_clean(), "{plan:#?}");

    let repaired =
        check::repair(Arc::new(storage.clone())).expect("it was planned, and memory does not fail");
    // With every segment and checkpoint gone nothing is left but the lock file.
    let Ok(again) = check::verify(&storage, &mut |_| {}) else { return };
    assert!(again.is_clean(), "{repaired:#?} left {:#?}", again.findings);
    let log = open(&options, &storage).expect("what was repaired can be opened");
    let bytes = files(&storage).iter().map(|(_, content)| content.len()).sum();
    let (records, _) = read_all(&log, bytes);
    records.iter().for_each(|record| model.assert_holds(record));
    model.assert_claims_nothing(&log);
    for n in 1..5 {
        let stream = StreamId::from_u128(n);
        let appended = log.append(stream, &Batch::one(b"one more")).expect("an open log takes more");
        assert!(!model.is_record(appended.first_seq_id) || appended.first_seq_id.0 > repaired.last_seq_id.0);
    }
    log.close().expect("memory does not fail");
    let last = check::verify(&storage, &mut |_| {}).expect("there is a log");
    assert!(last.is_clean(), "{:#?}", last.findings);
});
