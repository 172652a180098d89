//! Sinks that are folders of files: what is staged goes to the disk, with the position that it leads to, before the
//! offset is committed.
//!
//! In: heads of partitions with their deliveries ([`Commits`]). Out: files that hold each delivery once, and commits. A
//! folder knows for itself where it stands ([`manifest`]): what comes again after a crash, because it was written and
//! not committed, is left out. A thread for each sink writes; while the disk does not take it nothing is committed, the
//! sink counts as held, and the same is tried again.

pub(crate) mod lines;
pub(crate) mod manifest;
pub(crate) mod parquet;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hirewire_kafka::Stop;
use hirewire_service::process::{FEW_DESCRIPTORS, is_too_many_files};

use crate::deliver::outcome::{Attempt, HoldReason};
use crate::deliver::{Delivery, Transport};
use crate::heads::{Commits, Heads, Job, beyond};
use crate::metrics::SinkMetrics;
use crate::source::{Slot, Staged};
use manifest::Positions;

/// How often a folder is looked after, and how soon it is tried again after a failure.
const TICK: Duration = Duration::from_secs(1);

/// One kind of files in a folder. Methods block; what failed may be called again.
pub(crate) trait Folder: Send + 'static {
    /// Whether what waits is to be written now.
    fn is_due(&self, pending: &Pending) -> bool;

    /// Brings it to the disk with the positions that it leads to: all of it, or, for all that is seen later, nothing.
    ///
    /// # Errors
    /// Why nothing may be committed.
    fn write(&mut self, pending: &Pending) -> io::Result<()>;

    /// What there is to do besides, now and then.
    ///
    /// # Errors
    /// It is tried again.
    fn tend(&mut self) -> io::Result<()>;
}

/// What is to be written next.
#[derive(Default)]
pub(crate) struct Pending {
    /// In the order of the log of each partition.
    staged: Vec<(Slot, Staged)>,
    pub(crate) heads: Heads,
}

impl Pending {
    fn take(&mut self, mut job: Job) {
        if let Job::Head { slot, head, .. } = &mut job {
            let staged = std::mem::take(&mut head.staged).into_iter();
            self.staged.extend(staged.map(|staged| (slot.clone(), staged)));
        }
        self.heads.take(job);
    }

    /// Whatever the folder would rather gather. A moment's more comes by itself where half of a window was written already.
    fn must_be_written(&self) -> bool {
        let pressed = self.heads.is_pressed() && self.heads.age().is_some_and(|age| age >= TICK);
        pressed || self.heads.is_released()
    }
}

/// The sink's end of the queue to its folder.
pub(crate) struct FolderTransport {
    queue: Sender<Job>,
    takes: Box<dyn Fn(&Delivery) -> bool + Send + Sync>,
}

impl FolderTransport {
    /// Starts the thread that writes. `takes`: whether a delivery can be written.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn start(
        folder: impl Folder,
        takes: impl Fn(&Delivery) -> bool + Send + Sync + 'static,
        sink: Arc<str>,
        metrics: SinkMetrics,
    ) -> io::Result<Self> {
        let (queue, jobs) = channel();
        let name = format!("folder-{sink}");
        std::thread::Builder::new().name(name).spawn(move || run(folder, &jobs, &Told { sink, metrics }))?;
        Ok(Self { queue, takes: Box::new(takes) })
    }

    /// `commit`: of the consumer that the heads come from.
    pub(crate) fn commits(&self, commit: impl Fn(&Slot, i64) + Send + Sync + 'static) -> Commits {
        let queue = self.queue.clone();
        Commits::new(move |job| queue.send(job).is_ok(), commit)
    }
}

impl Transport for FolderTransport {
    async fn attempt(&self, delivery: &Delivery) -> Attempt {
        if (self.takes)(delivery) { Attempt::Stored } else { Attempt::Unstorable }
    }

    fn stages(&self) -> bool {
        true
    }
}

/// Whom a folder's failures are told.
struct Told {
    sink: Arc<str>,
    metrics: SinkMetrics,
}

impl Told {
    fn held(&self, error: &io::Error) {
        let reason = HoldReason::StoreRefused;
        let remedy = if is_too_many_files(error) { FEW_DESCRIPTORS } else { reason.remedy() };
        self.metrics.held(true);
        tracing::error!(
            sink = %self.sink, code = reason.code(), last = %error, remedy,
            "the sink is held: nothing is written to its folder and nothing is lost"
        );
    }

    fn open(&self) {
        self.metrics.held(false);
        tracing::info!(sink = %self.sink, why = "its folder takes files again", "the sink is open again");
    }
}

