//! Durable cursors: how far a consumer has applied a collection.

use std::time::Duration;

use super::ensure::{ensure, ensure_eq, ensure_refused};
use super::samples::{collection, record, records, replay, seq_ids};
use super::seen::{Seen, until};
use super::{Backend, Checked};
use crate::error::Error;
use crate::hub::SubscriptionState;
use crate::ids::{LogOffset, SeqId};
use crate::ingest::{ConsumeOptions, Ingest, LogRecord};
use crate::log::Cursor;

fn at(ingest: &dyn Ingest, n: u64, name: &str) -> Result<Option<Cursor>, Error> {
    Ok(ingest.cursors(collection(n))?.into_iter().find(|cursor| cursor.name == name))
}

pub(super) fn a_cursor_is_registered_listed_and_dropped(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(2), &records(0..2))?;
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ensure_eq!(ingest.cursors(collection(1))?, [], "cursors at first");
    let cursor = ingest.advance_cursor(collection(1), "indexer", SeqId(5))?;
    let due =
        Cursor { stream: collection(1), name: "indexer".into(), seq_id: SeqId(5), log_offset: LogOffset(3) };
    ensure_eq!(cursor, due, "the cursor returned");
    ensure_eq!(ingest.cursors(collection(1))?, [due], "the cursors of the collection");
    ensure!(ingest.drop_cursor(collection(1), "indexer")?, "expected that there was a cursor to drop");
    ensure!(!ingest.drop_cursor(collection(1), "indexer")?, "expected that it was gone");
    ensure_eq!(ingest.cursors(collection(1))?, [], "cursors in the end");
    Ok(())
}

pub(super) fn a_cursor_moves_forward_only(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    for seq_id in [0, 2, 4] {
        ensure_eq!(
            ingest.advance_cursor(collection(1), "c", SeqId(seq_id))?.seq_id,
            SeqId(seq_id),
            "the cursor"
        );
    }
    // The same place a second time is where it stands.
    ensure_eq!(ingest.advance_cursor(collection(1), "c", SeqId(4))?.seq_id, SeqId(4), "the cursor");
    ensure_refused!(
        ingest.advance_cursor(collection(1), "c", SeqId(3)),
        Error::Invalid(_),
        "an advance to before the cursor"
    );
    ensure_eq!(at(&*ingest, 1, "c")?.map(|c| c.seq_id), Some(SeqId(4)), "the cursor in the end");
    Ok(())
}

pub(super) fn a_rollback_moves_a_cursor_back(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ensure_refused!(
        ingest.rollback_cursor(collection(1), "c", SeqId(1)),
        Error::NoCursor { name, .. } if name == "c",
        "the rollback of a cursor that is not there"
    );
    ingest.advance_cursor(collection(1), "c", SeqId(4))?;
    ensure_refused!(
        ingest.rollback_cursor(collection(1), "c", SeqId(5)),
        Error::Invalid(_),
        "a rollback that would be forward"
    );
    ensure_eq!(ingest.rollback_cursor(collection(1), "c", SeqId(1))?.seq_id, SeqId(1), "the cursor");
    ensure_eq!(ingest.backlog(collection(1), "c")?, 4, "records behind it");
    ensure_eq!(ingest.rollback_cursor(collection(1), "c", SeqId(0))?.seq_id, SeqId(0), "the cursor, at 0");
    Ok(())
}

pub(super) fn a_cursor_beyond_the_newest_record_is_refused(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    for beyond in [SeqId(1_000), ingest.max_seqid(), SeqId(u64::MAX)] {
        ensure_refused!(
            ingest.advance_cursor(collection(1), "c", beyond),
            Error::Invalid(_),
            "a cursor at {beyond}"
        );
    }
    ensure_eq!(ingest.cursors(collection(1))?, [], "cursors");
    Ok(())
}

