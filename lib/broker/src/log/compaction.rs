//! Compaction: of every key, only the newest record stays.
//!
//! In: the closed segments of a partition; out: new segment files in their place, with the same offsets. Only what is
//! decided is looked at (below the last stable offset); records of aborted transactions go at once; a deletion (no value)
//! and a marker stay for `delete.retention.ms` after the first pass that saw them. The old files stay until a checkpoint
//! names the new ones. An aborted transaction leaves the partition's list together with its marker, never before.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};

use super::batch::{self, CODEC, HEADER_BYTES, Header};
use super::partition::{Aborted, MAX_SEGMENT_BYTES, Partition};
use super::records::{Record, records};
use super::segment::Segment;
use crate::core::Core;
use crate::topics::Topic;

/// Keys that one pass can hold (about 40 bytes each); a log with more is compacted in several passes.
const MAX_KEYS: usize = 1_000_000;

/// Newest offset of each key, by a hash so wide that two keys do not meet.
struct Newest {
    hashers: (RandomState, RandomState),
    offsets: HashMap<(u64, u64), i64>,
}

impl Newest {
    fn new() -> Self {
        Self { hashers: (RandomState::new(), RandomState::new()), offsets: HashMap::new() }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    fn note(&mut self, key: &[u8], offset: i64) {
        self.offsets.insert(self.hash(key), offset);
    }

    fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets.get(&self.hash(key)).is_some_and(|newest| *newest > offset)
    }
}

/// What a pass works on.
struct Plan {
    segments: Vec<Segment>,
    /// Everything before it has been through a pass.
    clean_below: i64,
    upto: i64,
    aborted: Vec<Aborted>,
    /// Deletions and markers that are older may go.
    forget_before_ms: i64,
}

/// Compacts a partition if there is enough to gain. Blocks.
pub(crate) fn compact(core: &Core, topic: &Topic, partition: &Arc<Partition>, now: i64) {
    let Some(plan) = plan(topic, partition, now) else { return };
    let before: u64 = plan.segments.iter().map(|segment| segment.bytes).sum();
    match run(core, partition, &plan) {
        Ok(Some(after)) => debug!(topic = %topic.name, partition = partition.index, before, after, "compacted"),
        Ok(None) => {}
        Err(problem) => {
            warn!(topic = %topic.name, partition = partition.index, error = %problem, "not compacted");
        }
    }
}

fn plan(topic: &Topic, partition: &Partition, now: i64) -> Option<Plan> {
    let settings = &topic.settings;
    let log = partition.lock();
    let limit = log.last_stable_offset().min(log.written);
    let ends = log.segments.iter().skip(1).map(|next| next.base_offset);
    let closed = log.segments.iter().zip(ends);
    let decided = closed.take_while(|(segment, end)| {
        *end <= limit && now.saturating_sub(segment.max_timestamp) >= settings.min_compaction_lag_ms
    });
    let (segments, ends): (Vec<Segment>, Vec<i64>) = decided.map(|(segment, end)| (segment.clone(), end)).unzip();
    let upto = *ends.last()?;
    let clean_below = log.compacted_to.min(upto);
    let bytes = |dirty: bool| -> u64 {
        let of_kind = segments.iter().filter(|segment| (segment.base_offset >= clean_below) == dirty);
        of_kind.map(|segment| segment.bytes).sum()
    };
    let (dirty, clean) = (bytes(true), bytes(false));
    #[allow(clippy::cast_precision_loss)]
    let ratio = dirty as f64 / (dirty + clean).max(1) as f64;
    if dirty == 0 || log.deleted || ratio < settings.min_cleanable_ratio {
        return None;
    }
    let forget_before_ms = now.saturating_sub(settings.delete_retention_ms);
    Some(Plan { segments, clean_below, upto, aborted: log.aborted.clone(), forget_before_ms })
}

fn run(core: &Core, partition: &Arc<Partition>, plan: &Plan) -> io::Result<Option<u64>> {
    let mut newest = Newest::new();
    let mut upto = plan.upto;
    let mut taken = plan.segments.len();
    for (at, segment) in plan.segments.iter().enumerate() {
        if newest.offsets.len() >= MAX_KEYS {
            // The rest waits for the next pass.
            (upto, taken) = (segment.base_offset, at);
            break;
        }
        if segment.base_offset >= plan.clean_below {
            each_batch(&segment.data_path(&partition.dir), segment.bytes, |header, bytes| {
                if !header.is_control() && !plan.is_aborted(header) {
                    for record in records(bytes).unwrap_or_default() {
                        if let Some(key) = &record.key {
                            newest.note(key, record.offset);
                        }
                    }
                }
                Ok(())
            })?;
        }
    }
    let inputs = plan.segments.get(..taken).unwrap_or_default();
    let mut outputs = Outputs { partition, written: Vec::new(), current: None };
    let mut ended = Vec::new();
    for segment in inputs {
        each_batch(&segment.data_path(&partition.dir), segment.bytes, |header, bytes| {
            match plan.kept(header, bytes, &newest) {
                Some(kept) => outputs.push(segment, &kept),
                None => {
                    if header.is_control() {
                        ended.push(header.base_offset);
                    }
                    Ok(())
                }
            }
        })?;
    }
    let outputs = outputs.finish()?;
    Ok(swap(core, partition, inputs, outputs, upto, &ended))
}

