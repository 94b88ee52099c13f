//! The durable cursor of a subscription, moved behind what its callback took.

use super::Core;
use super::board::Over;
use super::run::Outcome;
use super::subscription::{Subscription, Work};
use crate::error::{Error, Result};
use crate::ids::SeqId;

/// Moves the cursor to what was taken. Never before it was: the cursor claims no more than is true.
pub(super) fn settle(core: &Core, subscription: &Subscription, work: &mut Work) -> Result<(), Outcome> {
    let (Some(owed), Some((name, purge))) = (work.owed, &subscription.cursor) else { return Ok(()) };
    if let Err(error) = advance(core, subscription, name, owed) {
        return Err(match error {
            Error::Closed => Outcome::Over(Over::Closed),
            error => Outcome::Failed(format!("the cursor {name:?}: {error}")),
        });
    }
    work.owed = None;
    subscription.progress.lock().in_a_row = 0;
    if *purge && let Err(error) = purge_passed(core, subscription) {
        subscription.note(format!("the purge behind cursor {name:?}: {error}"));
    }
    Ok(())
}

fn advance(core: &Core, subscription: &Subscription, name: &str, owed: SeqId) -> Result<()> {
    let stream = subscription.stream;
    let ahead = || core.log.cursor(stream, name).is_some_and(|cursor| cursor.seq_id >= owed);
    match core.log.advance_cursor(stream, name, owed) {
        Err(Error::Invalid(_)) if ahead() => Ok(()),
        moved => moved.map(drop),
    }
}

/// Purges what all cursors of the stream have passed, if that is worth it.
fn purge_passed(core: &Core, subscription: &Subscription) -> Result<()> {
    let stream = subscription.stream;
    let least = core.log.cursors_of(stream).into_iter().map(|cursor| cursor.seq_id).min();
    match least {
        Some(least) if core.log.purge_pays(stream, least) => core.log.purge_passed(stream).map(drop),
        _ => Ok(()),
    }
}
