//! All rows, in the order of the report: with rivals here, those of this log alone in `ours`.

mod ack;
mod durable;
mod open;
mod points;
mod replay;
mod submit;
mod unsynced;
mod written;

use crate::ours;
use crate::row::Spec;

/// 256 B, 2 KiB, 6.5 KiB: the sizes that the goals name.
pub(crate) const SIZES: [usize; 3] = [256, 2_048, 6_656];

pub(crate) fn all() -> Vec<Spec> {
    let parts = [
        durable::rows(),
        submit::rows(),
        ack::rows(),
        ours::segments::rows(),
        ours::purge::rows(),
        ours::upkeep::rows(),
        written::rows(),
        unsynced::rows(),
        ours::ingest::rows(),
        replay::rows(),
        ours::streams::rows(),
        ours::hub::rows(),
        points::rows(),
        open::rows(),
        ours::size::rows(),
        ours::crash::rows(),
        ours::memory::rows(),
        ours::scale::rows(),
    ];
    parts.into_iter().flatten().collect()
}
