//! Those who want to know which streams got records.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Log;
use crate::ids::StreamId;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Told by the thread that committed, after readers see the records and after those who waited were
/// told. It works on everybody's time: it must be quick, wait for nobody and write nothing.
pub(crate) trait CommitListener: Send + Sync {
    /// A batch of this stream was committed. Said again for each batch.
    fn committed(&self, stream: StreamId);

    /// The newest committed SeqId moved, with records of whatever stream or with none. Said once for
    /// what was committed together.
    fn moved(&self);

    /// The log was closed.
    fn closed(&self);
}

pub(super) struct Listeners {
    any: AtomicBool,
    /// Replaced as a whole, so that nobody is called under the lock.
    list: RwLock<Arc<[Weak<dyn CommitListener>]>>,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners { any: AtomicBool::new(false), list: RwLock::new(Arc::new([])) }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("any", &self.any).finish_non_exhaustive()
    }
}

impl Listeners {
    /// The streams of the batches that were committed together, in their order.
    pub(super) fn committed(&self, streams: impl Iterator<Item = StreamId> + Clone) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let list = Arc::clone(&self.list.read());
        for listener in list.iter().filter_map(Weak::upgrade) {
            let mut last = None;
            for stream in streams.clone() {
                if last.replace(stream) != Some(stream) {
                    listener.committed(stream);
                }
            }
            listener.moved();
        }
    }

    pub(super) fn closed(&self) {
        let list = Arc::clone(&self.list.read());
        for listener in list.iter().filter_map(Weak::upgrade) {
            listener.closed();
        }
    }
}

impl Log {
    /// Tells `listener` of every commit from now on, for as long as it lives. A log opened for reading
    /// only commits nothing: there, [`refresh`](Log::refresh) finds what is new.
    pub(crate) fn listen(&self, listener: Weak<dyn CommitListener>) {
        let listeners = &self.inner().listeners;
        let mut list = listeners.list.write();
        let live = list.iter().filter(|held| held.strong_count() > 0).cloned();
        *list = live.chain([listener]).collect();
        listeners.any.store(true, Ordering::Release);
    }

    /// True for a log that was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner().follow.is_some()
    }
}
