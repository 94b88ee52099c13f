//! A subscription gets exactly its range of its collection.

use super::ensure::{ensure, ensure_eq, ensure_refused};
use super::samples::{collection, ids, record, records, replay, seq_ids};
use super::seen::{Seen, until};
use super::{Backend, Checked};
use crate::error::Error;
use crate::hub::{SubscriptionId, SubscriptionState};
use crate::ids::{LogOffset, SeqId};
use crate::ingest::ConsumeOptions;

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<SeqId> {
    range.map(SeqId).collect()
}

pub(super) fn start_none_delivers_only_what_commits_after_the_call(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(None), consume)?;
    ingest.submit_embeddings(collection(1), &records(5..7))?;
    ensure_eq!(seq_ids(&seen.take(2)?), numbers(6..=7), "SeqIds delivered");
    Ok(())
}

pub(super) fn start_0_is_an_ordinary_start(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    // Also in a log that is empty.
    let (consume, mut early) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)), consume)?;
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let (consume, mut late) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(ingest.min_seqid()), consume)?;
    ensure_eq!(seq_ids(&early.take(5)?), numbers(1..=5), "SeqIds delivered to who came first");
    ensure_eq!(seq_ids(&late.take(5)?), numbers(1..=5), "SeqIds delivered to who came later");
    Ok(())
}

pub(super) fn the_newest_seq_id_is_an_ordinary_start(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(5)), consume)?;
    ingest.submit_embedding(collection(1), &record(5))?;
    ensure_eq!(seq_ids(&seen.take(1)?), [SeqId(6)], "SeqIds delivered");
    Ok(())
}

pub(super) fn start_is_exclusive_and_end_inclusive(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 0..4 {
        ingest.submit_embeddings(collection(1), &records(n * 5..n * 5 + 5))?;
    }
    for (start, end) in [(0, 20), (0, 1), (4, 5), (5, 6), (3, 12), (19, 20), (7, 8)] {
        let (consume, mut seen) = Seen::consumer();
        let options = ConsumeOptions::new().start(SeqId(start)).end(SeqId(end));
        let id = ingest.subscribe(collection(1), options, consume)?;
        seen.ended(&*ingest, &id)?;
        ensure_eq!(seq_ids(&seen.so_far()), numbers(start + 1..=end), "SeqIds above {start} up to {end}");
    }
    Ok(())
}

pub(super) fn a_subscription_ends_by_itself_when_its_end_is_reached(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)).end(SeqId(5)), consume)?;
    // Nothing is submitted any more: it must not wait for something beyond its end.
    seen.ended(&*ingest, &id)?;
    ingest.submit_embeddings(collection(1), &records(5..8))?;
    let (consume, mut fence) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(5)), consume)?;
    fence.take(3)?;
    ensure_eq!(seq_ids(&seen.so_far()), numbers(1..=5), "SeqIds delivered");
    Ok(())
}

pub(super) fn an_end_that_is_still_to_come_is_waited_for(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new().end(SeqId(3)), consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    ensure_eq!(seq_ids(&seen.take(1)?), [SeqId(1)], "SeqIds delivered first");
    // One batch that reaches beyond the end.
    ingest.submit_embeddings(collection(1), &records(1..6))?;
    seen.ended(&*ingest, &id)?;
    ensure_eq!(seq_ids(&seen.so_far()), numbers(2..=3), "SeqIds delivered then");
    Ok(())
}

pub(super) fn an_end_that_belongs_to_another_collection_ends_it_as_well(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..2))?;
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)).end(SeqId(4)), consume)?;
    ingest.submit_embeddings(collection(2), &records(0..3))?;
    seen.ended(&*ingest, &id)?;
    ensure_eq!(seq_ids(&seen.so_far()), numbers(1..=2), "SeqIds delivered");
    Ok(())
}

pub(super) fn a_start_at_or_behind_the_end_is_an_error(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    for (start, end) in [(0, 0), (3, 3), (4, 2), (5, 1)] {
        let (consume, _) = Seen::consumer();
        let options = ConsumeOptions::new().start(SeqId(start)).end(SeqId(end));
        ensure_refused!(
            ingest.subscribe(collection(1), options, consume),
            Error::Invalid(_),
            "start {start} and end {end}"
        );
    }
    let (consume, _) = Seen::consumer();
    // From now on, up to what is there already: nothing could ever come.
    ensure_refused!(
        ingest.subscribe(collection(1), ConsumeOptions::new().end(SeqId(5)), consume),
        Error::Invalid(_),
        "no start and an end that has passed"
    );
    ensure_eq!(ingest.status()?.subscriptions.len(), 0, "subscriptions");
    Ok(())
}

