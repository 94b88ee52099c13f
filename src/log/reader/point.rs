//! One record by its SeqId.

use super::Record;
use crate::error::{Error, Result};
use crate::format::control::Point;
use crate::format::frame::Kind;
use crate::ids::{LogOffset, SeqId, StreamId};
use crate::log::Inner;
use crate::segment::View;
use crate::sync::atomic::Ordering;

impl Inner {
    pub(in crate::log) fn record(&self, seq_id: SeqId) -> Result<Option<Record>> {
        let segments = self.segments();
        let k = segments.partition_point(|segment| segment.base() <= seq_id.0);
        let Some(segment) = k.checked_sub(1).and_then(|k| segments.get(k)) else {
            let first = segments.first().map_or(1, |segment| segment.base());
            let purged = seq_id.0 > 0 && seq_id.0 < first;
            return if purged { Err(Error::Gone { first: seq_id, next: SeqId(first) }) } else { Ok(None) };
        };
        if seq_id.0 >= segment.end_seq() {
            let next = segments.get(k).map(|next| SeqId(next.base()));
            return next.map_or(Ok(None), |next| Err(Error::Gone { first: seq_id, next }));
        }
        if segment.is_freed() {
            return Err(Error::Gone { first: seq_id, next: SeqId(segment.end_seq()) });
        }
        match segment.opened() {
            Err(error) if error.is_not_found() && self.is_freed(segment)? => {
                return Err(Error::Gone { first: seq_id, next: SeqId(segment.end_seq()) });
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let mut view = View::scattered();
        let frame = segment.frame_of(&mut view, seq_id.0)?;
        let header = &frame.header;
        let stream = StreamId::from_bytes(header.stream);
        if header.kind != Kind::Batch {
            return Ok(None);
        }
        let never = self.purges.load(Ordering::Acquire) == 0;
        let purged = if never { Point::default() } else { self.purged(stream) };
        if seq_id.0 <= purged.seq {
            let (seq_id, log_offset) = (SeqId(purged.seq), LogOffset(purged.log_offset));
            return Err(Error::Purged { stream, seq_id, log_offset });
        }
        let k = seq_id.0 - header.first_seq;
        let (start, len) = view
            .nth_record(&frame, k as usize)
            .map_err(|invalid| invalid.in_file(segment.name(), frame.position))?;
        Ok(Some(Record {
            seq_id,
            stream,
            log_offset: LogOffset(header.first_log_offset + k),
            unix_micros: header.unix_micros,
            payload: view.into_part(&frame, start, len),
        }))
    }

    /// A SeqId before which the stream has nothing.
    pub(super) fn first_seq_hint(&self, stream: StreamId) -> u64 {
        let hints = self.hints.read();
        hints.table.find(stream.as_bytes()).map_or(hints.next_seq, |state| state.first_seq)
    }
}
