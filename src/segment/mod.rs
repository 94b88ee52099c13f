//! Frames in one file.

pub(crate) mod heads;
mod life;
mod lookup;
mod memory_index;
pub(crate) mod names;
pub(crate) mod scan;
mod view;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::segment_header::SegmentHeader;
use crate::options::ReadMode;
use crate::storage::{Access, Mapping, Storage, StorageFile};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

pub(crate) use lookup::{SegmentIndex, StreamFrames};
pub(crate) use memory_index::MemoryIndex;
pub(crate) use view::{Frame, View};

/// What segments share: the log they belong to and where it lives.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) storage: Arc<dyn Storage>,
    log_id: OnceLock<[u8; 16]>,
    pub(crate) read_mode: ReadMode,
}

impl Home {
    /// `log_id` is `None` for who only reads a log in which nothing was written yet.
    pub(crate) fn new(storage: Arc<dyn Storage>, log_id: Option<[u8; 16]>, read_mode: ReadMode) -> Arc<Self> {
        Arc::new(Home { storage, log_id: log_id.map_or_else(OnceLock::new, OnceLock::from), read_mode })
    }

    /// The id of the log; of the first segment of it that was seen, if it was not known before.
    pub(crate) fn log_id(&self, seen: &[u8; 16]) -> [u8; 16] {
        *self.log_id.get_or_init(|| *seen)
    }

    /// The id in what is written, by the writer, who knows it from the start.
    pub(crate) fn own_log_id(&self) -> [u8; 16] {
        self.log_id.get().copied().unwrap_or_default()
    }
}

/// A segment as readers see it. A sealed one is opened when it is first asked for.
///
/// `base <= end_seq`, and the frames below `end_position` hold exactly the committed records in
/// between. `end_position` moves before `end_seq`, so who has seen the second may use the first.
#[derive(Debug)]
pub(crate) struct Segment {
    home: Arc<Home>,
    name: String,
    base: u64,
    end_seq: AtomicU64,
    end_position: AtomicU64,
    opened: OnceLock<Opened>,
    /// Held while the file is being opened.
    opening: Mutex<()>,
    /// Everything in it was purged: its file is gone, or will be in a moment.
    freed: AtomicBool,
    live: Mutex<life::Live>,
    /// The committed bytes as seen so far, when mapped.
    view: RwLock<Bytes>,
    /// All of them, of a segment whose index is in its file.
    whole: OnceLock<Bytes>,
    index: RwLock<SegmentIndex>,
    /// The one in its file, checked: what `index` holds counts for nothing then.
    stored: OnceLock<SegmentIndex>,
}

/// The file behind a segment, its header checked.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) header: SegmentHeader,
    mapping: Option<Mapping>,
}

impl Segment {
    /// A segment whose end is known only by SeqId; its file is not touched.
    pub(crate) fn sealed(home: &Arc<Home>, base: u64, end_seq: u64) -> Self {
        Self::new(home, base, end_seq, u64::MAX)
    }

    /// A segment whose file is open.
    pub(crate) fn open(
        home: &Arc<Home>,
        file: Arc<dyn StorageFile>,
        header: SegmentHeader,
        end_seq: u64,
        end_position: u64,
    ) -> Result<Self> {
        let segment = Self::new(home, header.base, end_seq, end_position);
        let opened = segment.map(file, header)?;
        let _ = segment.opened.set(opened);
        *segment.index.write() = SegmentIndex::Built(MemoryIndex::new(header.base));
        Ok(segment)
    }

    fn new(home: &Arc<Home>, base: u64, end_seq: u64, end_position: u64) -> Self {
        Segment {
            home: Arc::clone(home),
            name: names::segment(base),
            base,
            end_seq: AtomicU64::new(end_seq),
            end_position: AtomicU64::new(end_position),
            opened: OnceLock::new(),
            opening: Mutex::new(()),
            freed: AtomicBool::new(false),
            live: Mutex::default(),
            view: RwLock::new(Bytes::new()),
            whole: OnceLock::new(),
            index: RwLock::new(SegmentIndex::Unread),
            stored: OnceLock::new(),
        }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The SeqId after the last committed one in here.
    pub(crate) fn end_seq(&self) -> u64 {
        self.end_seq.load(Ordering::Acquire)
    }

    /// Where the committed frames end; `None` for a segment of which that was never looked up.
    pub(crate) fn end_position(&self) -> Option<u64> {
        Some(self.end_position.load(Ordering::Acquire)).filter(|end| *end != u64::MAX)
    }

    /// Shows readers more of the segment.
    pub(crate) fn publish(&self, end_seq: u64, end_position: u64) {
        self.end_position.store(end_position, Ordering::Release);
        self.end_seq.store(end_seq, Ordering::Release);
    }

    /// The file, opened and its header checked.
    #[inline]
    pub(crate) fn opened(&self) -> Result<&Opened> {
        self.opened.get().map_or_else(|| self.open_now(), Ok)
    }

    #[cold]
    fn open_now(&self) -> Result<&Opened> {
        let _one_at_a_time = self.opening.lock();
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let file =
            self.home.storage.open(&self.name, Access::Read).map_err(|e| Error::io("open", &self.name, e))?;
        let header = scan::read_header(file.as_ref(), &self.name)?;
        check_identity(&header, &self.home.log_id(&header.log_id), self.base, &self.name)?;
        let opened = self.map(file, header)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn map(&self, file: Arc<dyn StorageFile>, header: SegmentHeader) -> Result<Opened> {
        let mapping = match self.home.read_mode {
            ReadMode::Mapped => {
                let size = file.size().map_err(|e| Error::io("stat", &self.name, e))?;
                file.map(size).map_err(|e| Error::io("map", &self.name, e))?
            }
            ReadMode::Positioned => None,
        };
        Ok(Opened { file, header, mapping })
    }

    /// An upper bound for positions of frames.
    fn limit(&self, opened: &Opened) -> Result<u64> {
        match (self.end_position(), &opened.mapping) {
            (Some(end), _) => Ok(end),
            (None, Some(mapping)) => Ok(mapping.len() as u64),
            (None, None) => opened.file.size().map_err(|e| Error::io("stat", &self.name, e)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end_seq() == self.base && self.end_position().is_none_or(|end| end <= DATA_START)
    }
}

/// A segment belongs to this log and is what its name says.
pub(crate) fn check_identity(header: &SegmentHeader, log_id: &[u8; 16], base: u64, name: &str) -> Result<()> {
    if header.log_id != *log_id {
        return Err(Error::corrupt(
            name,
            16,
            format!("a segment of log {}", hex(log_id)),
            format!("one of log {}; was the file copied here from another log?", hex(&header.log_id)),
        ));
    }
    if header.base != base {
        return Err(Error::corrupt(
            name,
            32,
            format!("base SeqId {base}, as the file is named"),
            format!("{}; was the file renamed?", header.base),
        ));
    }
    Ok(())
}

pub(crate) fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
