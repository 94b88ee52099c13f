//! Closing, resetting, and what the operator sees.

use super::ensure::{ensure, ensure_eq};
use super::samples::{collection, record, records, replay};
use super::seen::Seen;
use super::{Backend, Checked};
use crate::error::Error;
use crate::ids::{LogOffset, SeqId};
use crate::ingest::{ConsumeOptions, SubmitTerms};

pub(super) fn after_a_close_every_call_says_not_running(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..3))?;
    ingest.advance_cursor(collection(1), "c", SeqId(1))?;
    ingest.close()?;
    let (one, terms, (all, c)) = (record(0), SubmitTerms::new(), (collection(1), "c"));
    let start = || ConsumeOptions::new().start(SeqId(0));
    let refused = [
        ("submit_embeddings", ingest.submit_embeddings(all, &records(0..2)).map(drop)),
        ("submit_embeddings of nothing", ingest.submit_embeddings(all, &[]).map(drop)),
        ("submit_embedding", ingest.submit_embedding(all, &one).map(drop)),
        ("submit_with", ingest.submit_with(all, &records(0..2), &terms).map(drop)),
        ("submit_async", ingest.submit_async(all, &records(0..2), &terms).and_then(|p| p.wait()).map(drop)),
        ("purge_log", ingest.purge_log(all).map(drop)),
        ("purge_upto", ingest.purge_upto(all, SeqId(1)).map(drop)),
        ("delete_log", ingest.delete_log(all)),
        ("subscribe", ingest.subscribe(all, ConsumeOptions::new(), Seen::consumer().0).map(drop)),
        ("subscribe from 0", ingest.subscribe(all, start(), Seen::consumer().0).map(drop)),
        ("unsubscribe", ingest.unsubscribe(&"nobody".into())),
        ("subscription", ingest.subscription(&"nobody".into()).map(drop)),
        ("advance_cursor", ingest.advance_cursor(all, c, SeqId(2)).map(drop)),
        ("rollback_cursor", ingest.rollback_cursor(all, c, SeqId(0)).map(drop)),
        ("drop_cursor", ingest.drop_cursor(all, c).map(drop)),
        ("cursors", ingest.cursors(all).map(drop)),
        ("backlog", ingest.backlog(all, c).map(drop)),
        ("backlogs", ingest.backlogs(c, 1).map(drop)),
        ("status", ingest.status().map(drop)),
        ("reset", ingest.reset()),
    ];
    for (call, outcome) in refused {
        match outcome {
            Err(error @ Error::Closed) => {
                ensure!(error.to_string().contains("not running"), "expected `not running`, found {error}");
            }
            other => return Err(format!("{call}: expected Closed, found {other:?}").into()),
        }
    }
    Ok(())
}

pub(super) fn after_a_close_no_callback_runs(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let mut all = Vec::new();
    for _ in 0..5 {
        let (consume, seen) = Seen::consumer();
        ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
        all.push(seen);
    }
    for n in 0..20 {
        ingest.submit_embedding(collection(1), &record(n))?;
    }
    ingest.close()?;
    let before: Vec<_> = all.iter_mut().map(|seen| seen.so_far().len()).collect();
    drop(ingest);
    if let Some(ingest) = backend.restart()? {
        // Subscriptions do not outlive the backend they were made on.
        ensure_eq!(ingest.status()?.subscriptions.len(), 0, "subscriptions after the restart");
        ingest.submit_embedding(collection(1), &record(20))?;
    }
    for (k, seen) in all.iter_mut().enumerate() {
        ensure_eq!(seen.so_far(), [], "records after the close, {} before it", before[k]);
    }
    Ok(())
}

pub(super) fn closing_twice_is_no_error(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embedding(collection(1), &record(0))?;
    ingest.close()?;
    ingest.close()?;
    Ok(())
}

pub(super) fn a_reset_drops_collections_cursors_and_subscriptions(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 1..=3 {
        ingest.submit_embeddings(collection(n), &records(0..n))?;
        ingest.advance_cursor(collection(n), "c", SeqId(1))?;
    }
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    ingest.reset()?;
    ensure!(ingest.subscription(&id)?.is_none(), "expected the subscription to be gone");
    for n in 1..=3 {
        ensure_eq!(ingest.backlog(collection(n), "c")?, 0, "records of collection {n}");
        ensure_eq!(ingest.cursors(collection(n))?, [], "cursors of collection {n}");
    }
    ensure_eq!(ingest.backlogs("c", 1)?.len(), 0, "collections with records");
    ingest.submit_embedding(collection(1), &record(9))?;
    let (consume, mut fence) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    ingest.submit_embedding(collection(1), &record(10))?;
    fence.take(1)?;
    ensure_eq!(seen.so_far(), [], "records delivered to who subscribed before the reset");
    Ok(())
}

pub(super) fn after_a_reset_numbers_go_on(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.reset()?;
    let start = ingest.status()?.newest_seq_id;
    let next = ingest.submit_embedding(collection(1), &record(5))?;
    ensure!(next > SeqId(5), "expected a SeqId above 5, found {next}");
    let stored = replay(&*ingest, collection(1), start)?;
    ensure_eq!(stored.first().map(|r| r.log_offset), Some(LogOffset(6)), "the next log_offset");
    Ok(())
}

pub(super) fn the_status_lists_subscriptions_and_cursors(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.advance_cursor(collection(1), "c", SeqId(2))?;
    for id in ["one", "two"] {
        ingest.subscribe(collection(1), ConsumeOptions::new().id(id), Seen::consumer().0)?;
    }
    let status = ingest.status()?;
    ensure!(status.newest_seq_id >= SeqId(5), "expected SeqId 5 or above, found {}", status.newest_seq_id);
    let mut found: Vec<_> = status.subscriptions.iter().map(|s| s.id.to_string()).collect();
    found.sort_unstable();
    ensure_eq!(found, ["one", "two"], "subscriptions");
    let found: Vec<_> = status.cursors.iter().map(|c| (c.name.as_str(), c.seq_id)).collect();
    ensure_eq!(found, [("c", SeqId(2))], "cursors");
    Ok(())
}
