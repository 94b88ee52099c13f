//! Producers: they parse and encode side by side, submit in the order of the input, and each
//! waits for its own acknowledgement.
//!
//! What is in the log is a prefix of the input at any moment: chunks are submitted by ticket, at
//! the SeqId that the chunk before them left off at, so that nothing gets in behind a batch that
//! failed.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use stratalog::{Log, PendingAppend, SeqId, Terms};

use super::encode::{Encoder, Run};
use super::lines::{Chunk, Chunks};
use super::progress::Progress;
use crate::failure::{CliError, Exit};
use crate::latency::Latencies;

/// What the producers share.
pub(crate) struct Pipeline<'a> {
    log: &'a Log,
    dir: &'a Path,
    progress: &'a Progress,
    turns: Mutex<Turns>,
    moved: Condvar,
    acked: Mutex<Acked>,
    acked_records: AtomicU64,
}

/// Whose turn it is to submit.
struct Turns {
    next_ticket: u64,
    next_seq: SeqId,
    /// The first chunk, in the order of the input, that could not be written, and why.
    failure: Option<(u64, CliError)>,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    pub(crate) latencies: Latencies,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    /// Something may be in the log that was never acknowledged.
    pub(crate) tried: bool,
    /// Gets the last SeqId of each batch, as soon as it is acknowledged.
    list: Option<File>,
}

impl<'a> Pipeline<'a> {
    pub(crate) fn new(log: &'a Log, dir: &'a Path, progress: &'a Progress, list: Option<File>) -> Self {
        let turns = Turns { next_ticket: 0, next_seq: log.committed().next(), failure: None };
        Pipeline {
            log,
            dir,
            progress,
            turns: Mutex::new(turns),
            moved: Condvar::new(),
            acked: Mutex::new(Acked { list, ..Acked::default() }),
            acked_records: AtomicU64::new(0),
        }
    }

    /// Writes all chunks. What was acknowledged, and why it stopped if it did not reach the end.
    pub(crate) fn run(
        self,
        chunks: &mut Chunks,
        encoder: &Encoder,
        producers: usize,
    ) -> (Acked, Result<(), CliError>) {
        let (send, receive) = sync_channel::<Chunk>(producers);
        let receive = Arc::new(Mutex::new(receive));
        thread::scope(|scope| {
            for _ in 0..producers {
                let (receive, encoder) = (Arc::clone(&receive), encoder.clone());
                let spawned = thread::Builder::new().spawn_scoped(scope, || self.produce(receive, encoder));
                if let Err(error) = spawned {
                    let failed = CliError::new(Exit::Failed, format!("start a producer: {error}"));
                    self.fail(0, failed.help("use fewer --producers"));
                    break;
                }
            }
            // Only the producers receive: once they have stopped, sending ends.
            drop(receive);
            let mut ticket = 0;
            loop {
                match chunks.next_chunk() {
                    Ok(Some(chunk)) => {
                        ticket = chunk.ticket + 1;
                        if send.send(chunk).is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.fail(ticket, error);
                        break;
                    }
                }
                self.progress.read();
            }
            drop(send);
        });
        let failure = self.turns.into_inner().failure;
        (self.acked.into_inner(), failure.map_or(Ok(()), |(_, error)| Err(error)))
    }

    fn produce(&self, receive: Arc<Mutex<Receiver<Chunk>>>, mut encoder: Encoder) {
        loop {
            let received = receive.lock().recv();
            let Ok(chunk) = received else { return };
            let ticket = chunk.ticket;
            let unwinding = Unwinding { pipeline: self, ticket };
            let written = encoder.chunk(&chunk).and_then(|runs| {
                drop(chunk);
                self.write(ticket, &runs)
            });
            std::mem::forget(unwinding);
            match written {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.fail(ticket, error),
            }
        }
    }

    /// Submits a chunk when its turn has come and waits until it is committed. False if a chunk
    /// before it failed.
    fn write(&self, ticket: u64, runs: &[Run]) -> Result<bool, CliError> {
        let Some(mut next_seq) = self.wait_for_turn(ticket) else { return Ok(false) };
        self.acked.lock().tried = true;
        let mut pending: Vec<(PendingAppend, Instant)> = Vec::with_capacity(runs.len());
        for run in runs {
            let begun = Instant::now();
            let submitted = self.log.submit_on(&Terms::new().first_seq_id(next_seq), run.stream, &run.batch);
            let submitted = submitted.map_err(|error| self.not_written(run, &error))?;
            next_seq = SeqId(next_seq.0 + run.batch.len() as u64);
            pending.push((submitted, begun));
        }
        self.pass_turn(ticket, next_seq);
        for (run, (pending, begun)) in runs.iter().zip(pending) {
            let appended = pending.wait().map_err(|error| self.not_written(run, &error))?;
            self.acknowledged(appended, begun)?;
        }
        Ok(true)
    }

    fn acknowledged(&self, appended: stratalog::Appended, begun: Instant) -> Result<(), CliError> {
        let count = u64::from(appended.count);
        let mut acked = self.acked.lock();
        acked.latencies.add(begun.elapsed());
        acked.batches += 1;
        acked.records += count;
        if let (Some(list), Some(last)) = (&mut acked.list, appended.last_seq_id()) {
            // One write for the line: a list that ends in mid-line would claim too little, never
            // too much.
            list.write_all(format!("{last}\n").as_bytes()).map_err(|error| {
                CliError::new(Exit::Failed, format!("write to the file of --acks: {error}"))
            })?;
        }
        drop(acked);
        self.progress.acked(self.acked_records.fetch_add(count, Ordering::Relaxed) + count);
        Ok(())
    }

    /// The SeqId to go on at; `None` if a chunk before this one failed.
    fn wait_for_turn(&self, ticket: u64) -> Option<SeqId> {
        let mut turns = self.turns.lock();
        loop {
            if turns.failure.as_ref().is_some_and(|(failed, _)| *failed <= ticket) {
                return None;
            }
            if turns.next_ticket == ticket {
                return Some(turns.next_seq);
            }
            self.moved.wait(&mut turns);
        }
    }

    fn pass_turn(&self, ticket: u64, next_seq: SeqId) {
        let mut turns = self.turns.lock();
        (turns.next_ticket, turns.next_seq) = (ticket + 1, next_seq);
        drop(turns);
        self.moved.notify_all();
    }

    /// Of several failures the first in the order of the input is the one to be told.
    fn fail(&self, ticket: u64, error: CliError) {
        let mut turns = self.turns.lock();
        if turns.failure.as_ref().is_none_or(|(failed, _)| ticket < *failed) {
            turns.failure = Some((ticket, error));
        }
        drop(turns);
        self.moved.notify_all();
    }

    fn not_written(&self, run: &Run, error: &stratalog::Error) -> CliError {
        CliError::log(error, self.dir).about(format!("{} to {}", run.first, run.last.line))
    }
}

/// A producer that panics must not leave the others waiting for their turn.
struct Unwinding<'a, 'b> {
    pipeline: &'a Pipeline<'b>,
    ticket: u64,
}

impl Drop for Unwinding<'_, '_> {
    fn drop(&mut self) {
        self.pipeline.fail(self.ticket, CliError::new(Exit::Failed, "a producer stopped unexpectedly"));
    }
}
