//! What is dropped: never what a cursor has not passed, and never another collection's.

use super::ensure::{ensure, ensure_eq, ensure_refused};
use super::samples::{collection, record, records, replay, seq_ids};
use super::seen::{Fallible, Seen, until};
use super::{Backend, Checked};
use crate::error::Error;
use crate::hub::SubscriptionState;
use crate::ids::{LogOffset, SeqId};
use crate::ingest::{ConsumeOptions, Ingest};
use crate::log::PurgePoint;

fn point(seq_id: u64, log_offset: u64) -> PurgePoint {
    PurgePoint { seq_id: SeqId(seq_id), log_offset: LogOffset(log_offset) }
}

pub(super) fn without_a_cursor_purge_log_drops_nothing(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..5))?;
    // The cursor of another collection is none of this one's.
    ingest.advance_cursor(collection(2), "c", SeqId(5))?;
    ensure_eq!(ingest.purge_log(collection(1))?, None, "the purge point");
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 5, "records left");
    Ok(())
}

pub(super) fn purge_log_drops_what_every_cursor_has_passed(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.advance_cursor(collection(1), "fast", SeqId(8))?;
    ingest.advance_cursor(collection(1), "slow", SeqId(3))?;
    ensure_eq!(ingest.purge_log(collection(1))?, Some(point(3, 3)), "the purge point");
    let left = replay(&*ingest, collection(1), SeqId(3))?;
    ensure_eq!(seq_ids(&left), (4..=10).map(SeqId).collect::<Vec<_>>(), "SeqIds left");
    ensure_eq!(left.first().map(|r| r.log_offset), Some(LogOffset(4)), "the first log_offset left");
    ensure_eq!(ingest.backlog(collection(1), "nobody")?, 7, "records there are");
    ingest.drop_cursor(collection(1), "slow")?;
    ensure_eq!(ingest.purge_log(collection(1))?, Some(point(8, 8)), "the purge point without the slow one");
    Ok(())
}

pub(super) fn a_purge_never_passes_a_cursor(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.advance_cursor(collection(1), "c", SeqId(4))?;
    ensure_refused!(
        ingest.purge_upto(collection(1), SeqId(5)),
        Error::Held { cursor, at, asked, .. } if (cursor.as_str(), at, asked) == ("c", SeqId(4), SeqId(5)),
        "a purge beyond a cursor"
    );
    ensure_eq!(replay(&*ingest, collection(1), SeqId(0))?.len(), 10, "records left");
    ensure_eq!(ingest.purge_upto(collection(1), SeqId(4))?, point(4, 4), "the purge point");
    ensure_eq!(replay(&*ingest, collection(1), SeqId(4))?.len(), 6, "records left then");
    Ok(())
}

/// A subscription below the purge point: refused, or stopped with the error kept, and called with nothing.
fn ensure_told(ingest: &dyn Ingest, start: SeqId, upto: PurgePoint) -> Checked {
    let told = told(ingest, start)?;
    let named = told.contains("purged") && told.contains(&upto.seq_id.to_string());
    ensure!(named, "expected an error that names the purge point {upto:?}, found {told:?}");
    Ok(())
}

fn told(ingest: &dyn Ingest, start: SeqId) -> Fallible<String> {
    let (consume, mut seen) = Seen::consumer();
    let told = match ingest.subscribe(collection(1), ConsumeOptions::new().start(start), consume) {
        Err(refused @ Error::Purged { .. }) => refused.to_string(),
        Err(other) => return Err(format!("expected Purged, found {other:?} ({other})").into()),
        Ok(id) => {
            until(ingest, &id, "a subscription that has stopped", |status| {
                status.is_some_and(|s| s.state == SubscriptionState::Stopped)
            })?;
            ingest.subscription(&id)?.and_then(|s| s.last_error).unwrap_or_default()
        }
    };
    ensure_eq!(seen.so_far(), [], "records delivered to who begins below the purge point");
    Ok(told)
}

