//! A checkpoint holds no cursor that the disk might not hold the records for.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

#[path = "support/hooked.rs"]
mod hooked;
mod support;

use std::sync::{Arc, OnceLock};

use hooked::{Hook, Hooked, nothing};
use stratalog::storage::{SimulatedStorage, Storage, Survives};
use stratalog::{Log, SeqId};
use support::{all, batch, buffered, stream};

#[test]
fn a_cursor_that_moves_behind_the_sync_of_a_checkpoint_is_not_in_it() {
    let storage = SimulatedStorage::new(1);
    let log: Arc<OnceLock<Log>> = Arc::default();
    let late = Arc::clone(&log);
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    let after: Hook = Arc::new(move |operation, file| {
        // A segment goes by the name under which it was made.
        let segment = operation == "sync" && !file.starts_with("checkpoint");
        if segment && trigger.swap(false, std::sync::atomic::Ordering::SeqCst) {
            // The segment is synced and the checkpoint not yet written.
            let log = late.get().unwrap();
            let appended = log.append(stream(1), &batch(5, 1, 100)).unwrap();
            log.advance_cursor(stream(1), "late", appended.first_seq_id).unwrap();
        }
        Ok(())
    });
    let hooked = Hooked::new(Arc::new(storage.clone()), nothing(), after);
    let options = buffered().idle_witness(std::time::Duration::from_secs(3600));
    log.set(options.open_storage(Arc::new(hooked)).unwrap()).unwrap();
    let log = log.get().unwrap();
    log.append(stream(1), &batch(0, 5, 100)).unwrap();
    log.advance_cursor(stream(1), "early", SeqId(5)).unwrap();
    // The next segment is ready: what is synced from here on is this one.
    while !storage.list().unwrap().iter().any(|entry| entry.name == "spare") {
        std::thread::yield_now();
    }
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    log.checkpoint().unwrap();
    assert!(!armed.load(std::sync::atomic::Ordering::SeqCst), "nothing was synced");
    assert_eq!(log.cursors().len(), 2);

    let cut = storage.after_kill().after_power_cut(Survives::Nothing, 7);
    let recovered = options.open_storage(Arc::new(cut)).unwrap();
    assert_eq!(all(&recovered).len(), 5);
    let cursors: Vec<String> = recovered.cursors().into_iter().map(|cursor| cursor.name).collect();
    assert_eq!(cursors, ["early"]);
}
