//! What is in a data directory: all of it is read, nothing is changed.
//!
//! In: the directory of a broker that is not running, or a copy of one; out: its topics, groups and positions, and the value of every
//! record to whoever asks. A batch whose checksum is wrong and a file cut short are errors with their place.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use uuid::Uuid;

use super::batch::{self, Header};
use super::compaction::each_batch;
use super::partition::Partition;
use super::records::records;
use super::recovery::{Look, Recovery};
use super::segment::{Segment, read_index};
use crate::broker::{existing_format, new_state};
use crate::core::State;
use crate::settings::{OpenError, Settings};
use crate::transactions::Status;

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub cluster_id: String,
    /// By name.
    pub topics: Vec<TopicContents>,
    /// By group, topic and partition.
    pub positions: Vec<GroupPosition>,
    /// Transactions that were neither committed nor aborted: a broker that opens the directory aborts them in time.
    pub open_transactions: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicContents {
    pub name: String,
    pub partitions: Vec<PartitionContents>,
}

/// Offsets from `start` on, below `end`; `records` of them are there, those of aborted transactions among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionContents {
    pub start: i64,
    pub end: i64,
    pub records: u64,
}

/// A group's committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl Contents {
    /// Positions behind the end of what is there. The broker makes none; a client may have committed one.
    #[must_use]
    pub fn ahead(&self) -> Vec<&GroupPosition> {
        let end = |at: &GroupPosition| {
            let topic = self.topics.iter().find(|topic| topic.name == at.topic)?;
            topic.partitions.get(usize::try_from(at.partition).ok()?).map(|partition| partition.end)
        };
        self.positions.iter().filter(|at| end(at).is_some_and(|end| at.offset > end)).collect()
    }
}

/// Reads a data directory from end to end; `visit` gets the topic and the value of every record that has one. Blocks.
///
/// # Errors
/// It is no broker's directory or one of another format, or something in it is damaged.
pub fn inspect(dir: &Path, mut visit: impl FnMut(&str, &[u8])) -> Result<Contents, OpenError> {
    let cluster_id = existing_format(dir)?;
    let state = new_state(&Settings::new(dir));
    let mut counts: HashMap<(Uuid, i32), u64> = HashMap::new();
    let mut look = |partition: &Partition, bytes: &Bytes| {
        let Some(topic) = state.topics.by_id(partition.topic_id) else { return };
        if Header::parse(bytes).is_ok_and(|header| header.is_control()) {
            return;
        }
        let found = records(bytes).unwrap_or_default();
        *counts.entry((partition.topic_id, partition.index)).or_default() += found.len() as u64;
        found.iter().filter_map(|record| record.value.as_ref()).for_each(|value| visit(&topic.name, value));
    };
    Recovery::looking(&state, dir, &mut look).run()?;
    let count = |partition: &Partition| counts.get(&(partition.topic_id, partition.index)).copied().unwrap_or(0);
    Ok(contents(cluster_id, &state, count))
}

fn contents(cluster_id: String, state: &State, count: impl Fn(&Partition) -> u64) -> Contents {
    let contents_of = |partition: &Partition| {
        let log = partition.lock();
        PartitionContents { start: log.start, end: log.end, records: count(partition) }
    };
    let mut topics = Vec::new();
    for topic in state.topics.all() {
        let partitions = topic.partitions.iter().map(|partition| contents_of(partition)).collect();
        topics.push(TopicContents { name: topic.name.to_string(), partitions });
    }
    let mut positions = Vec::new();
    for group in state.groups.all() {
        positions.extend(group.lock().offsets.all().map(|((topic, partition), committed)| GroupPosition {
            group: group.id.clone(),
            topic: topic.clone(),
            partition: *partition,
            offset: committed.offset,
        }));
    }
    let open_transactions = state.transactions.all().iter().filter(|one| one.lock().status == Status::Ongoing).count();
    Contents { cluster_id, topics, positions, open_transactions }
}

/// Shows every batch that is in a segment file; each must be as it was written.
pub(crate) fn read_segments(state: &State, look: &mut Look<'_>) -> Result<(), OpenError> {
    for topic in state.topics.all() {
        for partition in &topic.partitions {
            let (segments, mut next) = {
                let log = partition.lock();
                (log.segments.clone(), 0)
            };
            for segment in &segments {
                next = read_segment(partition, segment, next, look)?;
            }
        }
    }
    Ok(())
}

/// The offset behind the segment.
fn read_segment(
    partition: &Partition,
    segment: &Segment,
    mut next: i64,
    look: &mut Look<'_>,
) -> Result<i64, OpenError> {
    let (path, mut position) = (segment.data_path(&partition.dir), 0);
    let read = each_batch(&path, segment.bytes, |header, bytes| {
        if !batch::is_sound(header, bytes) || header.base_offset < next {
            return Err(io::ErrorKind::InvalidData.into());
        }
        next = header.last_offset() + 1;
        position += header.size as u64;
        look(partition, bytes);
        Ok(())
    });
    let damaged =
        |problem: &io::Error| matches!(problem.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    match read {
        Err(problem) if damaged(&problem) => return Err(OpenError::Damaged { file: path, position }),
        Err(source) => return Err(OpenError::Io { what: "cannot read", path, source }),
        Ok(()) => {}
    }
    let index = segment.index_path(&partition.dir);
    match read_index(&index, segment.saved_entries) {
        Err(problem) if damaged(&problem) => Err(OpenError::Damaged { file: index, position: 0 }),
        Err(source) => Err(OpenError::Io { what: "cannot read", path: index, source }),
        Ok(_) => Ok(next),
    }
}
