//! What is live in each segment, and what keeps it there.

use super::Log;
use crate::error::Result;
use crate::ids::StreamId;

/// How much of a segment is still wanted. See [`Log::segment_life`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentLife {
    /// The file.
    pub name: String,
    /// Bytes of batches with at least one record that is not purged, and of what the log wrote about
    /// itself behind them.
    pub live_bytes: u64,
    /// Bytes of all others.
    pub dead_bytes: u64,
    /// Streams that have a record here which is not purged.
    pub live_streams: u64,
    /// One of them: the segment stays at least as long as it does. `None` if nothing is live: then the
    /// segment goes with the next purge, or when it is no longer the last one.
    pub holder: Option<Holder>,
}

/// What keeps a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// A stream with live records in it.
    pub stream: StreamId,
    /// The stream's cursor that stands furthest back; `None` if it has none, so that nothing of it is
    /// purged but by name.
    pub cursor: Option<String>,
}

impl Log {
    /// What is live in each segment, oldest first. Costs a look at each frame's place in the index.
    /// Damage in the way counts as live.
    ///
    /// # Errors
    /// As reading.
    pub fn segment_life(&self) -> Result<Vec<SegmentLife>> {
        let inner = self.inner();
        inner.check_open()?;
        let mut all = Vec::new();
        for segment in inner.segments().iter().filter(|segment| !segment.is_empty() && !segment.is_freed()) {
            let life = segment.life(|stream| inner.registry.read().purged(stream))?;
            let registry = inner.registry.read();
            let holder = life.holder.map(|stream| Holder {
                stream: StreamId::from_bytes(stream),
                cursor: registry.least_cursor(&stream).map(|(name, _)| name.to_owned()),
            });
            all.push(SegmentLife {
                name: segment.name().to_owned(),
                live_bytes: life.live_bytes,
                dead_bytes: life.dead_bytes,
                live_streams: life.live_streams,
                holder,
            });
        }
        Ok(all)
    }
}
