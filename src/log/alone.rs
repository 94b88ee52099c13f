//! A batch by itself, where nobody waits for a sync: whoever appends it stores it, straight into the
//! segment. What a group costs beside the copy, a second copy and a hand-over, is most of a small append.

use super::Inner;
use super::pending::Appended;
use super::tail::{Stamp, Tail};
use super::write::{Active, Failure};
use crate::batch::Batch;
use crate::error::Result;
use crate::format::frame;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::options::Durability;

impl Inner {
    /// Commits a batch whose limits and terms were checked; `None` if it has to go with a group.
    pub(super) fn append_alone(
        &self,
        tail: &mut Tail,
        stream: StreamId,
        batch: &Batch,
        stamp: Stamp,
    ) -> Option<Result<Appended>> {
        let len = batch.frame_bytes();
        let alone = self.options.durability != Durability::Sync && !tail.leading && tail.group.is_empty();
        let spot = tail.spot.filter(|spot| spot.position + len as u64 <= spot.capacity)?;
        if !alone || tail.check_process().is_err() {
            return None;
        }
        tail.active.as_ref().filter(|active| active.position == spot.position)?;
        let before = tail.streams.find(stream.as_bytes());
        let header = match tail.batch_header(stream, batch, before, stamp) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        tail.head.clear();
        let seed = frame::seed(spot.salt, spot.position);
        header.encode_into(batch.table().iter().copied(), seed, &mut tail.head);
        let stored = tail.active.as_mut().map(|active| active.store(&tail.head, batch.body()))?;
        if let Err(failure) = stored {
            let behind = self.take_back(tail, &failure, None);
            behind.leave(0, Some(failure.error.clone()));
            return Some(Err(failure.error));
        }
        self.publish(tail.active.as_ref()?, header.next_seq());
        self.count(u64::from(header.count), len as u64);
        if let Some(spot) = &mut tail.spot {
            spot.position += len as u64;
        }
        tail.next_seq = header.next_seq();
        tail.streams.advance_from(
            before,
            stream.as_bytes(),
            header.first_log_offset,
            header.first_seq,
            u64::from(header.count),
        );
        Some(Ok(Appended {
            first_seq_id: SeqId(header.first_seq),
            first_log_offset: LogOffset(header.first_log_offset),
            count: header.count,
        }))
    }
}

impl Active {
    /// The head last: who follows from beside us takes a frame for whole once it stands there.
    fn store(&mut self, head: &[u8], body: &[u8]) -> Result<(), Failure> {
        let stored =
            self.put(body, self.position + head.len() as u64).and_then(|()| self.put(head, self.position));
        stored.map_err(|e| self.write_failed(e, head.len(), false))?;
        self.position += (head.len() + body.len()) as u64;
        Ok(())
    }
}
