//! One sink's engine: records in, settled records out, in order per key, keys in parallel.
//!
//! In: [`SourceEvent`]s. Out: commits of the contiguous finished head of each partition.
//! Invariants: of one key at most one record is under way; a record is committed only after it and all records before
//! it in its partition were settled; after a revocation nothing of that partition is begun any more but what stands before
//! something that was sent (else that would be sent again by the next owner), and what is under way ends (or is cut off at the
//! drain limit) before the partition is given back.

mod lanes;
mod lease;
mod swap;
mod window;

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::Stop;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::deliver::Delivery;
use crate::source::{Arrival, Commit, Head, Origin, Slot, Source, SourceEvent, Staged};
use lanes::{Lanes, Work};
use lease::Begun;
pub(crate) use lease::{Lease, Phase};
pub(crate) use swap::Swap;
use window::Window;

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Delivered, not for this sink, or in the dead letters: its offset may be committed, and with it what a sink that
    /// stages has staged.
    Done(Vec<Delivery>),
    /// The partition was taken away meanwhile: the next owner begins with it again.
    Abandoned,
}

/// Brings one record to its end. Waits as long as it takes; returns early only when `lease` says so.
pub(crate) trait Handle: Send + Sync + 'static {
    fn handle(&self, arrival: Arc<Arrival>, lease: Lease) -> impl Future<Output = Settled> + Send;

    /// `handle` panicked on the record: puts it where it does no more harm.
    fn panicked(&self, arrival: Arc<Arrival>, lease: Lease) -> impl Future<Output = Settled> + Send;
}

/// Counts what the engine holds.
pub(crate) trait Watch: Send + Sync + 'static {
    /// Records taken in and not settled; keys that have one under way.
    fn held(&self, records: usize, keys: usize);
    /// A partition's window is full: from now on its slowest key holds up the others.
    fn full(&self);
}

pub(crate) struct Options {
    /// How long a revocation or a stop waits for attempts that are under way. Below the session timeout.
    pub(crate) drain: Duration,
}

struct Owned {
    /// Tells this ownership from an earlier one of the same partition.
    epoch: u64,
    phase: tokio::sync::watch::Sender<Phase>,
    begun: Arc<Mutex<Begun>>,
    window: Window<Vec<Delivery>>,
    /// No more of it comes until some is committed.
    is_full: bool,
    /// Records of this partition that a task has now.
    running: usize,
}

struct Drain {
    slots: Vec<Slot>,
    /// Until then what stands before something that was sent may be begun; half of the time, so that it can end.
    grace: Option<Instant>,
    deadline: Instant,
    /// Dropped when the partitions may go.
    done: Option<Box<dyn Send>>,
}

struct Finished {
    lane: Bytes,
    slot: Slot,
    epoch: u64,
    offset: i64,
    settled: Settled,
}

/// Runs until the source ends. All partitions are drained and committed before it returns.
///
/// # Errors
/// The reason that the source gave for not going on.
pub(crate) async fn run<H: Handle>(
    mut source: impl Source,
    handler: Arc<H>,
    commit: impl Commit,
    watch: impl Watch,
    options: Options,
) -> Result<(), Stop> {
    let (finished_tx, mut finished) = mpsc::unbounded_channel();
    let mut engine = Engine {
        handler,
        commit,
        watch,
        options,
        owned: HashMap::new(),
        lanes: Lanes::default(),
        drains: Vec::new(),
        next_epoch: 0,
        finished: finished_tx,
    };
    let mut outcome = Ok(());
    let mut open = true;
    while open || !engine.drains.is_empty() {
        let deadline = engine.drains.iter().map(|drain| drain.grace.unwrap_or(drain.deadline)).min();
        tokio::select! {
            biased;
            Some(result) = finished.recv() => engine.finish(result),
            () = sleep_until(deadline), if deadline.is_some() => engine.cut_off(),
            event = source.next(), if open => match event {
                Some(SourceEvent::Assigned(slots)) => engine.assign(slots),
                Some(SourceEvent::Record(arrival)) => engine.take(arrival),
                Some(SourceEvent::Full(slot)) => engine.fill(&slot),
                Some(SourceEvent::Revoked { slots, done }) => engine.revoke(slots, Some(done)),
                Some(SourceEvent::Failed(reason)) => {
                    outcome = Err(reason);
                    open = false;
                    engine.revoke(engine.owned.keys().cloned().collect(), None);
                }
                None => {
                    open = false;
                    engine.revoke(engine.owned.keys().cloned().collect(), None);
                }
            },
        }
        engine.release_drained();
        engine.watch.held(engine.owned.values().map(|owned| owned.window.len()).sum(), engine.lanes.running());
    }
    outcome
}

/// What comes of `work`; `None` when it panicked, after which it is not asked again.
async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    // What a panic leaves half done behind a lock, others take as it is: see the locks' own users.
    let polled = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    });
    polled.await
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Engine<H, C, W> {
    handler: Arc<H>,
    commit: C,
    watch: W,
    options: Options,
    owned: HashMap<Slot, Owned>,
    lanes: Lanes,
    drains: Vec<Drain>,
    next_epoch: u64,
    finished: mpsc::UnboundedSender<Finished>,
}

impl<H: Handle, C: Commit, W: Watch> Engine<H, C, W> {
    fn assign(&mut self, slots: Vec<Slot>) {
        for slot in slots {
            self.next_epoch += 1;
            let (phase, _) = tokio::sync::watch::channel(Phase::Running);
            let owned = Owned {
                epoch: self.next_epoch,
                phase,
                begun: Arc::default(),
                window: Window::default(),
                is_full: false,
                running: 0,
            };
            self.owned.insert(slot, owned);
        }
    }

