//! Heads of partitions on their way to a store that keeps them itself: it has them before the broker does.
//!
//! In: heads ([`Commits`]). Out: [`Job`]s for the queue of whoever writes to the store, who gathers them ([`Heads`]) and,
//! when the store has them, commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hirewire_kafka::{Admin, Stop};

use crate::source::{Commit, Head, Slot};

/// Commits one head. Each consumer has its own.
pub(crate) type CommitHead = Arc<dyn Fn(&Slot, i64) + Send + Sync>;

pub(crate) enum Job {
    Head {
        slot: Slot,
        head: Head,
        commit: CommitHead,
    },
    /// More of a partition comes only behind what waits.
    Press,
    /// To be dropped when what waits is committed.
    Release(Box<dyn Send>),
}

/// What waits to be kept and committed.
#[derive(Default)]
pub(crate) struct Heads {
    /// Where each partition will stand, and how many records it has gone on.
    next: BTreeMap<Slot, (i64, usize)>,
    since: Option<Instant>,
    is_pressed: bool,
    commits: HashMap<Slot, CommitHead>,
    releases: Vec<Box<dyn Send>>,
}

impl Heads {
    pub(crate) fn take(&mut self, job: Job) {
        match job {
            Job::Head { slot, head, commit } => {
                self.since.get_or_insert_with(Instant::now);
                let (next, records) = self.next.entry(slot.clone()).or_default();
                *next = head.next_offset;
                *records += head.records;
                self.commits.insert(slot, commit);
            }
            // When all was written already nobody waits for more.
            Job::Press => self.is_pressed = self.since.is_some(),
            Job::Release(done) => self.releases.push(done),
        }
    }

    /// Where each partition will stand.
    pub(crate) fn next(&self) -> impl Iterator<Item = (&Slot, i64)> {
        self.next.iter().map(|(slot, (next, _))| (slot, *next))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// The most records that a partition has gone on.
    pub(crate) fn records(&self) -> usize {
        self.next.values().map(|(_, records)| *records).max().unwrap_or_default()
    }

    /// How long the oldest has waited.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.is_pressed
    }

    /// Whether partitions are to go.
    pub(crate) fn is_released(&self) -> bool {
        !self.releases.is_empty()
    }

    /// The store has them: the offsets may be committed, and then the partitions may go.
    pub(crate) fn commit(self) {
        for (slot, commit) in self.commits {
            if let Some((next, _)) = self.next.get(&slot) {
                commit(&slot, *next);
            }
        }
        drop(self.releases);
    }
}

/// A consumer's end of the queue.
pub(crate) struct Commits {
    queue: Box<dyn Fn(Job) -> bool + Send + Sync>,
    commit: CommitHead,
}

impl Commits {
    /// `queue`: false when nobody reads it any more. `commit`: of the consumer that the heads come from.
    pub(crate) fn new(
        queue: impl Fn(Job) -> bool + Send + Sync + 'static,
        commit: impl Fn(&Slot, i64) + Send + Sync + 'static,
    ) -> Self {
        Self { queue: Box::new(queue), commit: Arc::new(commit) }
    }

    /// A queue that is closed belongs to a writer that panicked: nothing more is committed.
    fn send(&self, job: Job) {
        if !(self.queue)(job) {
            tracing::error!("whoever writes to a sink's store is gone: restart the process");
        }
    }
}

impl Commit for Commits {
    fn commit(&self, slot: &Slot, head: Head) {
        self.send(Job::Head { slot: slot.clone(), head, commit: Arc::clone(&self.commit) });
    }

    fn press(&self) {
        self.send(Job::Press);
    }

    fn release(&self, done: Box<dyn Send>) {
        self.send(Job::Release(done));
    }
}

/// A store that stands behind the end of a topic knows another topic of that name: what it would leave out as written
/// was never seen. Says where that is so. Blocks for a round trip a partition.
///
/// # Errors
/// When Kafka cannot be asked.
pub(crate) fn beyond<'a>(
    kafka: &hirewire_kafka::Settings,
    positions: impl Iterator<Item = (&'a Slot, i64)>,
) -> Result<Option<String>, Stop> {
    let admin = Admin::new(kafka)?;
    let partitions = admin.topics()?;
    // Of a topic that is gone nothing comes.
    let is_there = |slot: &Slot| partitions.get(&*slot.topic).is_some_and(|count| slot.partition < *count);
    for (slot, next) in positions.filter(|(slot, _)| is_there(slot)) {
        let (_, end) = admin.watermarks(&slot.topic, slot.partition)?;
        if next > end {
            let (topic, partition) = (&slot.topic, slot.partition);
            return Ok(Some(format!("offset {next} of {topic} partition {partition}, which ends at {end}")));
        }
    }
    Ok(None)
}
