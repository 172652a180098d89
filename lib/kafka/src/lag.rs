//! How far a consumer is behind, by topic: in records, in seconds, and for how long an open transaction hides records.
//!
//! In: librdkafka's statistics every few seconds, and what was finished. Out: gauges, the worst partition of this
//! process for each topic. A partition label would be the finer view; Kafka's own tools have it.
//!
//! Seconds are the age of the oldest record that is not finished, by when it was first seen at the end of its log
//! (never less; up to one [`INTERVAL`] more), or by its own time while the consumer works through what is old.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::IntCounter;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use crate::metrics::GroupMetrics;

/// How often statistics come.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Ends of a log that are remembered; beyond it every second one is forgotten.
const ENDS: usize = 1024;

/// One consumer's view of its partitions.
pub(crate) struct Lag {
    group: String,
    topics: Vec<Arc<str>>,
    metrics: GroupMetrics,
    partitions: Mutex<BTreeMap<(Arc<str>, i32), Partition>>,
}

impl Lag {
    pub(crate) fn new(group: &str, topics: &[Arc<str>], metrics: GroupMetrics) -> Self {
        let lag = Self { group: group.to_owned(), topics: topics.to_vec(), metrics, partitions: Mutex::default() };
        lag.show(&BTreeMap::new());
        lag.rebalances().inc_by(0);
        lag
    }

    /// These partitions are ours now and no others, each from its offset.
    pub(crate) fn assigned(&self, offsets: &TopicPartitionList) {
        self.rebalances().inc();
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.clear();
        for element in offsets.elements() {
            if let Some(topic) = self.topics.iter().find(|topic| &***topic == element.topic()) {
                let done = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                partitions.insert((topic.clone(), element.partition()), Partition { done, ..Partition::default() });
            }
        }
    }

    /// No partition is ours.
    pub(crate) fn revoked(&self) {
        self.rebalances().inc();
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.show(&BTreeMap::new());
    }

    fn rebalances(&self) -> IntCounter {
        self.metrics.rebalances.with_label_values(&[self.group.as_str()])
    }

    /// Everything before `next` was handed to whoever finishes it.
    pub(crate) fn handed_out(&self, topic: &Arc<str>, partition: i32, next: i64) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = partitions.get_mut(&(topic.clone(), partition)) {
            partition.handed_out = next;
        }
    }

    /// Everything before `next` is finished; the last of it has the time `written_ms`.
    pub(crate) fn done(&self, topic: &Arc<str>, partition: i32, next: i64, written_ms: i64) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = partitions.get_mut(&(topic.clone(), partition)) {
            partition.done(next, age(written_ms), Instant::now());
        }
    }

    /// Takes what librdkafka says and sets the gauges.
    pub(crate) fn observe(&self, statistics: &Statistics) {
        let now = Instant::now();
        let mut behind: BTreeMap<Arc<str>, Behind> = BTreeMap::new();
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        for ((topic, number), partition) in &mut *partitions {
            let told = statistics.topics.get(&**topic).and_then(|topic| topic.partitions.get(number));
            let Some(told) = told else { continue };
            let seen = Seen {
                start: told.lo_offset,
                end: told.hi_offset,
                readable_end: told.ls_offset,
                passed: told.app_offset,
            };
            if let Some(one) = partition.observe(&seen, now) {
                behind.entry(topic.clone()).or_default().add(one);
            }
        }
        drop(partitions);
        self.show(&behind);
    }

    fn show(&self, behind: &BTreeMap<Arc<str>, Behind>) {
        for topic in &self.topics {
            let labels = [self.group.as_str(), topic];
            let of_topic = behind.get(topic).copied().unwrap_or_default();
            self.metrics.records.with_label_values(&labels).set(of_topic.records);
            self.metrics.seconds.with_label_values(&labels).set(of_topic.oldest.as_secs_f64());
            self.metrics.open_transaction.with_label_values(&labels).set(of_topic.hidden.as_secs_f64());
        }
    }
}

