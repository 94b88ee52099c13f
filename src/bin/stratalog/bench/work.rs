//! What is measured.

/// Records in a batch.
pub(super) const BATCH: u64 = 100;
/// Appends that one thread has on their way.
pub(super) const IN_FLIGHT: u64 = 256;
/// Bytes of the floor's file, and the most that one pass writes.
pub(super) const PASS_BYTES: u64 = 64 << 20;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One thread, a record at a time, each synced.
    Durable,
    /// So many threads of that kind.
    Producers(u32),
    DurableBatches,
    /// One thread that does not wait for one append before the next.
    InFlight,
    /// One thread, a record at a time, handed to the system and not synced.
    Unsynced,
    UnsyncedBatches,
    Replay,
    Point,
    Open,
}

/// What a floor does, and so what can be told of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Durable,
    Unsynced,
    Read,
    Open,
}

impl Work {
    pub(super) fn all(producers: &[u32]) -> Vec<Work> {
        let mut all = vec![Work::Durable];
        all.extend(producers.iter().map(|producers| Work::Producers(*producers)));
        all.extend([Work::DurableBatches, Work::InFlight, Work::Unsynced, Work::UnsyncedBatches]);
        all.extend([Work::Replay, Work::Point, Work::Open]);
        all
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Work::Durable | Work::Producers(_) | Work::DurableBatches | Work::InFlight => Kind::Durable,
            Work::Unsynced | Work::UnsyncedBatches => Kind::Unsynced,
            Work::Replay | Work::Point => Kind::Read,
            Work::Open => Kind::Open,
        }
    }

    /// What JSON calls it.
    pub(super) fn key(self) -> String {
        match self {
            Work::Durable => "durable_1_producer".into(),
            Work::Producers(producers) => format!("durable_{producers}_producers"),
            Work::DurableBatches => "durable_batches".into(),
            Work::InFlight => "durable_in_flight".into(),
            Work::Unsynced => "unsynced".into(),
            Work::UnsyncedBatches => "unsynced_batches".into(),
            Work::Replay => "replay".into(),
            Work::Point => "point_read".into(),
            Work::Open => "open".into(),
        }
    }

    pub(super) fn title(self) -> String {
        match self {
            Work::Durable => "durable, 1 producer".into(),
            Work::Producers(producers) => format!("durable, {producers} producers"),
            Work::DurableBatches => format!("durable, batches of {BATCH}"),
            Work::InFlight => format!("durable, {IN_FLIGHT} in flight"),
            Work::Unsynced => "unsynced".into(),
            Work::UnsyncedBatches => format!("unsynced, batches of {BATCH}"),
            Work::Replay => "replay".into(),
            Work::Point => "point read".into(),
            Work::Open => "open".into(),
        }
    }

    /// What its rate counts.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Work::Open => "opens",
            _ => "records",
        }
    }

    /// What the floor does; `None` where nothing comparable is known.
    pub(super) fn floor(self) -> Option<String> {
        let floor = match self {
            Work::Durable => "a write into a file of zeros, an fdatasync".into(),
            Work::Producers(_) => {
                "what all producers have waiting in one write into a file of zeros, one fdatasync".into()
            }
            Work::DurableBatches => {
                format!("{BATCH} records in one write into a file of zeros, an fdatasync")
            }
            Work::InFlight => format!("{IN_FLIGHT} records in one write into a file of zeros, an fdatasync"),
            Work::Unsynced => "CRC and a copy into the map of a file of zeros".into(),
            Work::UnsyncedBatches => {
                format!("CRC of {BATCH} records, gathered, in one write into a file of zeros")
            }
            Work::Replay => "CRC over the same mapped bytes, in order".into(),
            Work::Point => "CRC over one of the same mapped records, found in a table".into(),
            Work::Open => return None,
        };
        Some(floor)
    }

    pub(super) fn log(self) -> String {
        match self {
            Work::Durable | Work::Producers(_) => "Log::append of one record, Durability::Sync".into(),
            Work::DurableBatches => format!("Log::append of {BATCH} records, Durability::Sync"),
            Work::InFlight => {
                format!("Log::submit with {IN_FLIGHT} appends on their way, Durability::Sync")
            }
            Work::Unsynced => "Log::append of one record, Durability::Buffered".into(),
            Work::UnsyncedBatches => format!("Log::append of {BATCH} records, Durability::Buffered"),
            Work::Replay => "Log::reader, every checksum verified".into(),
            Work::Point => "Log::record of a random SeqId, verified".into(),
            Work::Open => "Log::open after a clean close".into(),
        }
    }

    /// Of so many one is timed by itself: reading the clock would be felt in all of them. `None`: of
    /// this work no single one is timed.
    pub(super) fn timed_of(self) -> Option<u64> {
        match self {
            Work::Unsynced | Work::Point => Some(16),
            Work::Replay => None,
            _ => Some(1),
        }
    }
}
