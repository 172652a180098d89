//! Compacted topics as tables: read whole, to the high watermark, and followed.
//!
//! The end that counts is the *high watermark*, not the last stable offset: an open transaction hides newer
//! committed records, and state restored without them would be stale without anybody noticing (FAULTS, section 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hirewire_service::Shutdown;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Logging, on_consumer_error};
use crate::{Inbound, Settings, Stop};

/// Which records a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions; waits for open ones to end.
    Committed,
    /// Everything, also what was aborted.
    Uncommitted,
}

/// How the end of a partition is waited for: a reader that is only to reach it must not wait for what comes after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    CatchUp,
    Follow,
}

fn consumer(settings: &Settings, isolation: Isolation, pace: Pace) -> Result<BaseConsumer<Logging>, Stop> {
    // A group is only a name here: nothing is ever committed to it.
    let mut config = settings.consumer("hirewire-table")?;
    config.set("enable.partition.eof", "true");
    if isolation == Isolation::Uncommitted {
        config.set("isolation.level", "read_uncommitted");
    }
    if pace == Pace::CatchUp {
        // The broker reports an end only when this is over, and a change of topic waits for it again.
        config.set("fetch.wait.max.ms", "5");
    }
    config.create_with_context(Logging::default()).map_err(|error| Stop::kafka("create a consumer", &error))
}

/// One that sees also what is open.
pub(crate) fn uncommitted(settings: &Settings) -> Result<BaseConsumer<Logging>, Stop> {
    consumer(settings, Isolation::Uncommitted, Pace::CatchUp)
}

/// How long a partition may take to be read to its end without any record in between.
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// Reads one partition from `from_offset` (or its first record, if that is later) to the high watermark of now.
/// Returns the offset to go on from. Blocks.
///
/// # Errors
/// When the broker is away too long, or `on` refuses a record.
pub fn read_table(
    settings: &Settings,
    topic: &str,
    partition: i32,
    from_offset: i64,
    isolation: Isolation,
    on: &mut dyn FnMut(Inbound) -> Result<(), Stop>,
) -> Result<i64, Stop> {
    let reader = consumer(settings, isolation, Pace::CatchUp)?;
    let end = stable_end(settings, &reader, topic, partition, isolation)?;
    let (low, _) = watermarks(&reader, topic, partition)?;
    let start = from_offset.max(low);
    if start >= end {
        return Ok(end.max(start));
    }
    // Assigning a topic whose leaders the client has not looked up yet costs up to a second.
    partition_count(&reader, topic)?;
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, partition, Offset::Offset(start))
        .and_then(|()| reader.assign(&assignment))
        .map_err(|error| Stop::kafka(&format!("read {topic}"), &error))?;
    let name: Arc<str> = topic.into();
    let mut quiet_since = Instant::now();
    loop {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                quiet_since = Instant::now();
                let offset = message.offset();
                on(Inbound::copy(&message, &name))?;
                if offset + 1 >= end {
                    return Ok(offset + 1);
                }
            }
            // The end in this isolation, at or after the one that was asked for.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(end),
            Some(Err(error)) => on_consumer_error(&error)?,
            None if quiet_since.elapsed() > QUIET_LIMIT => {
                return Err(Stop::retryable(
                    "table-timeout",
                    format!("{topic} partition {partition} was not read to its end within 60 s"),
                ));
            }
            None => {}
        }
    }
}

