//! A handler that another one can take the place of while records are under way.
//!
//! In: records of the engine. Out: the same, by the handler of now. An attempt that is under way ends with the handler
//! that began it; what waits (for a retry, at a gate, for its context) begins again with the new one, and routes that
//! are done with a record stay so.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::{Handle, Lease, Settled};
use crate::source::Arrival;

pub(crate) struct Swap<H> {
    current: RwLock<Arc<H>>,
    generation: watch::Sender<u64>,
}

impl<H: Handle> Swap<H> {
    pub(crate) fn new(handler: Arc<H>) -> Self {
        Self { current: RwLock::new(handler), generation: watch::Sender::new(0) }
    }

    pub(crate) fn current(&self) -> Arc<H> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every record that is begun from now on, or that waits, is the new one's. Returns the old one.
    pub(crate) fn replace(&self, handler: Arc<H>) -> Arc<H> {
        let old = std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), handler);
        self.generation.send_modify(|generation| *generation += 1);
        old
    }
}

impl<H: Handle> Handle for Swap<H> {
    async fn handle(&self, arrival: Arc<Arrival>, lease: Lease) -> Settled {
        loop {
            // Before the handler is looked at, so that one that comes in between is seen to be another.
            let generation = self.generation.subscribe();
            let own = lease.until(generation.clone());
            let settled = self.current().handle(Arc::clone(&arrival), own).await;
            let replaced = generation.has_changed().unwrap_or(false);
            if matches!(settled, Settled::Done(_)) || !replaced || lease.is_draining() {
                return settled;
            }
        }
    }

    async fn panicked(&self, arrival: Arc<Arrival>, lease: Lease) -> Settled {
        self.current().panicked(arrival, lease).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::engine::Phase;
    use crate::tests::support::arrival;

    /// Ends one delivery of a record; the old one waits with another until it is replaced.
    struct Handler {
        waits: bool,
        /// Whether it waited, and whether the delivery was over when it began.
        seen: Arc<Mutex<Vec<(bool, bool)>>>,
    }

    impl Handle for Handler {
        async fn handle(&self, _: Arc<Arrival>, lease: Lease) -> Settled {
            self.seen.lock().unwrap().push((self.waits, lease.is_finished(Uuid::nil())));
            lease.finish(Uuid::nil());
            if !self.waits {
                return Settled::Done(Vec::new());
            }
            lease.draining().await;
            Settled::Abandoned
        }

        async fn panicked(&self, _: Arc<Arrival>, _: Lease) -> Settled {
            Settled::Done(Vec::new())
        }
    }

    #[tokio::test]
    async fn what_waits_begins_again_with_the_new_handler_and_what_is_done_stays_done() {
        let seen = Arc::default();
        let handler = |waits| Arc::new(Handler { waits, seen: Arc::clone(&seen) });
        let swap = Arc::new(Swap::new(handler(true)));
        let (phase, receiver) = watch::channel(Phase::Running);
        let begin = || {
            let (swap, lease) = (Arc::clone(&swap), Lease::new(receiver.clone()));
            let record = Arc::new(arrival(0, 0, "a", &serde_json::json!({})));
            tokio::spawn(async move { swap.handle(record, lease).await })
        };
        let waiting = begin();
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        swap.replace(handler(false));
        assert!(matches!(waiting.await.unwrap(), Settled::Done(_)));
        assert_eq!(*seen.lock().unwrap(), [(true, false), (false, true)]);

        // A partition that is taken away is no reason to begin again.
        swap.replace(handler(true));
        let waiting = begin();
        while seen.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        phase.send_replace(Phase::Draining { before: 0 });
        swap.replace(handler(false));
        assert!(matches!(waiting.await.unwrap(), Settled::Abandoned));
    }
}