impl Plan {
    fn is_aborted(&self, header: &Header) -> bool {
        header.is_transactional()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == header.producer_id
                    && (aborted.first_offset..aborted.marker_offset).contains(&header.base_offset)
            })
    }

    /// What stays of a batch.
    fn kept(&self, header: &Header, bytes: &Bytes, newest: &Newest) -> Option<Bytes> {
        let forgettable = header.base_offset < self.clean_below && header.max_timestamp < self.forget_before_ms;
        if header.is_control() {
            return (!forgettable).then(|| bytes.clone());
        }
        if self.is_aborted(header) {
            return None;
        }
        // What cannot be looked into stays as it is.
        let Some(all) = records(bytes) else { return Some(bytes.clone()) };
        let stays = |record: &&Record| {
            let superseded = record.key.as_ref().is_some_and(|key| newest.supersedes(key, record.offset));
            !superseded && (record.value.is_some() || !forgettable)
        };
        let kept: Vec<&Record> = all.iter().filter(stays).collect();
        if kept.len() == all.len() {
            return Some(bytes.clone());
        }
        if kept.is_empty() {
            return None;
        }
        let raw: Vec<u8> = kept.iter().flat_map(|record| record.raw.iter().copied()).collect();
        let record_count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
        let attributes = header.attributes & !CODEC;
        Some(batch::assemble(&Header { attributes, record_count, ..*header }, &raw))
    }
}

/// The new files, filled one after another up to the size of a segment.
struct Outputs<'a> {
    partition: &'a Partition,
    written: Vec<Segment>,
    current: Option<(Segment, BufWriter<File>)>,
}

impl Outputs<'_> {
    fn push(&mut self, input: &Segment, bytes: &Bytes) -> io::Result<()> {
        let header = Header::parse(bytes).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
        let full = |segment: &Segment| segment.bytes + header.size as u64 > MAX_SEGMENT_BYTES;
        if self.current.as_ref().is_none_or(|(segment, _)| full(segment)) {
            self.close()?;
            // Based on its first batch, and of a generation that none of its inputs has.
            let base = if self.written.is_empty() { input.base_offset } else { header.base_offset };
            let segment = Segment::new(base, input.generation + 1);
            let file = File::create(segment.data_path(&self.partition.dir))?;
            self.current = Some((segment, BufWriter::new(file)));
        }
        if let Some((segment, file)) = &mut self.current {
            segment.append(&header);
            file.write_all(bytes)?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some((segment, file)) = self.current.take() {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            self.written.push(segment);
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Segment>> {
        self.close()?;
        Ok(self.written)
    }
}

/// Puts the new segments in the old ones' place, unless those have changed; the bytes that are left.
fn swap(
    core: &Core,
    partition: &Arc<Partition>,
    inputs: &[Segment],
    outputs: Vec<Segment>,
    upto: i64,
    ended: &[i64],
) -> Option<u64> {
    let mut log = partition.lock();
    let same =
        |(old, now): (&Segment, &Segment)| (old.base_offset, old.generation) == (now.base_offset, now.generation);
    let unchanged = log.segments.len() > inputs.len() && inputs.iter().zip(&log.segments).all(same) && !log.deleted;
    if !unchanged {
        // Records were deleted from the front in the meantime; the next pass tries again. Nothing names the new files,
        // and one that cannot be removed is overwritten by that pass or removed at the next start.
        drop(log);
        for segment in outputs {
            std::fs::remove_file(segment.data_path(&partition.dir)).ok();
        }
        return None;
    }
    let paths = outputs.iter().map(|segment| segment.data_path(&partition.dir)).collect();
    let after = outputs.iter().map(|segment| segment.bytes).sum();
    let rest = log.segments.split_off(inputs.len());
    log.segments = outputs.into_iter().chain(rest).collect();
    log.aborted.retain(|aborted| !ended.contains(&aborted.marker_offset));
    log.compacted_to = upto;
    drop(log);
    core.writer.put_back_dirty(paths);
    for segment in inputs {
        core.housekeeper.discard(segment.data_path(&partition.dir));
        core.housekeeper.discard(segment.index_path(&partition.dir));
    }
    Some(after)
}

/// Reads the first `bytes` of a segment file batch by batch.
pub(crate) fn each_batch(
    path: &Path,
    bytes: u64,
    mut visit: impl FnMut(&Header, &Bytes) -> io::Result<()>,
) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let mut reader = io::BufReader::with_capacity(256 * 1024, File::open(path)?).take(bytes);
    let mut head = [0; HEADER_BYTES];
    while reader.limit() > 0 {
        reader.read_exact(&mut head)?;
        let header = Header::parse(&head).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
        let mut batch = Vec::new();
        batch.extend_from_slice(&head);
        let rest = (header.size - HEADER_BYTES) as u64;
        if reader.by_ref().take(rest).read_to_end(&mut batch)? as u64 != rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        visit(&header, &Bytes::from(batch))?;
    }
    Ok(())
}