pub(super) fn a_start_beyond_the_newest_seq_id_is_an_error(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for newest in [0, 5] {
        let newest = SeqId(newest);
        for beyond in [newest.next(), SeqId(1_000_000), ingest.max_seqid(), SeqId(u64::MAX)] {
            let (consume, _) = Seen::consumer();
            ensure_refused!(
                ingest.subscribe(collection(1), ConsumeOptions::new().start(beyond), consume),
                Error::Invalid(_),
                "a start at {beyond} where {newest} is the newest"
            );
        }
        ingest.submit_embeddings(collection(1), &records(0..5))?;
    }
    Ok(())
}

pub(super) fn an_id_in_use_is_an_error_and_free_again_after_unsubscribe(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    let named = || ConsumeOptions::new().id("indexer");
    let id = ingest.subscribe(collection(1), named(), Seen::consumer().0)?;
    ensure_eq!(id, SubscriptionId::from("indexer"), "the id");
    for taken in [collection(1), collection(2)] {
        ensure_refused!(
            ingest.subscribe(taken, named(), Seen::consumer().0),
            Error::Invalid(why) if why.contains("indexer"),
            "an id in use"
        );
    }
    ingest.unsubscribe(&id)?;
    ingest.subscribe(collection(2), named(), Seen::consumer().0)?;
    let made_up = [
        ingest.subscribe(collection(1), ConsumeOptions::new(), Seen::consumer().0)?,
        ingest.subscribe(collection(1), ConsumeOptions::new(), Seen::consumer().0)?,
    ];
    ensure!(made_up[0] != made_up[1], "expected ids of their own, found {made_up:?}");
    Ok(())
}

pub(super) fn other_collections_are_not_delivered(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(2), &records(0..5))?;
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)), consume)?;
    for n in 0..20 {
        ingest.submit_embedding(collection(n % 2), &record(n))?;
    }
    let odd: Vec<_> = (0..10).map(|n| format!("id {}", n * 2 + 1)).collect();
    ensure_eq!(ids(&seen.take(10)?), odd, "ids delivered");
    ensure_eq!(replay(&*ingest, collection(3), SeqId(0))?, [], "records of a collection without any");
    Ok(())
}

pub(super) fn every_subscription_gets_everything(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let mut all = Vec::new();
    for _ in 0..8 {
        let (consume, seen) = Seen::consumer();
        ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)), consume)?;
        ingest.submit_embeddings(collection(1), &records(0..5))?;
        all.push(seen);
    }
    for (k, seen) in all.iter_mut().enumerate() {
        ensure_eq!(seq_ids(&seen.take(40)?), numbers(1..=40), "SeqIds delivered to subscription {k}");
    }
    Ok(())
}

pub(super) fn records_are_delivered_in_batches_within_the_limit_asked_for(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..100))?;
    let (consume, mut seen) = Seen::consumer();
    let options = ConsumeOptions::new().start(SeqId(0)).end(SeqId(100)).max_batch(32, 4 << 20);
    ingest.subscribe(collection(1), options, consume)?;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 100 {
        sizes.push(seen.call()?.len());
    }
    ensure!(
        sizes.iter().all(|size| (1..=32).contains(size)),
        "expected 1 to 32 records a call, found {sizes:?}"
    );
    ensure!(sizes.len() < 50, "expected batches, found {} calls for 100 records", sizes.len());
    Ok(())
}

pub(super) fn min_and_max_seq_id_are_0_and_i64_max(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ensure_eq!(ingest.min_seqid(), SeqId(0), "min_seqid");
    ensure_eq!(ingest.max_seqid(), SeqId(i64::MAX as u64), "max_seqid");
    let (consume, mut seen) = Seen::consumer();
    let all = ConsumeOptions::new().start(ingest.min_seqid()).end(ingest.max_seqid());
    ingest.subscribe(collection(1), all, consume)?;
    ingest.submit_embedding(collection(1), &record(0))?;
    ensure_eq!(seen.take(1)?.len(), 1, "records between them");
    Ok(())
}

pub(super) fn status_shows_where_a_subscription_stands(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ensure!(ingest.subscription(&"nobody".into())?.is_none(), "expected no status of an unknown id");
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(0)).id("shown"), consume)?;
    ingest.submit_embeddings(collection(2), &records(0..2))?;
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    seen.take(5)?;
    until(&*ingest, &id, "a subscription that has taken all", |status| {
        status.is_some_and(|s| {
            (s.log_offset, s.lag_records, s.delivered, s.failures) == (LogOffset(5), 0, 5, 0)
                && s.seq_id >= SeqId(7)
                && s.state == SubscriptionState::Tailing
                && (s.id == id && s.stream == collection(1) && s.last_error.is_none())
        })
    })
}
