//! What a log shows, by every way of reading it.

use stratalog::{Error, Log, LogOffset, Record};

use crate::payload::Coding;
use crate::program::STREAMS;
use crate::state::{Rec, State, Stream, cursor_name, stream_id};
use crate::violation::Broken;

/// Why there is nothing to compare.
#[derive(Debug)]
pub(crate) enum Unseen {
    /// The log or the disk said no.
    Error(Error),
    /// What was seen contradicts itself.
    Broken(Broken),
}

impl From<Error> for Unseen {
    fn from(error: Error) -> Self {
        Unseen::Error(error)
    }
}

/// Who the stream of a record is; a record of no stream of ours is one that nobody submitted.
pub(crate) fn identify(coding: Coding, record: &Record) -> Result<(u64, Rec), Broken> {
    let id = coding.read(&record.payload);
    let stream = (0..STREAMS).find(|n| stream_id(*n) == record.stream);
    match (id, stream) {
        (Some(id), Some(stream)) => Ok((stream, Rec { id, seq: Some(record.seq_id.0) })),
        _ => Err(Broken::new(
            "P2",
            "records that were submitted",
            format!(
                "{} bytes at SeqId {} of stream {}: {:?}",
                record.payload.len(),
                record.seq_id,
                record.stream,
                record.payload.get(..16)
            ),
        )),
    }
}

/// All of it. `twice`: read by SeqId as well, which must give the same.
pub(crate) fn observe(log: &Log, coding: Coding, twice: bool) -> Result<State, Unseen> {
    let mut seen = State { last_seq: log.committed().0, ..State::default() };
    let mut whole = Vec::new();
    for n in 0..STREAMS {
        let id = stream_id(n);
        let newest = log.stream(id).map_or(0, |stats| stats.next_log_offset.0 - 1);
        let purged = log.purge_point(id).map_or(0, |point| point.log_offset.0);
        let mut stream = Stream { records: vec![None; newest as usize], purged };
        let mut due = purged + 1;
        for record in log.stream_reader(id, ..)? {
            let record = record?;
            let (of, rec) = identify(coding, &record).map_err(Unseen::Broken)?;
            let place = stream.records.get_mut(record.log_offset.0.wrapping_sub(1) as usize);
            match place.filter(|_| of == n && record.log_offset == LogOffset(due)) {
                Some(place) => *place = Some(rec),
                None => {
                    return Err(Unseen::Broken(Broken::new(
                        "P3",
                        format!("log_offset {due} of stream {n}, up to {newest}"),
                        format!("log_offset {} of stream {of}", record.log_offset),
                    )));
                }
            }
            due += 1;
            whole.push((rec.seq, n, record.log_offset.0));
        }
        if due != newest.max(purged) + 1 {
            return Err(Unseen::Broken(Broken::new(
                "P3",
                format!("records of stream {n} up to log_offset {newest}"),
                format!("records up to {}", due - 1),
            )));
        }
        if twice {
            let by_seq = log.stream_reader_by_seq_id(id, ..)?.collect::<Result<Vec<_>, _>>()?;
            let expected: Vec<_> = stream.visible().filter_map(|(_, rec)| rec.seq).collect();
            let found: Vec<_> = by_seq.iter().map(|record| record.seq_id.0).collect();
            same("P3", "what a stream has by SeqId and by log_offset", &expected, &found)?;
        }
        seen.streams[n as usize] = stream;
    }
    whole.sort_unstable();
    let mut found = Vec::new();
    let mut clock = i64::MIN;
    for record in log.reader(..)? {
        let record = record?;
        let (of, rec) = identify(coding, &record).map_err(Unseen::Broken)?;
        found.push((rec.seq, of, record.log_offset.0));
        if record.unix_micros < clock {
            let found = format!("{} behind {clock} at SeqId {}", record.unix_micros, record.seq_id);
            return Err(Unseen::Broken(Broken::new("P3", "timestamps that never decrease", found)));
        }
        clock = record.unix_micros;
    }
    same("P3", "the whole log is what its streams are, in order", &whole, &found)?;
    for cursor in log.cursors() {
        let stream = (0..STREAMS).find(|n| stream_id(*n) == cursor.stream).unwrap_or(STREAMS);
        let name = (0..3).find(|name| cursor_name(*name) == cursor.name).unwrap_or(3);
        seen.cursors.insert((stream, name), cursor.log_offset.0);
        if seen.streams.get(stream as usize).is_some_and(|held| held.purged > cursor.log_offset.0) {
            let found = format!("{cursor:?} and {:?}", log.purge_point(cursor.stream));
            return Err(Unseen::Broken(Broken::new("P6", "no purge beyond a cursor", found)));
        }
    }
    Ok(seen)
}

fn same<T: PartialEq + std::fmt::Debug>(
    promise: &'static str,
    what: &str,
    expected: &[T],
    found: &[T],
) -> Result<(), Unseen> {
    if expected == found {
        return Ok(());
    }
    let at = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let expected = format!("{what}; at {at} of {}: {:?}", expected.len(), expected.get(at));
    let found = format!("at {at} of {}: {:?}", found.len(), found.get(at));
    Err(Unseen::Broken(Broken::new(promise, expected, found)))
}