    fn take(&mut self, arrival: Arrival) {
        // A record of a partition that is not ours (any more) is for its next owner.
        let Some(owned) = self.owned.get_mut(&arrival.slot) else { return };
        if *owned.phase.borrow() != Phase::Running {
            return;
        }
        owned.window.begin(arrival.offset);
        let epoch = owned.epoch;
        if let Some(work) = self.lanes.enter(Work { arrival: Arc::new(arrival), epoch }) {
            self.start(work);
        }
    }

    fn fill(&mut self, slot: &Slot) {
        self.watch.full();
        if let Some(owned) = self.owned.get_mut(slot) {
            owned.is_full = true;
        }
        self.press(slot);
    }

    /// Whoever gathers before he commits waits in vain for more of a full partition.
    fn press(&mut self, slot: &Slot) {
        if let Some(owned) = self.owned.get_mut(slot).filter(|owned| owned.is_full && owned.window.len() == 0) {
            owned.is_full = false;
            self.commit.press();
        }
    }

    fn start(&mut self, work: Work) {
        let Some(owned) = self.owned.get_mut(&work.arrival.slot).filter(|owned| owned.epoch == work.epoch) else {
            // Revoked between queueing and start: `revoke` has emptied the queues, so this cannot be; be safe.
            self.leave(&work.lane());
            return;
        };
        owned.running += 1;
        let origin = Origin { slot: work.arrival.slot.clone(), offset: work.arrival.offset };
        let lease = Lease::of(origin, owned.phase.subscribe(), &owned.begun);
        let handler = Arc::clone(&self.handler);
        let finished = self.finished.clone();
        tokio::spawn(async move {
            // A panic on one record touches no other and leaves no lane shut.
            let settled = match unless_it_panics(handler.handle(Arc::clone(&work.arrival), lease.clone())).await {
                Some(settled) => settled,
                None => Box::pin(handler.panicked(Arc::clone(&work.arrival), lease)).await,
            };
            let result = Finished {
                lane: work.lane(),
                slot: work.arrival.slot.clone(),
                epoch: work.epoch,
                offset: work.arrival.offset,
                settled,
            };
            // The engine is gone only when the process stops: nobody is left to tell.
            drop(finished.send(result));
        });
    }

    fn finish(&mut self, result: Finished) {
        if let Some(owned) = self.owned.get_mut(&result.slot).filter(|owned| owned.epoch == result.epoch) {
            owned.running -= 1;
            match result.settled {
                Settled::Done(staged) => {
                    if let Some(head) = owned.window.finish(result.offset, staged) {
                        let (next_offset, records) = (head.next_offset, head.came.len());
                        let staged = head.came.into_iter().flat_map(|(offset, deliveries)| {
                            deliveries.into_iter().map(move |delivery| Staged { offset, delivery })
                        });
                        self.commit.commit(&result.slot, Head { next_offset, records, staged: staged.collect() });
                    }
                }
                // The later ones of its key must not come before it.
                Settled::Abandoned => {
                    let (slot, lane) = (&result.slot, &result.lane);
                    self.lanes.forget(|work| work.arrival.slot == *slot && work.lane() == *lane);
                }
            }
        }
        self.press(&result.slot);
        self.leave(&result.lane);
    }

    fn leave(&mut self, lane: &Bytes) {
        if let Some(next) = self.lanes.leave(lane) {
            self.start(next);
        }
    }

    fn revoke(&mut self, slots: Vec<Slot>, done: Option<Box<dyn Send>>) {
        for slot in &slots {
            let Some(owned) = self.owned.get(slot) else { continue };
            let before = Begun::close(&owned.begun);
            owned.phase.send_replace(Phase::Draining { before });
            self.lanes.forget(|work| work.arrival.slot == *slot && work.arrival.offset >= before);
        }
        let now = Instant::now();
        let (grace, deadline) = (Some(now + self.options.drain / 2), now + self.options.drain);
        self.drains.push(Drain { slots, grace, deadline, done });
    }

    /// Ends the grace of drains, and what is under way at their limit.
    fn cut_off(&mut self) {
        let now = Instant::now();
        for drain in &mut self.drains {
            if drain.grace.take_if(|grace| *grace <= now).is_some() {
                for slot in &drain.slots {
                    if let Some(owned) = self.owned.get(slot) {
                        owned.phase.send_replace(Phase::Draining { before: i64::MIN });
                    }
                    self.lanes.forget(|work| work.arrival.slot == *slot);
                }
            }
            if drain.deadline > now {
                continue;
            }
            for slot in &drain.slots {
                if let Some(owned) = self.owned.get_mut(slot) {
                    owned.phase.send_replace(Phase::Lost);
                    // Their results carry an old epoch from now on.
                    owned.running = 0;
                    owned.epoch = 0;
                }
            }
        }
    }

    fn release_drained(&mut self) {
        let (owned, commit) = (&mut self.owned, &self.commit);
        self.drains.retain_mut(|drain| {
            let drained = drain.slots.iter().all(|slot| owned.get(slot).is_none_or(|owned| owned.running == 0));
            if drained {
                for slot in &drain.slots {
                    owned.remove(slot);
                }
                if let Some(done) = drain.done.take() {
                    commit.release(done);
                }
            }
            !drained
        });
    }
}
