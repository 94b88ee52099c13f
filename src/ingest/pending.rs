//! A submit that is waited for later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::Result;
use crate::ids::SeqId;
use crate::sync::thread::{self, Thread};

/// A submitted batch on its way: the SeqIds, position by position, once it is committed.
///
/// A `Future` for any executor, which brings no runtime along; or wait for it in a thread. Dropping
/// it does not take back what is on its way.
#[must_use = "a batch is committed only when `wait` or `.await` says so"]
pub struct PendingSubmit {
    outcome: Pin<Box<dyn Future<Output = Result<Vec<SeqId>>> + Send>>,
}

impl PendingSubmit {
    /// What `outcome` comes to.
    pub fn new(outcome: impl Future<Output = Result<Vec<SeqId>>> + Send + 'static) -> Self {
        PendingSubmit { outcome: Box::pin(outcome) }
    }

    /// Blocks until the batch is committed.
    ///
    /// # Errors
    /// Why it is not.
    pub fn wait(mut self) -> Result<Vec<SeqId>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.outcome.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for PendingSubmit {
    type Output = Result<Vec<SeqId>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(context)
    }
}

impl fmt::Debug for PendingSubmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSubmit").finish_non_exhaustive()
    }
}
