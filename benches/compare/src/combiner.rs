//! Group commit in few lines: who comes first leads and writes for all who came meanwhile.
//!
//! Used by the grouped floor, and in front of rivals whose documentation asks for one writer that
//! commits for many.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use parking_lot::{Condvar, Mutex};

/// Records of several callers, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<u32>,
}

impl Group {
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        self.lengths.iter().map(move |length| {
            at += *length as usize;
            &self.bytes[at - *length as usize..at]
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

/// Makes a group durable. One call at a time.
pub(crate) trait Sink: Send {
    fn commit(&mut self, group: &Group) -> Result<()>;
}

pub(crate) struct Combiner<S> {
    state: Mutex<State>,
    /// By the parity of the group: only who is served is woken, and one to lead the next.
    committed: [Condvar; 2],
    sink: Mutex<(S, Group)>,
}

#[derive(Default)]
struct State {
    staged: Group,
    /// Groups `..done` are committed; `taken` is the one being staged.
    taken: u64,
    done: u64,
    leading: bool,
    failed: Option<Arc<anyhow::Error>>,
}

impl<S: Sink> Combiner<S> {
    pub(crate) fn new(sink: S) -> Self {
        Combiner {
            state: Mutex::default(),
            committed: [Condvar::new(), Condvar::new()],
            sink: Mutex::new((sink, Group::default())),
        }
    }

    pub(crate) fn into_sink(self) -> S {
        self.sink.into_inner().0
    }

    pub(crate) fn with_sink<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut self.sink.lock().0)
    }

    /// Returns once the records are committed.
    pub(crate) fn append(&self, records: &[&[u8]]) -> Result<()> {
        let mut state = self.state.lock();
        for record in records {
            state.staged.bytes.extend_from_slice(record);
            state.staged.lengths.push(record.len() as u32);
        }
        let mine = state.taken;
        loop {
            if let Some(error) = &state.failed {
                return Err(anyhow!("a commit failed: {error:#}"));
            }
            if state.done > mine {
                return Ok(());
            }
            if state.leading {
                self.committed[(mine % 2) as usize].wait(&mut state);
                continue;
            }
            state.leading = true;
            state.taken += 1;
            let outcome = {
                let mut sink = self.sink.lock();
                let (sink, group) = &mut *sink;
                std::mem::swap(group, &mut state.staged);
                drop(state);
                let outcome = sink.commit(group);
                group.clear();
                outcome
            };
            state = self.state.lock();
            state.leading = false;
            state.done = mine + 1;
            if let Err(error) = outcome {
                state.failed = Some(Arc::new(error));
                for all in &self.committed {
                    all.notify_all();
                }
            }
            self.committed[(mine % 2) as usize].notify_all();
            self.committed[((mine + 1) % 2) as usize].notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Collect(Vec<Vec<u8>>);

    impl Sink for Collect {
        fn commit(&mut self, group: &Group) -> Result<()> {
            std::thread::sleep(std::time::Duration::from_micros(50));
            self.0.extend(group.records().map(<[u8]>::to_vec));
            Ok(())
        }
    }

    #[test]
    fn every_record_of_every_thread_is_committed_once() {
        let combiner = Combiner::new(Collect(Vec::new()));
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let combiner = &combiner;
                scope.spawn(move || {
                    for n in 0..50 {
                        combiner.append(&[&[thread], &[thread, n]]).unwrap();
                    }
                });
            }
        });
        let mut all = combiner.into_sink().0;
        assert_eq!(all.len(), 800);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8 + 400);
    }
}