pub(super) fn cursors_of_different_names_and_collections_are_apart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.submit_embeddings(collection(2), &records(0..5))?;
    let names = ["a", "A", "a ", "\0", "名前"];
    for (k, name) in (1..).zip(names) {
        ingest.advance_cursor(collection(1), name, SeqId(k))?;
        ingest.advance_cursor(collection(2), name, SeqId(k + 5))?;
    }
    for (k, name) in (1..).zip(names) {
        ensure_eq!(at(&*ingest, 1, name)?.map(|c| c.seq_id), Some(SeqId(k)), "cursor {name:?} of one");
        ensure_eq!(at(&*ingest, 2, name)?.map(|c| c.seq_id), Some(SeqId(k + 5)), "cursor {name:?} of two");
    }
    ingest.drop_cursor(collection(1), "a")?;
    ensure_eq!(ingest.cursors(collection(1))?.len(), 4, "cursors of one");
    ensure_eq!(ingest.status()?.cursors.len(), 9, "cursors of all");
    Ok(())
}

pub(super) fn a_subscription_starts_from_a_cursor(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.advance_cursor(collection(1), "c", SeqId(3))?;
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().from_cursor("c"), consume)?;
    ensure_eq!(seq_ids(&seen.take(2)?), [SeqId(4), SeqId(5)], "SeqIds delivered");
    ensure_eq!(
        at(&*ingest, 1, "c")?.map(|c| c.seq_id),
        Some(SeqId(3)),
        "the cursor: it was not asked to move"
    );
    Ok(())
}

pub(super) fn a_subscription_from_a_new_cursor_makes_it_and_gets_what_is_left(
    backend: &mut dyn Backend,
) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.purge_upto(collection(1), SeqId(2))?;
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().from_cursor("new"), consume)?;
    ensure_eq!(seq_ids(&seen.take(3)?), [SeqId(3), SeqId(4), SeqId(5)], "SeqIds delivered");
    // From now on no purge passes it.
    ensure_eq!(at(&*ingest, 1, "new")?.map(|c| c.log_offset), Some(LogOffset(2)), "where it was made");
    ensure_refused!(
        ingest.purge_upto(collection(1), SeqId(4)),
        Error::Held { cursor, .. } if cursor == "new",
        "a purge beyond it"
    );
    Ok(())
}

pub(super) fn to_advance_a_cursor_it_must_start_from_it(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let options = ConsumeOptions::new().start(SeqId(0)).advance_cursor(true);
    ensure_refused!(
        ingest.subscribe(collection(1), options, Seen::consumer().0),
        Error::Invalid(_),
        "a cursor to advance, and none to start from"
    );
    Ok(())
}

pub(super) fn a_subscription_advances_its_cursor_after_each_success(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let first = ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.advance_cursor(collection(1), "c", SeqId(0))?;
    let (consume, mut seen) = Seen::consumer();
    let options = ConsumeOptions::new().from_cursor("c").advance_cursor(true);
    let id = ingest.subscribe(collection(1), options, consume)?;
    ensure_eq!(seq_ids(&seen.take(5)?), first, "SeqIds delivered");
    let second = ingest.submit_embeddings(collection(1), &records(5..8))?;
    ensure_eq!(seq_ids(&seen.take(3)?), second, "SeqIds delivered then");
    // The cursor moves after the call; once it stands at the end there is nothing behind it.
    until(&*ingest, &id, "a cursor at the end", |_| {
        ingest.backlog(collection(1), "c").is_ok_and(|n| n == 0)
    })?;
    let cursor =
        at(&*ingest, 1, "c")?.map(|c| (c.seq_id >= *second.last().unwrap_or(&SeqId(0)), c.log_offset));
    ensure_eq!(cursor, Some((true, LogOffset(8))), "the cursor: not before the last record, log_offset");
    Ok(())
}

pub(super) fn a_cursor_is_not_advanced_over_records_that_failed(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..4))?;
    ingest.advance_cursor(collection(1), "c", SeqId(0))?;
    let consume = |records: &[LogRecord]| match records.iter().find(|r| r.seq_id >= SeqId(3)) {
        Some(_) => Err("stuck".into()),
        None => Ok(()),
    };
    let options = ConsumeOptions::new()
        .from_cursor("c")
        .advance_cursor(true)
        .max_batch(2, 4 << 20)
        .max_tries(3)
        .pauses(Duration::from_millis(1), Duration::from_millis(1));
    let id = ingest.subscribe(collection(1), options, Box::new(consume))?;
    until(&*ingest, &id, "a subscription that has stopped", |status| {
        status.is_some_and(|s| s.state == SubscriptionState::Stopped)
    })?;
    ensure_eq!(at(&*ingest, 1, "c")?.map(|c| c.seq_id), Some(SeqId(2)), "the cursor");
    Ok(())
}

