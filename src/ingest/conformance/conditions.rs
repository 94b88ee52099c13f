//! A submit on a condition: written if it holds, a conflict that can be acted on if not.

use std::sync::{Arc, Barrier};
use std::thread;

use super::ensure::{ensure_eq, ensure_refused};
use super::samples::{collection, record, records, replay};
use super::{Backend, Checked};
use crate::error::{Error, Result};
use crate::ids::{LogOffset, SeqId};
use crate::ingest::{Condition, Ingest, OperationRecord, SubmitTerms};

fn at(next: u64) -> SubmitTerms {
    SubmitTerms::new().condition(Condition::NextOffset(LogOffset(next)))
}

fn none_written(ids: &[&str], since: u64) -> SubmitTerms {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    SubmitTerms::new().condition(Condition::NoneWritten { ids, since: LogOffset(since) })
}

fn upsert(ingest: &dyn Ingest, id: &str, terms: &SubmitTerms) -> Result<Vec<SeqId>> {
    ingest.submit_with(collection(1), &[OperationRecord::upsert(id)], terms)
}

pub(super) fn a_submit_at_the_expected_offset_is_written(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ensure_eq!(ingest.submit_with(collection(1), &records(0..3), &at(1))?.len(), 3, "SeqIds at log_offset 1");
    ingest.submit_embeddings(collection(2), &records(0..3))?;
    ensure_eq!(ingest.submit_with(collection(1), &records(3..5), &at(4))?.len(), 2, "SeqIds at log_offset 4");
    ensure_eq!(ingest.submit_with(collection(1), &[], &at(99))?.len(), 0, "SeqIds of nothing");
    Ok(())
}

pub(super) fn a_submit_at_another_offset_is_a_conflict_that_names_both(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..3))?;
    for wrong in [0, 1, 3, 5] {
        ensure_refused!(
            ingest.submit_with(collection(1), &records(0..1), &at(wrong)),
            Error::Conflict { stream, expected, next }
                if (stream, expected, next) == (collection(1), LogOffset(wrong), LogOffset(4)),
            "log_offset {wrong} where 4 is due"
        );
    }
    ensure_eq!(ingest.status()?.newest_seq_id, SeqId(3), "the newest SeqId");
    Ok(())
}

pub(super) fn a_submit_is_written_if_none_of_the_ids_was(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    upsert(&*ingest, "a", &none_written(&["a", "b"], 0))?;
    upsert(&*ingest, "b", &none_written(&["b", "c"], 0))?;
    upsert(&*ingest, "c", &none_written(&["b", "c"], 2))?;
    upsert(&*ingest, "d", &none_written(&[], 0))?;
    // Another collection's ids are other ids.
    ingest.submit_with(collection(2), &[OperationRecord::add("a")], &none_written(&["a"], 0))?;
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 4, "records stored");
    Ok(())
}

pub(super) fn an_id_written_meanwhile_is_a_conflict_that_names_it(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(2), &records(0..1))?;
    for id in ["a", "b", "a", "c"] {
        upsert(&*ingest, id, &SubmitTerms::new())?;
    }
    for (ids, since) in [(vec!["x", "a"], 0), (vec!["a"], 2)] {
        ensure_refused!(
            upsert(&*ingest, "d", &none_written(&ids, since)),
            Error::IdConflict { stream, id, log_offset, seq_id }
                if (stream, id.as_str(), log_offset, seq_id)
                    == (collection(1), "a", LogOffset(3), SeqId(4)),
            "{ids:?} since {since}"
        );
    }
    // A delete writes its id as well.
    ingest.submit_embedding(collection(1), &OperationRecord::delete("e"))?;
    ensure_refused!(
        upsert(&*ingest, "d", &none_written(&["e"], 4)),
        Error::IdConflict { log_offset: LogOffset(5), .. },
        "an id that was deleted meanwhile"
    );
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 5, "records stored");
    Ok(())
}

pub(super) fn ids_written_before_do_not_count(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for id in ["a", "b", "a"] {
        upsert(&*ingest, id, &SubmitTerms::new())?;
    }
    upsert(&*ingest, "a", &none_written(&["a"], 3))?;
    ensure_refused!(
        upsert(&*ingest, "a", &none_written(&["a"], 3)),
        Error::IdConflict { log_offset: LogOffset(4), .. },
        "an id that was written by the one before"
    );
    ensure_refused!(
        upsert(&*ingest, "b", &none_written(&["b"], 99)),
        Error::Invalid(_),
        "a condition since a log_offset that was never given out"
    );
    Ok(())
}

