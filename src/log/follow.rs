//! A log opened for reading only, beside the one who writes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Inner;
use super::directory::Survey;
use super::replay::{Replay, Scan, Verdict};
use crate::error::Result;
use crate::segment::Segment;

const POLL: Duration = Duration::from_millis(10);

impl Inner {
    /// Looks for what was committed since the last look; true if anything was.
    pub(super) fn refresh(&self, verdict: Verdict) -> Result<bool> {
        let Some(follow) = &self.follow else { return Ok(false) };
        let mut start = follow.lock();
        let survey = Survey::of(self.home.storage.as_ref())?;
        let replay = Scan::new(&self.home, &survey.segments, None, verdict, *start).run(*start)?;
        let visible = replay.durable.max(replay.committed);
        let ends = ends(&replay, visible);
        let Some((base, end_seq, end_position)) = ends.last().copied() else { return Ok(false) };
        self.show(&ends);
        let more = end_seq > self.committed.load(Ordering::Acquire) + 1;
        start.clean &= base == start.base && !more;
        (start.base, start.position, start.next_seq) = (base, end_position, end_seq);
        (start.durable, start.last_micros) = (end_seq - 1, replay.last_micros);
        self.durable.store(replay.durable.min(end_seq - 1), Ordering::Release);
        self.committed.store(end_seq - 1, Ordering::Release);
        self.tail.lock().next_seq = end_seq;
        Ok(more)
    }

    /// Extends the list of segments to what is visible now.
    fn show(&self, ends: &[(u64, u64, u64)]) {
        let mut list: Vec<Arc<Segment>> = self.segments().to_vec();
        for (base, end_seq, end_position) in ends {
            // Of an empty one the file may have been replaced since it was opened.
            list.retain(|held| held.base() != *base || held.end_seq() > held.base());
            if let Some(held) = list.iter().find(|held| held.base() == *base) {
                held.publish(*end_seq, *end_position);
            } else {
                let segment = Segment::sealed(&self.home, *base, *end_seq);
                segment.publish(*end_seq, *end_position);
                list.push(Arc::new(segment));
            }
        }
        *self.segments.write() = Arc::new(list);
    }

    pub(super) fn poll_for_more(&self, timeout: Option<Duration>, more: impl Fn() -> bool) -> Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.refresh(Verdict::Peek)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if more() || left == Some(Duration::ZERO) {
                return Ok(());
            }
            std::thread::sleep(left.map_or(POLL, |left| left.min(POLL)));
        }
    }
}

/// Base, end SeqId and end position of each scanned segment, up to what is visible.
fn ends(replay: &Replay, visible: u64) -> Vec<(u64, u64, u64)> {
    let hidden = replay.doubts.iter().find(|doubt| doubt.next_seq - 1 > visible);
    let mut ends = Vec::new();
    for (k, scanned) in replay.scanned.iter().enumerate() {
        match hidden {
            Some(doubt) if doubt.segment < k => break,
            Some(doubt) if doubt.segment == k => ends.push((scanned.base, doubt.first_seq, doubt.position)),
            _ => ends.push((scanned.base, scanned.end_seq, scanned.end_position)),
        }
    }
    ends
}
