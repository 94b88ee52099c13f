//! What the tests of the hub share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use stratalog::{
    ConsumeError, Hub, HubOptions, Log, Record, SeqId, Start, StreamId, SubscribeOptions, SubscriptionId,
    SubscriptionState,
};

/// Longer than anything here takes; who waits so long hangs.
pub const LONG: Duration = Duration::from_secs(20);

pub fn hub(log: &Log) -> Hub {
    Hub::new(log.clone(), HubOptions::new()).unwrap()
}

pub fn from_start() -> SubscribeOptions {
    SubscribeOptions::new().start(Start::After(SeqId(0)))
}

/// Subscribes and passes every batch on.
pub fn listen(
    hub: &Hub,
    stream: StreamId,
    options: SubscribeOptions,
) -> (SubscriptionId, Receiver<Vec<Record>>) {
    let (tell, told) = mpsc::channel();
    let id = hub.subscribe(stream, options, move |batch| pass(tell.send(batch.to_vec()))).unwrap();
    (id, told)
}

/// Nobody listening any more is no failure.
pub fn pass<E>(_sent: Result<(), E>) -> Result<(), ConsumeError> {
    Ok(())
}

pub fn seq_ids(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq_id.0).collect()
}

/// The SeqIds of the next `n` records.
pub fn take(told: &Receiver<Vec<Record>>, n: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < n {
        let batch = told.recv_timeout(LONG).unwrap_or_else(|_| panic!("{} of {n}: {seen:?}", seen.len()));
        seen.extend(seq_ids(&batch));
    }
    seen
}

/// Blocks until the condition holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn until_state(hub: &Hub, id: &SubscriptionId, state: SubscriptionState) {
    until(&format!("{state:?}"), || hub.status(id).unwrap().state == state);
}

/// Runs something that must not hang.
pub fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(tell.send(run())));
    match told.recv_timeout(LONG) {
        Ok(value) => {
            thread.join().unwrap();
            value
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err());
        }
    }
}