pub(super) fn a_start_below_the_purge_point_is_told_so(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.purge_upto(collection(1), SeqId(4))?;
    for start in [0, 1, 3] {
        ensure_told(&*ingest, SeqId(start), point(4, 4))?;
    }
    let (consume, mut seen) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new().start(SeqId(4)), consume)?;
    ensure_eq!(seq_ids(&seen.take(6)?), (5..=10).map(SeqId).collect::<Vec<_>>(), "SeqIds behind the point");
    Ok(())
}

pub(super) fn other_collections_keep_their_records(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    for n in 0..20 {
        ingest.submit_embeddings(collection(n % 2), &records(n..n + 2))?;
    }
    let before = replay(&*ingest, collection(0), SeqId(0))?;
    ingest.purge_upto(collection(1), SeqId(30))?;
    ensure_eq!(replay(&*ingest, collection(0), SeqId(0))?, before, "records of the other after a purge");
    ingest.delete_log(collection(1))?;
    ensure_eq!(replay(&*ingest, collection(0), SeqId(0))?, before, "records of the other after a delete");
    Ok(())
}

pub(super) fn a_cursor_is_not_set_back_below_the_purge_point(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.advance_cursor(collection(1), "c", SeqId(6))?;
    ingest.purge_log(collection(1))?;
    ensure_refused!(
        ingest.rollback_cursor(collection(1), "c", SeqId(5)),
        Error::Purged { seq_id: SeqId(6), .. },
        "a rollback below the purge point"
    );
    ensure_refused!(
        ingest.advance_cursor(collection(1), "new", SeqId(2)),
        Error::Purged { seq_id: SeqId(6), .. },
        "a new cursor below the purge point"
    );
    ensure_eq!(ingest.backlog(collection(1), "c")?, 4, "records behind the cursor");
    Ok(())
}

pub(super) fn a_deleted_collection_is_empty_and_has_no_cursors(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.advance_cursor(collection(1), "c", SeqId(2))?;
    // A cursor holds a purge; it does not hold a delete.
    ingest.delete_log(collection(1))?;
    ensure_eq!(ingest.cursors(collection(1))?, [], "cursors");
    ensure_eq!(ingest.backlog(collection(1), "c")?, 0, "records");
    let told = told(&*ingest, SeqId(0))?;
    ensure!(told.contains("purged"), "expected an error that says that it was purged, found {told:?}");
    ingest.delete_log(collection(1))?;
    ingest.delete_log(collection(7))?;
    Ok(())
}

pub(super) fn a_deleted_collection_can_be_written_to_again(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.delete_log(collection(1))?;
    let start = ingest.status()?.newest_seq_id;
    let (consume, mut live) = Seen::consumer();
    ingest.subscribe(collection(1), ConsumeOptions::new(), consume)?;
    let returned = ingest.submit_embeddings(collection(1), &[record(1), record(2)])?;
    ensure_eq!(seq_ids(&live.take(2)?), returned, "SeqIds delivered");
    let replayed = replay(&*ingest, collection(1), start)?;
    ensure_eq!(seq_ids(&replayed), returned, "SeqIds replayed");
    ensure_eq!(ingest.backlog(collection(1), "c")?, 2, "records");
    Ok(())
}

pub(super) fn what_was_purged_stays_purged_after_a_restart(backend: &mut dyn Backend) -> Checked {
    let ingest = backend.ingest();
    ingest.submit_embeddings(collection(1), &records(0..10))?;
    ingest.submit_embeddings(collection(2), &records(0..10))?;
    ingest.purge_upto(collection(1), SeqId(4))?;
    ingest.delete_log(collection(2))?;
    drop(ingest);
    let Some(ingest) = backend.restart()? else { return Ok(()) };
    ensure_told(&*ingest, SeqId(0), point(4, 4))?;
    ensure_eq!(replay(&*ingest, collection(1), SeqId(4))?.len(), 6, "records left");
    ensure_eq!(ingest.backlog(collection(2), "c")?, 0, "records of the deleted collection");
    Ok(())
}
