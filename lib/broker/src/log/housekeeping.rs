//! The thread that keeps the log small: retention, compaction, expiry and checkpoints.
//!
//! In: the running broker; out: nothing that a client waits for. It wakes at the housekeeping interval, when the journal
//! has grown enough for a checkpoint, and when the broker closes (for a last checkpoint).

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGaugeVec;
use tracing::{error, warn};

use super::checkpoint;
use super::compaction;
use super::journal::Frame;
use super::op::Op;
use super::partition::Partition;
use crate::core::Core;
use crate::groups::membership::Phase;
use crate::sync::{lock, now_ms};
use crate::topics::Topic;
use crate::transactions::Status;

#[derive(Default)]
struct Signal {
    closing: bool,
    garbage: Vec<PathBuf>,
}

/// To tell the thread that the broker closes, or what it has to remove.
#[derive(Clone, Default)]
pub(crate) struct Housekeeper {
    shared: Arc<(Mutex<Signal>, Condvar)>,
}

impl Housekeeper {
    /// With `overdue` it begins with a checkpoint.
    pub(crate) fn start(&self, core: Arc<Core>, overdue: bool) -> std::io::Result<std::thread::JoinHandle<()>> {
        let this = self.clone();
        std::thread::Builder::new().name("broker-housekeeping".to_owned()).spawn(move || this.run(&core, overdue))
    }

    /// A file or directory that is out of use once the next checkpoint is written.
    pub(crate) fn discard(&self, path: PathBuf) {
        lock(&self.shared.0).garbage.push(path);
    }

    pub(crate) fn close(&self) {
        lock(&self.shared.0).closing = true;
        self.shared.1.notify_all();
    }

    fn run(&self, core: &Core, mut overdue: bool) {
        let mut garbage = Vec::new();
        let mut last_checkpoint = Instant::now();
        let mut last_submitted = u64::MAX;
        loop {
            let interval = if overdue { Duration::ZERO } else { core.settings.housekeeping_interval };
            let closing = self.sleep(interval, &mut garbage);
            if !closing {
                self.tidy(core);
                garbage.append(&mut lock(&self.shared.0).garbage);
            }
            let submitted = core.journal.submitted();
            let grown = core.journal.file_bytes() >= core.settings.checkpoint_bytes;
            let aged = last_checkpoint.elapsed() >= core.settings.checkpoint_interval && submitted != last_submitted;
            if grown || aged || closing || overdue || !garbage.is_empty() {
                overdue = false;
                match checkpoint::write(core, &mut garbage) {
                    Ok(()) => last_submitted = submitted,
                    Err(problem) if closing => {
                        warn!(error = %problem, "no checkpoint at the end: the next start replays the journal")
                    }
                    Err(problem) => error!(error = %problem, "no checkpoint: the journal grows until there is one"),
                }
                last_checkpoint = Instant::now();
            }
            if closing {
                return;
            }
        }
    }

    fn sleep(&self, interval: Duration, garbage: &mut Vec<PathBuf>) -> bool {
        let signal = lock(&self.shared.0);
        let waited = self.shared.1.wait_timeout_while(signal, interval, |signal| !signal.closing);
        let (mut signal, _) = waited.unwrap_or_else(PoisonError::into_inner);
        garbage.append(&mut signal.garbage);
        signal.closing
    }

