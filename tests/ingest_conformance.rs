//! The whole contract, on both forms of `LocalIngest`, and with both deliveries.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stratalog::ingest::conformance::{Backend, PROMISES};
use stratalog::ingest::{Ingest, IngestOptions, LocalIngest};
use stratalog::{Delivery, Options, Result};
use tempfile::TempDir;

/// Small segments, so that purges free some; small batches, so that one over the limit costs little.
fn options() -> IngestOptions {
    IngestOptions::new()
        .log(Options::new().segment_bytes(64 << 10).checkpoint_bytes(64 << 10).max_batch_records(100_000))
}

struct Ephemeral(LocalIngest);

impl Backend for Ephemeral {
    fn ingest(&self) -> Arc<dyn Ingest> {
        Arc::new(self.0.clone())
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        // Callbacks that hold the ingest would keep it for ever.
        let _ = self.0.close();
    }
}

fn in_memory() -> Ephemeral {
    Ephemeral(options().ephemeral().unwrap())
}

struct Persistent {
    ingest: LocalIngest,
    directory: TempDir,
}

impl Backend for Persistent {
    fn ingest(&self) -> Arc<dyn Ingest> {
        Arc::new(self.ingest.clone())
    }

    fn restart(&mut self) -> Result<Option<Arc<dyn Ingest>>> {
        self.ingest.close()?;
        self.ingest = options().open(self.directory.path())?;
        Ok(Some(self.ingest()))
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        let _ = self.ingest.close();
    }
}

fn in_a_directory() -> Persistent {
    let directory = tempfile::tempdir().unwrap();
    Persistent { ingest: options().open(directory.path()).unwrap(), directory }
}

/// Whoever submits calls the subscribers that do not say otherwise.
fn inline() -> Ephemeral {
    Ephemeral(options().delivery(Delivery::Inline).ephemeral().unwrap())
}

mod ephemeral {
    stratalog::conformance_tests!(super::in_memory());
}

mod ephemeral_inline {
    stratalog::conformance_tests!(super::inline());
}

mod persistent {
    stratalog::conformance_tests!(super::in_a_directory());
}

#[test]
fn every_promise_has_a_name_of_its_own() {
    let mut names: Vec<_> = PROMISES.iter().map(|promise| promise.name()).collect();
    assert!(names.len() >= 45, "{}", names.len());
    names.sort_unstable();
    assert!(names.array_windows().all(|[a, b]| a != b), "{names:?}");
}
