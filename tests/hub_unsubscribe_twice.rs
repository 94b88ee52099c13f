//! Of two who unsubscribe the same, each returns when the callback is gone, not only the first.
#![allow(clippy::unwrap_used)]

#[path = "support/hub.rs"]
mod hub_support;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hub_support::{LONG, hub};
use stratalog::storage::MemoryStorage;
use stratalog::{Delivery, SubscribeOptions};
use support::{buffered, open, stream};

/// What a callback owns: it takes its time to go, up to the return of whoever unsubscribes meanwhile.
struct Lingering {
    going: mpsc::Sender<()>,
    returned: mpsc::Receiver<()>,
    gone: Arc<AtomicBool>,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.going.send(()).unwrap();
        let _too_early = self.returned.recv_timeout(Duration::from_millis(200));
        self.gone.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_second_one_too_returns_only_when_the_callback_was_dropped() {
    for delivery in [Delivery::Threaded, Delivery::Inline] {
        let log = open(&buffered(), &MemoryStorage::new());
        let hub = hub(&log);
        let gone = Arc::new(AtomicBool::new(false));
        let ((going, begun), (tell, returned)) = (mpsc::channel(), mpsc::channel());
        let lingering = Lingering { going, returned, gone: Arc::clone(&gone) };
        let consume = move |_: &[stratalog::Record]| {
            let _owned = &lingering;
            Ok(())
        };
        let id = hub.subscribe(stream(1), SubscribeOptions::new().delivery(delivery), consume).unwrap();
        let first = {
            let (hub, id) = (hub.clone(), id.clone());
            std::thread::spawn(move || hub.unsubscribe(&id))
        };
        begun.recv_timeout(LONG).unwrap();
        hub.unsubscribe(&id);
        let was_gone = gone.load(Ordering::SeqCst);
        let _ = tell.send(());
        assert!(was_gone, "unsubscribe returned, and the callback was not dropped");
        first.join().unwrap();
    }
}
