//! How a consumer subscribes, and how an ingest is opened.

use std::time::Duration;

use crate::hub::{Delivery, Start, SubscriptionId};
use crate::ids::SeqId;
use crate::options::Options;

/// How a consumer subscribes. By default: to what commits from now on, for ever, under an id that is
/// made up, delivered as the backend does it by default, given up after ten tries.
///
/// ```
/// use stratalog::SeqId;
/// use stratalog::ingest::ConsumeOptions;
///
/// let everything_up_to_500 = ConsumeOptions::new().start(SeqId(0)).end(SeqId(500));
/// let where_it_was_left = ConsumeOptions::new().from_cursor("indexer").advance_cursor(true);
/// # drop((everything_up_to_500, where_it_was_left));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumeOptions {
    /// Where it begins.
    pub start: Start,
    /// The last SeqId wanted: the subscription ends by itself when it is reached.
    pub end: Option<SeqId>,
    /// Its id; made up if there is none.
    pub id: Option<SubscriptionId>,
    /// Who calls the consumer; as the backend does it by default if this says nothing.
    pub delivery: Option<Delivery>,
    /// Whether its cursor follows each success.
    pub advance_cursor: bool,
    /// The most records of one call.
    pub max_batch_records: usize,
    /// The most bytes of records of one call; a larger record comes alone.
    pub max_batch_bytes: u64,
    /// How often the same records are offered before the subscription stops; `None`: for ever.
    pub max_tries: Option<u32>,
    /// The pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        ConsumeOptions {
            start: Start::Now,
            end: None,
            id: None,
            delivery: None,
            advance_cursor: false,
            max_batch_records: 1024,
            max_batch_bytes: 4 << 20,
            max_tries: Some(10),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl ConsumeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        ConsumeOptions::default()
    }

    /// Begins behind this SeqId, 0 being before the first; `None`: with what commits from now on.
    /// It must not be beyond the newest SeqId.
    #[must_use]
    pub fn start(mut self, seq_id: impl Into<Option<SeqId>>) -> Self {
        self.start = seq_id.into().map_or(Start::Now, Start::After);
        self
    }

    /// Begins behind the collection's cursor of this name. One that is not there is made, before what
    /// is left of the collection, so that from then on no purge passes it.
    #[must_use]
    pub fn from_cursor(mut self, name: impl Into<String>) -> Self {
        self.start = Start::Cursor(name.into());
        self
    }

    /// With [`from_cursor`](Self::from_cursor): whether the cursor is advanced after each call that
    /// succeeds. Default: false, the consumer advances it itself.
    #[must_use]
    pub fn advance_cursor(mut self, advance: bool) -> Self {
        self.advance_cursor = advance;
        self
    }

    /// Ends by itself when this SeqId is reached: not when something beyond it arrives. Default: never.
    #[must_use]
    pub fn end(mut self, seq_id: impl Into<Option<SeqId>>) -> Self {
        self.end = seq_id.into();
        self
    }

    /// Under this id, which must not be in use.
    #[must_use]
    pub fn id(mut self, id: impl Into<SubscriptionId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Who calls the consumer: a thread, or the one who submits, before the submit returns.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// The most records and bytes of one call. Default: 1,024 and 4 MiB.
    #[must_use]
    pub fn max_batch(mut self, records: usize, bytes: u64) -> Self {
        (self.max_batch_records, self.max_batch_bytes) = (records, bytes);
        self
    }

    /// How often the same records are offered before the subscription stops; `None`: for ever.
    /// Default: 10.
    #[must_use]
    pub fn max_tries(mut self, tries: impl Into<Option<u32>>) -> Self {
        self.max_tries = tries.into();
        self
    }

    /// The pause after a failure: the first one, doubled with each further failure up to the longest.
    /// Default: 10 ms and 5 s.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }
}

/// How an ingest is opened.
///
/// ```
/// use stratalog::ingest::IngestOptions;
/// use stratalog::{Delivery, Options};
///
/// let ingest = IngestOptions::new()
///     .log(Options::new().segment_bytes(16 << 20))
///     .delivery(Delivery::Inline)
///     .purge_on_advance(true)
///     .ephemeral()?;
/// # ingest.log();
/// # Ok::<(), stratalog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct IngestOptions {
    pub(super) log: Options,
    pub(super) delivery: Delivery,
    pub(super) purge_on_advance: bool,
}

impl Default for IngestOptions {
    fn default() -> Self {
        IngestOptions { log: Options::new(), delivery: Delivery::Threaded, purge_on_advance: false }
    }
}

impl IngestOptions {
    /// The defaults, named at each method.
    #[must_use]
    pub fn new() -> Self {
        IngestOptions::default()
    }

    /// The log's own options: durability, sizes, limits. Default: [`Options::new`].
    #[must_use]
    pub fn log(mut self, options: Options) -> Self {
        self.log = options;
        self
    }

    /// Who calls consumers that do not say. Default: [`Delivery::Threaded`].
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Whether an advance of a cursor also purges what every cursor of the collection has passed, as
    /// soon as that may free a segment. Default: false.
    #[must_use]
    pub fn purge_on_advance(mut self, purge: bool) -> Self {
        self.purge_on_advance = purge;
        self
    }
}