/// How long ago that was; 0 for the future and for a record without a time.
fn age(written_ms: i64) -> Duration {
    let written = u64::try_from(written_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    written.map_or(Duration::ZERO, |written| now.saturating_sub(written))
}

/// What librdkafka says of a partition. Negative: not known yet.
struct Seen {
    start: i64,
    /// After the last record that is stored.
    end: i64,
    /// After the last record that a committed reader may see.
    readable_end: i64,
    /// After what it has given us: also after what is never handed out, such as the marks of transactions.
    passed: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Behind {
    records: i64,
    oldest: Duration,
    hidden: Duration,
}

impl Behind {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.oldest = self.oldest.max(other.oldest);
        self.hidden = self.hidden.max(other.hidden);
    }
}

#[derive(Default)]
struct Partition {
    /// After the last finished record.
    done: Option<i64>,
    /// After the last record handed out.
    handed_out: i64,
    /// When the last finished record was finished, and how old it was.
    progress: Option<(Instant, Duration)>,
    /// Each end of the log and when it was last that, oldest first. Of those before `done` only the newest is kept.
    ends: VecDeque<(Instant, i64)>,
    first_seen: Option<Instant>,
    last_seen: Option<Instant>,
    /// Where what is readable ends before the log does, and since when.
    hidden: Option<(i64, Instant)>,
}

impl Partition {
    fn done(&mut self, next: i64, age: Duration, now: Instant) {
        self.done = Some(self.done.map_or(next, |done| done.max(next)));
        self.progress = Some((now, age));
    }

    /// `None` while nothing is known of the log.
    fn observe(&mut self, seen: &Seen, now: Instant) -> Option<Behind> {
        if seen.end < 0 {
            return None;
        }
        let position = self.position(seen);
        self.remember_end(seen.end, position, now);
        let records = (seen.end - position).max(0);
        let oldest = if records == 0 { Duration::ZERO } else { self.oldest(position, now) };
        self.last_seen = Some(now);
        Some(Behind { records, oldest, hidden: self.hidden(seen, now) })
    }

    fn position(&self, seen: &Seen) -> i64 {
        let done = self.done.unwrap_or_else(|| seen.start.max(0));
        if self.handed_out <= done { done.max(seen.passed) } else { done }
    }

    fn remember_end(&mut self, end: i64, position: i64, now: Instant) {
        self.first_seen.get_or_insert(now);
        match self.ends.back_mut() {
            Some(last) if last.1 == end => last.0 = now,
            _ => self.ends.push_back((now, end)),
        }
        while self.ends.get(1).is_some_and(|second| second.1 <= position) {
            self.ends.pop_front();
        }
        if self.ends.len() > ENDS {
            let mut number = 0;
            self.ends.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    }

    fn oldest(&self, position: i64, now: Instant) -> Duration {
        let unread_since = match self.ends.front() {
            // The log ended here then, so what stands behind is younger.
            Some((then, end)) if *end <= position => Some(*then),
            // Behind from the start.
            _ => self.first_seen,
        };
        let by_log = unread_since.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        let by_record = match (self.progress, self.last_seen) {
            (Some((when, age)), Some(before)) if when >= before => age,
            _ => Duration::ZERO,
        };
        by_log.max(by_record)
    }

    fn hidden(&mut self, seen: &Seen, now: Instant) -> Duration {
        if seen.readable_end < 0 || seen.readable_end >= seen.end {
            self.hidden = None;
            return Duration::ZERO;
        }
        match self.hidden {
            Some((end, since)) if end == seen.readable_end => now.saturating_duration_since(since),
            _ => {
                self.hidden = Some((seen.readable_end, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A partition whose consumer stands at 100 of 100.
    fn at_its_end() -> (Partition, Instant) {
        let mut partition = Partition { done: Some(100), ..Partition::default() };
        let now = Instant::now();
        let behind = partition.observe(&seen(100, 100), now).unwrap();
        assert_eq!(behind, Behind::default());
        (partition, now)
    }

    fn seen(end: i64, passed: i64) -> Seen {
        Seen { start: 0, end, readable_end: end, passed }
    }

    #[test]
    fn each_change_of_the_assignment_is_counted_and_before_the_first_there_is_a_nought() {
        let registry = prometheus::Registry::new();
        let lag = Lag::new("a-group", &[], GroupMetrics::register("test", &registry).unwrap());
        let shown = || {
            let families = registry.gather();
            let counted = families.iter().find(|family| family.name() == "hirewire_test_rebalances_total")?;
            let [one] = counted.get_metric() else { return None };
            Some((one.get_label()[0].value().to_owned(), one.get_counter().get_value() as u64))
        };
        assert_eq!(shown(), Some(("a-group".to_owned(), 0)));
        lag.assigned(&TopicPartitionList::new());
        lag.revoked();
        lag.assigned(&TopicPartitionList::new());
        assert_eq!(shown(), Some(("a-group".to_owned(), 3)));
    }

    #[test]
    fn a_record_that_is_not_taken_grows_old() {
        let (mut partition, start) = at_its_end();
        let ages: Vec<u64> = (1..=12)
            .map(|tick| partition.observe(&seen(103, -1001), start + tick * 5 * SECOND).unwrap().oldest.as_secs())
            .collect();
        assert_eq!(ages, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]);
    }

    #[test]
    fn an_hour_of_silence_is_no_lag() {
        let (mut partition, start) = at_its_end();
        partition.done(100, SECOND, start);
        for tick in 1..720 {
            assert_eq!(partition.observe(&seen(100, 100), start + tick * 5 * SECOND).unwrap().oldest, Duration::ZERO);
        }
        partition.handed_out = 101;
        let behind = partition.observe(&seen(101, 101), start + 3600 * SECOND).unwrap();
        assert_eq!((behind.records, behind.oldest), (1, 5 * SECOND));
    }

    #[test]
    fn what_is_handed_out_and_not_finished_counts() {
        let (mut partition, start) = at_its_end();
        partition.handed_out = 140;
        let behind = partition.observe(&seen(140, 140), start + 5 * SECOND).unwrap();
        assert_eq!(behind.records, 40);
        partition.done(130, SECOND, start + 6 * SECOND);
        assert_eq!(partition.observe(&seen(140, 140), start + 10 * SECOND).unwrap().records, 10);
        partition.done(140, SECOND, start + 11 * SECOND);
        let behind = partition.observe(&seen(140, 140), start + 15 * SECOND).unwrap();
        assert_eq!(behind, Behind::default());
    }

    #[test]
    fn the_mark_of_a_transaction_is_no_record() {
        let (mut partition, start) = at_its_end();
        partition.handed_out = 102;
        let behind = partition.observe(&seen(103, 103), start + SECOND).unwrap();
        assert_eq!(behind.records, 3, "before 102 is done, 102 may stand behind it");
        partition.done(102, SECOND, start + SECOND);
        let behind = partition.observe(&seen(103, 103), start + 5 * SECOND).unwrap();
        assert_eq!(behind.records, 0, "102 is the mark: passed, never handed out");
    }

    #[test]
    fn who_catches_up_is_as_late_as_the_records_it_works_on() {
        let mut partition = Partition { done: Some(0), ..Partition::default() };
        let start = Instant::now();
        partition.observe(&seen(1000, -1001), start);
        partition.done(500, 7200 * SECOND, start + 4 * SECOND);
        partition.handed_out = 900;
        let behind = partition.observe(&seen(1000, 900), start + 5 * SECOND).unwrap();
        assert_eq!((behind.records, behind.oldest), (500, 7200 * SECOND));
        // Stuck since: no longer by the record, which may have been the last old one, but growing.
        let behind = partition.observe(&seen(1000, 900), start + 600 * SECOND).unwrap();
        assert_eq!(behind.oldest, 600 * SECOND);
    }

    #[test]
    fn a_busy_log_is_as_late_as_its_position_says() {
        let (mut partition, start) = at_its_end();
        for tick in 1..=60_u32 {
            partition.done(100 + i64::from(tick.saturating_sub(6)) * 10, SECOND, start + tick * 5 * SECOND - SECOND);
            let end = 100 + i64::from(tick) * 10;
            partition.handed_out = end;
            let behind = partition.observe(&seen(end, end), start + tick * 5 * SECOND).unwrap();
            if tick > 6 {
                assert_eq!((behind.records, behind.oldest), (60, 30 * SECOND), "tick {tick}");
            }
        }
        assert!(partition.ends.len() < 10, "ends before the position are forgotten");
    }

    #[test]
    fn a_transaction_is_open_as_long_as_its_beginning_stands() {
        let (mut partition, start) = at_its_end();
        let at = |readable_end, tick: u32, partition: &mut Partition| {
            let seen = Seen { readable_end, ..seen(110, readable_end) };
            partition.observe(&seen, start + tick * 5 * SECOND).unwrap().hidden.as_secs()
        };
        assert_eq!(at(100, 1, &mut partition), 0);
        assert_eq!(at(100, 2, &mut partition), 5);
        assert_eq!(at(105, 3, &mut partition), 0, "another one");
        assert_eq!(at(105, 4, &mut partition), 5);
        assert_eq!(at(110, 5, &mut partition), 0);
        assert_eq!(at(109, 6, &mut partition), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut partition, start) = at_its_end();
        for tick in 1..5000_u32 {
            partition.observe(&seen(100 + i64::from(tick), -1001), start + tick * 5 * SECOND);
        }
        assert!(partition.ends.len() <= ENDS);
        let behind = partition.observe(&seen(6000, -1001), start + 25_000 * SECOND).unwrap();
        assert_eq!(behind.oldest, 25_000 * SECOND);
    }
}