pub(super) fn a_condition_on_what_was_purged_is_refused(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.purge_upto(collection(1), SeqId(3))?;
    ensure_refused!(
        upsert(&*ingest, "x", &none_written(&["x"], 2)),
        Error::Purged { log_offset: LogOffset(3), .. },
        "a condition since a log_offset that was purged"
    );
    ensure_eq!(upsert(&*ingest, "x", &none_written(&["x"], 3))?.len(), 1, "SeqIds behind the purge point");
    Ok(())
}

/// What came of so many threads that submit at the same time.
fn race(
    ingest: &Arc<dyn Ingest>,
    threads: u64,
    submit: impl Fn(&dyn Ingest, u64) -> Result<Vec<SeqId>> + Copy + Send + 'static,
) -> std::result::Result<Vec<Result<Vec<SeqId>>>, &'static str> {
    let barrier = Arc::new(Barrier::new(threads as usize));
    let threads: Vec<_> = (0..threads)
        .map(|n| {
            let (ingest, barrier) = (Arc::clone(ingest), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                submit(&*ingest, n)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| "a producer panicked")).collect()
}

pub(super) fn of_two_that_want_the_same_offset_one_gets_it(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for next in 1..=20 {
        let submit = move |ingest: &dyn Ingest, n| ingest.submit_with(collection(1), &[record(n)], &at(next));
        let outcomes = race(&ingest, 4, submit)?;
        ensure_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "who got log_offset {next}");
        for lost in outcomes.into_iter().filter(|outcome| outcome.is_err()) {
            ensure_refused!(
                lost,
                Error::Conflict { next: due, .. } if due.0 == next + 1,
                "who wanted log_offset {next} as well"
            );
        }
    }
    Ok(())
}

pub(super) fn of_two_that_looked_at_the_same_id_one_gets_it(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for round in 0..20 {
        // All four have read up to here.
        let since = round * 2;
        let outcomes = race(&ingest, 4, move |ingest, n| {
            let ids = ["contended", "other"];
            upsert(ingest, ids[n as usize % 2], &none_written(&ids[n as usize % 2..][..1], since))
        })?;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        ensure_eq!(won, 2, "who wrote the two ids in round {round}");
        for lost in outcomes.into_iter().filter(|outcome| outcome.is_err()) {
            ensure_refused!(
                lost,
                Error::IdConflict { log_offset, .. } if log_offset.0 > since,
                "who came later in round {round}"
            );
        }
    }
    Ok(())
}

pub(super) fn writers_of_other_ids_are_in_nobodys_way(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let outcomes = race(&ingest, 4, |ingest, n| {
        let mut all = Vec::new();
        for k in 0..25 {
            let id = format!("{n} {k}");
            all.extend(upsert(ingest, &id, &none_written(&[&id], 0))?);
        }
        Ok(all)
    })?;
    for outcome in outcomes {
        ensure_eq!(outcome?.len(), 25, "SeqIds of a producer");
    }
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 100, "records stored");
    Ok(())
}

pub(super) fn an_awaited_conditional_submit_conflicts_in_the_same_way(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let submit = |id: &str, terms: &SubmitTerms| {
        ingest.submit_async(collection(1), &[OperationRecord::upsert(id)], terms).and_then(|p| p.wait())
    };
    ensure_eq!(submit("a", &none_written(&["a"], 0))?, [SeqId(1)], "SeqIds");
    ensure_refused!(
        submit("a", &none_written(&["a"], 0)),
        Error::IdConflict { log_offset: LogOffset(1), seq_id: SeqId(1), .. },
        "an id that was written"
    );
    ensure_refused!(
        submit("b", &at(1)),
        Error::Conflict { next: LogOffset(2), .. },
        "an offset that was taken"
    );
    // Several on their way at once, without a wait in between.
    let pending: Vec<_> = (0..10)
        .map(|n| {
            let id = format!("own {n}");
            ingest.submit_async(collection(1), &[OperationRecord::add(&*id)], &none_written(&[&id], 0))
        })
        .collect::<Result<_>>()?;
    let mut all = pending.into_iter().map(|p| p.wait()).collect::<Result<Vec<_>>>()?.concat();
    all.sort_unstable();
    ensure_eq!(all, (2..=11).map(SeqId).collect::<Vec<_>>(), "SeqIds of those on their way at once");
    Ok(())
}
