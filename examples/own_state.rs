//! An embedder that keeps its own state, and its position with it: every record takes effect exactly
//! once, also when the process dies in the middle.
//!
//! Delivery is at least once. What makes the effect exactly once is that the state and the SeqId up
//! to which it was applied are replaced in one step, and that the consumer subscribes behind that SeqId.
//! A durable cursor is not needed to start again; it is advanced all the same, so that a purge
//! knows what is no longer wanted.
//!
//! The program starts itself twice as a child that is killed while it works, then does the rest and
//! compares its state with the log.
//!
//! ```sh
//! cargo run --example own_state
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::mpsc;

use stratalog::ingest::{
    ConsumeOptions, Consumer, Ingest, LocalIngest, LogRecord, Operation, OperationRecord, Producer,
};
use stratalog::{SeqId, StreamId};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const COLLECTION: StreamId = StreamId::from_u128(0x00c0_ffee);
const RECORDS: u64 = 3_000;

fn main() -> Fallible<()> {
    if let Some(directory) = std::env::args().nth(1) {
        return consume(Path::new(&directory), Some(800));
    }
    let directory = tempfile::tempdir()?;
    produce(directory.path())?;
    for life in 1..=2 {
        let status = Command::new(std::env::current_exe()?).arg(directory.path()).status()?;
        let state = State::load(directory.path())?;
        println!("life {life}: {status}; applied up to SeqId {}, {} changes", state.seq_id, state.changes);
    }
    consume(directory.path(), None)?;
    check(directory.path())
}

/// Ids come back again and again, some to be deleted.
fn produce(directory: &Path) -> Fallible<()> {
    let ingest = LocalIngest::open(directory.join("log"))?;
    let all: Vec<_> = (0..RECORDS)
        .map(|n| match n % 5 {
            4 => OperationRecord::delete(format!("id {}", n % 35)),
            _ => OperationRecord::upsert(format!("id {}", n % 35)).embedding([n as f32]),
        })
        .collect();
    for batch in all.chunks(50) {
        ingest.submit_embeddings(COLLECTION, batch)?;
    }
    Ok(ingest.close()?)
}

/// Applies what was not applied yet; dies after so many records, with the last of them not saved.
fn consume(directory: &Path, mut dies_after: Option<u64>) -> Fallible<()> {
    let ingest = LocalIngest::open(directory.join("log"))?;
    let mut state = State::load(directory)?;
    let newest = ingest.log().stream(COLLECTION).map_or(SeqId(0), |stream| stream.last_seq_id);
    if state.seq_id >= newest {
        return Ok(ingest.close()?);
    }
    let options =
        ConsumeOptions::new().id("own state").start(state.seq_id).end(newest).max_batch(100, 1 << 20);
    let (directory, (tell, applied)) = (directory.to_owned(), mpsc::channel());
    let id = ingest.subscribe(
        COLLECTION,
        options,
        Box::new(move |records: &[LogRecord]| {
            // On a copy: if it cannot be saved, the same records are offered again, to the old state.
            let mut next = state.clone();
            for record in records {
                next.apply(record);
                if let Some(left) = &mut dies_after {
                    *left -= 1;
                    if *left == 0 {
                        // Nothing is closed, nothing is saved: as good as killed.
                        process::exit(137);
                    }
                }
            }
            next.save(&directory)?;
            state = next;
            tell.send(state.seq_id)?;
            Ok(())
        }),
    )?;
    let mut position = SeqId(0);
    while position < newest {
        // Ends with an error if the subscription has given up: its status says why.
        let stopped = |_| ingest.hub().status(&id).and_then(|status| status.last_error).unwrap_or_default();
        position = applied.recv().map_err(stopped)?;
        ingest.advance_cursor(COLLECTION, "own state", position)?;
    }
    Ok(ingest.close()?)
}

/// The state as the log itself has it.
fn check(directory: &Path) -> Fallible<()> {
    let found = State::load(directory)?;
    let ingest = LocalIngest::open(directory.join("log"))?;
    let mut due = State::default();
    for record in ingest.log().stream_reader(COLLECTION, ..)? {
        due.apply(&LogRecord::decode(record?)?);
    }
    if found != due {
        return Err(format!("expected {due:?}, found {found:?}").into());
    }
    println!(
        "{} changes applied, each exactly once; {} ids alive; backlog of the cursor: {}",
        found.changes,
        found.alive.len(),
        ingest.backlog(COLLECTION, "own state")?
    );
    Ok(ingest.close()?)
}

/// What this consumer is for: which ids are alive, with what. And how far it is.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    seq_id: SeqId,
    changes: u64,
    alive: BTreeMap<String, f32>,
}

impl State {
    fn apply(&mut self, one: &LogRecord) {
        let id = one.record.id().to_owned();
        match one.record.operation() {
            Operation::Delete => drop(self.alive.remove(&id)),
            _ => {
                let first = one.record.embedding().and_then(|e| e.f32s().and_then(|mut f| f.next()));
                self.alive.insert(id, first.unwrap_or_default());
            }
        }
        // Would be too large if anything was applied twice.
        self.changes += 1;
        self.seq_id = one.seq_id;
    }

    fn file(directory: &Path) -> PathBuf {
        directory.join("state")
    }

    fn load(directory: &Path) -> Fallible<State> {
        let Ok(text) = fs::read_to_string(State::file(directory)) else { return Ok(State::default()) };
        let mut lines = text.lines();
        let mut number = || -> Fallible<u64> { Ok(lines.next().ok_or("a line is missing")?.parse()?) };
        let mut state = State { seq_id: SeqId(number()?), changes: number()?, ..State::default() };
        for line in lines {
            let (bits, id) = line.split_once(' ').ok_or("expected bits and an id")?;
            state.alive.insert(id.to_owned(), f32::from_bits(bits.parse()?));
        }
        Ok(state)
    }

    /// All of it in one step, durably: a new file, synced, takes the name; then the name is synced.
    fn save(&self, directory: &Path) -> Fallible<()> {
        let (new, mut text) = (directory.join("state.tmp"), format!("{}\n{}\n", self.seq_id, self.changes));
        for (id, value) in &self.alive {
            text.push_str(&format!("{} {id}\n", value.to_bits()));
        }
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, State::file(directory))?;
        Ok(File::open(directory)?.sync_all()?)
    }
}