fn run(mut folder: impl Folder, jobs: &Receiver<Job>, told: &Told) {
    let mut pending = Pending::default();
    let mut held = false;
    loop {
        match jobs.recv_timeout(TICK) {
            Ok(job) => pending.take(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        jobs.try_iter().for_each(|job| pending.take(job));
        let due = pending.must_be_written() || folder.is_due(&pending);
        let done = if due { folder.write(&pending) } else { Ok(()) };
        if due && done.is_ok() {
            std::mem::take(&mut pending).heads.commit();
        }
        match (done.and_then(|()| folder.tend()), held) {
            (Ok(()), false) => {}
            (Ok(()), true) => told.open(),
            (Err(error), was_held) => {
                if !was_held {
                    told.held(&error);
                }
                std::thread::sleep(TICK);
                held = true;
                continue;
            }
        }
        held = false;
    }
}

/// Whether the folder is of these topics, and not of others that had their names.
///
/// # Errors
/// When it is not, or Kafka or the folder cannot be read.
pub(crate) async fn look(folder: &Path, kafka: &hirewire_kafka::Settings) -> Result<(), Stop> {
    let (folder, kafka) = (folder.to_path_buf(), kafka.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let known = Positions::read(&folder);
        let known = known.map_err(|error| Stop::retryable("sink-folder", format!("{}: {error}", folder.display())))?;
        let Some((positions, _)) = known else { return Ok(()) };
        let Some(place) = beyond(&kafka, positions.all())? else { return Ok(()) };
        let what = format!("{} stands at {place}: the topic was made anew; move the folder away", folder.display());
        Err(Stop::retryable("offset-out-of-range", what))
    });
    looking.await.map_err(|error| Stop::retryable("table-timeout", error.to_string()))?
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use hirewire_schemas::Entity;
    use serde_json::json;

    use super::*;
    use crate::deliver::{Content, Copied, OnRefusal};
    use crate::event::Event;
    use crate::source::{Commit, Head};

    /// Stage changes that are handed on as they are, each with its number as offset.
    pub(crate) fn moves(numbers: std::ops::Range<i64>) -> Vec<Staged> {
        let staged = |number: i64| {
            let tree = json!({"meta": {"event_id": "e", "observed_at": "2026-01-01T00:00:00Z"}, "sequence_no": number});
            let event = Arc::new(Event::new(Entity::StageChange, tree).unwrap());
            let delivery = Delivery {
                idempotency_key: uuid::Uuid::nil(),
                key: None,
                trace: hirewire_service::TraceParent::new_root(),
                content: Content::Copy(Copied { event, framed: Bytes::new() }),
                on_refusal: OnRefusal::Skip,
            };
            Staged { offset: number, delivery }
        };
        numbers.map(staged).collect()
    }

    /// What waits of one partition.
    pub(crate) fn pending(partition: i32, staged: Vec<Staged>) -> Pending {
        let slot = Slot { topic: "t".into(), partition };
        let next = staged.last().map_or(0, |staged| staged.offset + 1);
        let mut pending = Pending::default();
        let head = Head { next_offset: next, records: staged.len(), staged };
        pending.take(Job::Head { slot, head, commit: Arc::new(|_, _| {}) });
        pending
    }

    struct Failing(Vec<bool>, Arc<std::sync::Mutex<usize>>);

    impl Folder for Failing {
        fn is_due(&self, pending: &Pending) -> bool {
            !pending.heads.is_empty()
        }

        fn write(&mut self, pending: &Pending) -> io::Result<()> {
            if self.0.pop().unwrap_or_default() {
                return Err(io::Error::other("no space"));
            }
            *self.1.lock().unwrap() += pending.staged.len();
            Ok(())
        }

        fn tend(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn while_the_disk_takes_nothing_the_sink_is_held_and_what_waits_is_tried_again() {
        let registry = prometheus::Registry::new();
        let metrics = crate::Metrics::register(&registry).unwrap().sink("files");
        let held = || {
            let families = registry.gather();
            let held = families.iter().find(|family| family.name() == "hirewire_route_sink_held").unwrap();
            held.get_metric()[0].get_gauge().get_value() > 0.0
        };
        let written = Arc::new(std::sync::Mutex::new(0));
        let folder = Failing(vec![true, true], Arc::clone(&written));
        let transport = FolderTransport::start(folder, |_| true, "files".into(), metrics).unwrap();
        let (done, mut released) = tokio::sync::oneshot::channel::<()>();
        let slot = Slot { topic: "t".into(), partition: 0 };
        let committed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&committed);
        let commits = transport.commits(move |_, next| heard.lock().unwrap().push(next));
        for numbers in [0..3, 3..7] {
            let (next_offset, records) = (numbers.end, numbers.clone().count());
            commits.commit(&slot, Head { next_offset, records, staged: moves(numbers) });
        }
        commits.release(Box::new(done));
        crate::tests::support::until("the hold", held).await;
        assert_eq!(released.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
        assert!(committed.lock().unwrap().is_empty());
        crate::tests::support::until("the disk to take it", || !held()).await;
        assert!(released.await.is_err(), "given back when it was written");
        assert_eq!((*written.lock().unwrap(), committed.lock().unwrap().last()), (7, Some(&7)));
    }

    /// It would gather for ever.
    struct Gathering(Arc<std::sync::Mutex<usize>>);

    impl Folder for Gathering {
        fn is_due(&self, _: &Pending) -> bool {
            false
        }

        fn write(&mut self, pending: &Pending) -> io::Result<()> {
            *self.0.lock().unwrap() += pending.staged.len();
            Ok(())
        }

        fn tend(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_a_full_partition_waits_for_is_written_though_more_would_be_gathered() {
        let metrics = crate::Metrics::register(&prometheus::Registry::new()).unwrap().sink("files");
        let written = Arc::new(std::sync::Mutex::new(0));
        let transport =
            FolderTransport::start(Gathering(Arc::clone(&written)), |_| true, "files".into(), metrics).unwrap();
        let committed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&committed);
        let commits = transport.commits(move |_, next| heard.lock().unwrap().push(next));
        let slot = Slot { topic: "t".into(), partition: 0 };
        commits.commit(&slot, Head { next_offset: 3, records: 3, staged: moves(0..3) });
        tokio::time::sleep(TICK * 2).await;
        assert_eq!(*written.lock().unwrap(), 0, "it gathers");
        commits.press();
        crate::tests::support::until("the commit", || committed.lock().unwrap().last() == Some(&3)).await;
        assert_eq!(*written.lock().unwrap(), 3);
    }
}