pub(super) fn cursors_are_there_after_a_restart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    ingest.advance_cursor(collection(1), "kept", SeqId(2))?;
    ingest.advance_cursor(collection(1), "kept", SeqId(4))?;
    ingest.advance_cursor(collection(1), "back", SeqId(5))?;
    ingest.rollback_cursor(collection(1), "back", SeqId(1))?;
    ingest.advance_cursor(collection(1), "gone", SeqId(3))?;
    ingest.drop_cursor(collection(1), "gone")?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    let mut found: Vec<_> =
        ingest.cursors(collection(1))?.into_iter().map(|c| (c.name, c.seq_id.0)).collect();
    found.sort_unstable();
    ensure_eq!(found, [("back".to_owned(), 1), ("kept".to_owned(), 4)], "cursors after the restart");
    Ok(())
}

pub(super) fn a_consumer_goes_on_from_its_cursor_after_a_restart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    let options = || ConsumeOptions::new().from_cursor("c").advance_cursor(true);
    ingest.advance_cursor(collection(1), "c", SeqId(0))?;
    let (consume, mut seen) = Seen::consumer();
    let id = ingest.subscribe(collection(1), options(), consume)?;
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    let mut found = seen.take(5)?;
    until(&*ingest, &id, "a cursor at the end", |_| {
        ingest.backlog(collection(1), "c").is_ok_and(|n| n == 0)
    })?;
    ingest.unsubscribe(&id)?;
    ingest.submit_embeddings(collection(1), &records(5..8))?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), options(), consume)?;
    ingest.submit_embedding(collection(1), &record(8))?;
    found.extend(seen.take(4)?);
    ensure_eq!(found, replay(&*ingest, collection(1), SeqId(0))?, "records delivered over the restart");
    Ok(())
}

pub(super) fn the_backlog_counts_what_is_behind_a_cursor(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ensure_eq!(ingest.backlog(collection(1), "c")?, 0, "records of an empty collection");
    for n in 0..5 {
        ingest.submit_embeddings(collection(n % 2), &records(0..3))?;
    }
    // Collection 1 has SeqIds 4 to 6 and 10 to 12.
    ensure_eq!(ingest.backlog(collection(1), "c")?, 6, "records without a cursor");
    for (seq_id, behind) in [(0, 6), (3, 6), (4, 5), (8, 3), (11, 1), (12, 0), (15, 0)] {
        ingest.advance_cursor(collection(1), "c", SeqId(seq_id))?;
        ensure_eq!(ingest.backlog(collection(1), "c")?, behind, "records behind SeqId {seq_id}");
    }
    ingest.submit_embedding(collection(1), &record(9))?;
    ensure_eq!(ingest.backlog(collection(1), "c")?, 1, "records behind it after one more");
    Ok(())
}

pub(super) fn backlogs_name_collections_with_at_least_so_many_records(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 1..=5 {
        ingest.submit_embeddings(collection(n), &records(0..n))?;
    }
    let newest = ingest.status()?.newest_seq_id;
    ingest.advance_cursor(collection(5), "c", newest)?;
    ingest.advance_cursor(collection(4), "other", newest)?;
    let due = [(3, vec![(collection(3), 3), (collection(4), 4)]), (4, vec![(collection(4), 4)]), (6, vec![])];
    for (at_least, due) in due {
        let mut found = ingest.backlogs("c", at_least)?;
        found.sort_unstable_by_key(|backlog| backlog.stream);
        for backlog in &found {
            let first = replay(&*ingest, backlog.stream, SeqId(0))?.first().map(|record| record.unix_micros);
            ensure_eq!(Some(backlog.first_unix_micros), first, "the time of the first of {}", backlog.stream);
        }
        let found: Vec<_> = found.into_iter().map(|backlog| (backlog.stream, backlog.records)).collect();
        ensure_eq!(found, due, "collections with at least {at_least} records");
    }
    Ok(())
}