    fn tidy(&self, core: &Core) {
        let now = now_ms();
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let (mut bytes, mut segments, mut partitions) = (0u64, 0usize, 0usize);
        for topic in core.topics.all() {
            for partition in &topic.partitions {
                retain(core, self, &topic, partition, now);
                if topic.settings.compact {
                    compaction::compact(core, &topic, partition, now);
                }
                let mut log = partition.lock();
                log.producers.expire(now.saturating_sub(ms(core.settings.producer_id_expiration)));
                log.trim_recent(0);
                bytes += log.bytes();
                segments += log.segments.len();
                partitions += 1;
            }
        }
        core.transactions.expire(core, now.saturating_sub(ms(core.settings.transactional_id_expiration)));
        expire_offsets(core, now.saturating_sub(ms(core.settings.offsets_retention)));
        core.metrics.log_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        core.metrics.segments.set(i64::try_from(segments).unwrap_or(i64::MAX));
        core.metrics.partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
        let phases = [Phase::Empty, Phase::PreparingRebalance, Phase::CompletingRebalance, Phase::Stable];
        let of_groups = core.groups.all().iter().map(|group| group.lock().membership.phase.name()).collect::<Vec<_>>();
        tell_states(&core.metrics.groups, phases.map(Phase::name), &of_groups);
        let statuses = [Status::Empty, Status::Ongoing, Status::Committed, Status::Aborted];
        let of_all = core.transactions.all().iter().map(|one| one.lock().status.name()).collect::<Vec<_>>();
        tell_states(&core.metrics.transactions, statuses.map(Status::name), &of_all);
    }
}

fn tell_states(gauge: &IntGaugeVec, states: [&str; 4], found: &[&str]) {
    for state in states {
        let count = found.iter().filter(|found| **found == state).count();
        gauge.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// Retention by time and size: whole segments go, the newest is closed first if it is due.
fn retain(core: &Core, housekeeper: &Housekeeper, topic: &Topic, partition: &Arc<Partition>, now: i64) {
    let settings = &topic.settings;
    let mut log = partition.lock();
    if log.deleted {
        return;
    }
    let expired = |max_timestamp: i64| {
        settings.delete
            && settings.retention_ms >= 0
            && max_timestamp >= 0
            && now - max_timestamp > settings.retention_ms
    };
    let due = log.segments.back().is_some_and(|newest| {
        let old = newest.first_timestamp >= 0 && now - newest.first_timestamp > settings.segment_ms;
        newest.bytes > 0 && (old || expired(newest.max_timestamp))
    });
    if due && log.written == log.end {
        log.roll();
    }
    if !settings.delete {
        return;
    }
    let mut excess = match u64::try_from(settings.retention_bytes) {
        Ok(limit) => log.bytes().saturating_sub(limit),
        Err(_) => 0,
    };
    let mut start = log.start;
    let newest = log.segments.len().saturating_sub(1);
    let bases: Vec<i64> = log.segments.iter().map(|segment| segment.base_offset).collect();
    for (at, segment) in log.segments.iter().enumerate().take(newest) {
        let too_much = segment.bytes > 0 && excess >= segment.bytes;
        let next = bases.get(at + 1).copied().unwrap_or(log.end);
        if !(expired(segment.max_timestamp) || too_much) || next > log.last_stable_offset() {
            break;
        }
        excess = excess.saturating_sub(segment.bytes);
        start = next;
    }
    if start > log.start {
        advance_start(core, housekeeper, partition, &mut log, start);
    }
}

/// Raises a log's start; files that are no longer needed go with the next checkpoint.
pub(crate) fn advance_start(
    core: &Core,
    housekeeper: &Housekeeper,
    partition: &Arc<Partition>,
    log: &mut super::partition::Log,
    offset: i64,
) -> super::journal::Lsn {
    for segment in log.set_start(offset) {
        housekeeper.discard(segment.data_path(&partition.dir));
        housekeeper.discard(segment.index_path(&partition.dir));
    }
    core.journal.submit(Frame::of(&Op::SetLogStart { topic: partition.topic_id, partition: partition.index, offset }))
}

/// Forgets the offsets of groups that are empty and have not committed for long.
fn expire_offsets(core: &Core, before_ms: i64) {
    for group in core.groups.all() {
        let mut state = group.lock();
        let old = state.offsets.last_commit_ms().unwrap_or(state.empty_since_ms) < before_ms;
        if state.membership.is_idle() && old && state.empty_since_ms < before_ms && !state.deleted {
            state.deleted = true;
            core.journal.submit(Frame::of(&Op::DeleteGroup { group: group.id.clone() }));
            core.groups.forget(&group.id);
        }
    }
}
