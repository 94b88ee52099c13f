//! What can be asked of a subscription.

use std::ops::Bound;
use std::sync::Arc;

use super::Core;
use super::board::{Over, Phase};
use super::subscription::{Progress, Subscription, SubscriptionId};
use crate::error::Result;
use crate::ids::{LogOffset, SeqId, StreamId};

/// What a subscription is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// It has not come to the newest record since it began or fell behind.
    Backfilling,
    /// It is called with what is committed, as it is committed.
    Tailing,
    /// Its callback failed; the same records are offered again after a pause.
    Retrying,
    /// Its end is reached.
    Ended,
    /// It gave up: the callback failed too often, or records it was to deliver are damaged or gone.
    Stopped,
    /// The hub or the log was closed.
    Closed,
}

/// How a subscription stands at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscriptionStatus {
    /// Its name.
    pub id: SubscriptionId,
    /// Its stream.
    pub stream: StreamId,
    /// What it is at.
    pub state: SubscriptionState,
    /// Its position: everything of its stream up to here was taken.
    pub seq_id: SeqId,
    /// The same as a log_offset; 0 before the first record.
    pub log_offset: LogOffset,
    /// Records of its stream that are committed, within its range, and not taken yet.
    pub lag_records: u64,
    /// Bytes of their payloads. To know this they are read: asking costs as much as reading what
    /// the subscription lags behind, and nothing if it does not.
    pub lag_bytes: u64,
    /// Records that were taken, since it was made.
    pub delivered: u64,
    /// Calls that failed, and looks into the log that did.
    pub failures: u64,
    /// Why the last of them failed.
    pub last_error: Option<String>,
}

impl Core {
    pub(super) fn status(&self, id: &SubscriptionId) -> Option<SubscriptionStatus> {
        let (subscription, phase) = {
            let board = self.switchboard.board.lock();
            let seat = board.seats.get(board.names.get(id)?)?;
            (Arc::clone(&seat.subscription), seat.phase)
        };
        Some(self.status_of(&subscription, phase))
    }

    pub(super) fn statuses(&self) -> Vec<SubscriptionStatus> {
        let mut seats: Vec<_> = {
            let board = self.switchboard.board.lock();
            board.seats.values().map(|seat| (Arc::clone(&seat.subscription), seat.phase)).collect()
        };
        seats.sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        seats.iter().map(|(subscription, phase)| self.status_of(subscription, *phase)).collect()
    }

    fn status_of(&self, subscription: &Subscription, phase: Phase) -> SubscriptionStatus {
        let (progress, seq_id) = {
            let progress = subscription.progress.lock();
            (progress.clone(), subscription.position())
        };
        let lag = self.lag(subscription, &progress, seq_id);
        SubscriptionStatus {
            id: subscription.id.clone(),
            stream: subscription.stream,
            state: state(phase, &progress),
            seq_id,
            log_offset: lag.log_offset,
            lag_records: lag.records,
            lag_bytes: lag.bytes,
            delivered: progress.delivered,
            failures: progress.failures,
            last_error: progress.last_error,
        }
    }

    /// What lies between a position and the end of the range, or of the log.
    fn lag(&self, subscription: &Subscription, progress: &Progress, seq_id: SeqId) -> Lag {
        let newest = match self.log.is_read_only() {
            true => self.log.committed_stream(subscription.stream).ok().flatten(),
            false => self.log.stream(subscription.stream),
        };
        let next = newest.map_or(LogOffset(1), |stats| stats.next_log_offset);
        let ended = subscription.end.is_some_and(|end| seq_id >= end);
        if ended || newest.is_none_or(|stats| stats.last_seq_id <= seq_id) {
            let log_offset = progress.log_offset.unwrap_or(LogOffset(next.0.saturating_sub(1)));
            return Lag { log_offset, records: 0, bytes: 0 };
        }
        let mut lag = Lag { log_offset: progress.log_offset.unwrap_or_default(), records: 0, bytes: 0 };
        if self.walk(subscription, progress, seq_id, &mut lag).is_err() {
            // As much as can be said without reading.
            lag.records = lag.records.max(next.0.saturating_sub(1).saturating_sub(lag.log_offset.0));
        }
        lag
    }

    fn walk(
        &self,
        subscription: &Subscription,
        progress: &Progress,
        seq_id: SeqId,
        lag: &mut Lag,
    ) -> Result<()> {
        let end = subscription.end.map_or(Bound::Unbounded, Bound::Included);
        let range = (Bound::Excluded(seq_id), end);
        let committed = self.log.committed();
        for record in self.log.stream_reader_by_seq_id(subscription.stream, range)? {
            let record = record?;
            if lag.records == 0 && progress.log_offset.is_none() {
                lag.log_offset = LogOffset(record.log_offset.0.saturating_sub(1));
            }
            // What is committed meanwhile is another moment's, and there might be no end of it.
            if record.seq_id > committed {
                break;
            }
            lag.records += 1;
            lag.bytes += record.payload.len() as u64;
        }
        Ok(())
    }
}

struct Lag {
    log_offset: LogOffset,
    records: u64,
    bytes: u64,
}

fn state(phase: Phase, progress: &Progress) -> SubscriptionState {
    match phase {
        Phase::Over(Over::Ended) => SubscriptionState::Ended,
        Phase::Over(Over::Stopped) => SubscriptionState::Stopped,
        Phase::Over(Over::Closed | Over::Gone) => SubscriptionState::Closed,
        Phase::Pausing(_) => SubscriptionState::Retrying,
        _ if progress.in_a_row > 0 => SubscriptionState::Retrying,
        _ if progress.tailing => SubscriptionState::Tailing,
        _ => SubscriptionState::Backfilling,
    }
}