/// The high watermark of now, once everything below it is decided (no open transaction hides it).
fn stable_end(
    settings: &Settings,
    reader: &BaseConsumer<Logging>,
    topic: &str,
    partition: i32,
    isolation: Isolation,
) -> Result<i64, Stop> {
    if isolation == Isolation::Uncommitted {
        return Ok(watermarks(reader, topic, partition)?.1);
    }
    let plain = uncommitted(settings)?;
    let (_, high) = watermarks(&plain, topic, partition)?;
    let until = Instant::now() + QUIET_LIMIT;
    loop {
        // With read_committed the upper watermark is the last stable offset.
        let (_, stable) = watermarks(reader, topic, partition)?;
        if stable >= high {
            return Ok(stable);
        }
        if Instant::now() > until {
            return Err(Stop::retryable(
                "table-timeout",
                format!("an open transaction hides the end of {topic} partition {partition} for over 60 s"),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn watermarks(consumer: &BaseConsumer<Logging>, topic: &str, partition: i32) -> Result<(i64, i64), Stop> {
    let mut attempt = 0;
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)) {
            Ok(found) => return Ok(found),
            Err(error) if attempt == 10 => {
                return Err(Stop::kafka(&format!("find the end of {topic} partition {partition}"), &error));
            }
            Err(_) => {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// Where a follower starts: next offsets by topic and partition; what is absent starts at its beginning.
pub type TableStart = BTreeMap<(String, i32), i64>;

/// Follows partitions of some topics on a thread of its own.
pub struct TableFollower {
    caught_up: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TableFollower {
    /// `on` sees each topic's records in order, one topic after another until all were read to their ends, then all as
    /// they come. It runs on the follower's thread.
    ///
    /// # Errors
    /// When the settings are refused or a topic is missing.
    pub fn start(
        settings: &Settings,
        topics: &[String],
        from: TableStart,
        isolation: Isolation,
        shutdown: Shutdown,
        on: impl FnMut(Inbound) + Send + 'static,
    ) -> Result<Self, Stop> {
        let reader = consumer(settings, isolation, Pace::Follow)?;
        let mut partitions = Vec::new();
        for topic in topics {
            partitions.push((Arc::<str>::from(topic.as_str()), (0..partition_count(&reader, topic)?).collect()));
        }
        Self::follow(settings, reader, partitions, from, isolation, shutdown, on)
    }

    /// The same for one partition. `on` may block: what comes after it waits at the broker.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_partition(
        settings: &Settings,
        topic: &str,
        partition: i32,
        from_offset: i64,
        shutdown: Shutdown,
        on: impl FnMut(Inbound) + Send + 'static,
    ) -> Result<Self, Stop> {
        let reader = consumer(settings, Isolation::Committed, Pace::Follow)?;
        partition_count(&reader, topic)?;
        let (partitions, from) =
            (vec![(Arc::from(topic), vec![partition])], [((topic.to_owned(), partition), from_offset)]);
        Self::follow(settings, reader, partitions, from.into(), Isolation::Committed, shutdown, on)
    }

    fn follow(
        settings: &Settings,
        reader: BaseConsumer<Logging>,
        partitions: Vec<(Arc<str>, Vec<i32>)>,
        from: TableStart,
        isolation: Isolation,
        shutdown: Shutdown,
        mut on: impl FnMut(Inbound) + Send + 'static,
    ) -> Result<Self, Stop> {
        let settings = settings.clone();
        let caught_up = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, ended) = (Arc::clone(&caught_up), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("table-follower".to_owned())
            .spawn(move || {
                let running = || !shutdown.is_requested() && !ended.load(Ordering::Acquire);
                let mut next = from;
                let mut follow = || -> Result<(), Stop> {
                    let catching_up = consumer(&settings, isolation, Pace::CatchUp)?;
                    for (topic, wanted) in &partitions {
                        if has_more(&catching_up, topic, wanted, &next)? {
                            read_to_ends(&catching_up, topic, wanted, &mut next, &running, &mut on)?;
                        }
                    }
                    drop(catching_up);
                    flag.store(true, Ordering::Release);
                    follow_all(&reader, &partitions, &next, &running, &mut on)
                };
                while let Err(stop) = follow() {
                    if !running() {
                        break;
                    }
                    tracing::warn!(%stop, "a table is read again after an error");
                    std::thread::sleep(Duration::from_millis(500));
                }
            })
            .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
        Ok(Self { caught_up, stop, thread: Some(thread) })
    }

    /// Whether everything that was there at the start has been seen.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}

impl Drop for TableFollower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a table's thread panicked");
        }
    }
}

/// A topic that was created a moment ago is not known to every broker yet: it is asked for during five seconds.
fn partition_count(reader: &BaseConsumer<Logging>, topic: &str) -> Result<i32, Stop> {
    for _ in 0..25 {
        let metadata = reader
            .fetch_metadata(Some(topic), Duration::from_secs(10))
            .map_err(|error| Stop::kafka(&format!("look up {topic}"), &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        match found.map(|found| found.partitions().len()) {
            Some(count) if count > 0 => return Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
    Err(Stop::retryable("topic-missing", format!("{topic} does not exist: run `hirewire topics apply`")))
}

fn assign(
    reader: &BaseConsumer<Logging>,
    wanted: impl Iterator<Item = (Arc<str>, i32)>,
    next: &TableStart,
) -> Result<(), Stop> {
    let mut assignment = TopicPartitionList::new();
    for (topic, partition) in wanted {
        let offset =
            next.get(&(topic.to_string(), partition)).map_or(Offset::Beginning, |offset| Offset::Offset(*offset));
        assignment.add_partition_offset(&topic, partition, offset).map_err(|error| Stop::kafka("assign", &error))?;
    }
    reader.assign(&assignment).map_err(|error| Stop::kafka("assign", &error))
}

/// Whether anything of the topic was not seen yet. Reading to the end of what has none would cost two fetches' waits.
fn has_more(reader: &BaseConsumer<Logging>, topic: &str, wanted: &[i32], next: &TableStart) -> Result<bool, Stop> {
    for partition in wanted {
        let (low, high) = watermarks(reader, topic, *partition)?;
        if next.get(&(topic.to_owned(), *partition)).map_or(low, |next| low.max(*next)) < high {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One topic, until each of the partitions reported its end.
fn read_to_ends(
    reader: &BaseConsumer<Logging>,
    topic: &Arc<str>,
    wanted: &[i32],
    next: &mut TableStart,
    running: &impl Fn() -> bool,
    on: &mut impl FnMut(Inbound),
) -> Result<(), Stop> {
    // Assigning a topic whose leaders the client has not looked up yet costs up to a second.
    partition_count(reader, topic)?;
    assign(reader, wanted.iter().map(|partition| (topic.clone(), *partition)), next)?;
    let mut open: std::collections::BTreeSet<i32> = wanted.iter().copied().collect();
    while !open.is_empty() && running() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                next.insert((topic.to_string(), message.partition()), message.offset() + 1);
                on(Inbound::copy(&message, topic));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => on_consumer_error(&error)?,
            None => {}
        }
    }
    Ok(())
}

fn follow_all(
    reader: &BaseConsumer<Logging>,
    partitions: &[(Arc<str>, Vec<i32>)],
    next: &TableStart,
    running: &impl Fn() -> bool,
    on: &mut impl FnMut(Inbound),
) -> Result<(), Stop> {
    assign(
        reader,
        partitions.iter().flat_map(|(topic, wanted)| wanted.iter().map(move |partition| (topic.clone(), *partition))),
        next,
    )?;
    while running() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                if let Some((topic, _)) = partitions.iter().find(|(topic, _)| **topic == *message.topic()) {
                    on(Inbound::copy(&message, topic));
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => on_consumer_error(&error)?,
        }
    }
    Ok(())
}
