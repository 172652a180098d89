//! What all requests share: the state (topics, groups, transactions), and the journal that makes its changes durable.
//!
//! Rule for every change: lock what changes, change it, submit the frame, unlock; then wait for the frame before telling
//! anybody. Whoever reads without waiting tells only what is durable.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_native_tls::TlsAcceptor;

use crate::groups::Groups;
use crate::log::batch::{self, BatchError, Header};
use crate::log::housekeeping::Housekeeper;
use crate::log::journal::{Appended, Frame, Journal, Lsn};
use crate::log::op::Op;
use crate::log::partition::{Log, Partition};
use crate::log::producers::Verdict;
use crate::log::records;
use crate::log::writer::{SegmentWrite, Writer};
use crate::metrics::Metrics;
use crate::net::authentication::Users;
use crate::settings::Settings;
use crate::sync::now_ms;
use crate::topics::{Topic, Topics};
use crate::transactions::{Transactions, init::ProducerIds};

/// All state that a checkpoint holds.
pub(crate) struct State {
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) producer_ids: ProducerIds,
}

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) cluster_id: String,
    /// Host and port that clients are told; set when the broker begins to serve.
    pub(crate) advertised: OnceLock<(String, u16)>,
    pub(crate) state: State,
    pub(crate) journal: Journal,
    pub(crate) writer: Writer,
    pub(crate) housekeeper: Housekeeper,
    pub(crate) metrics: Metrics,
    pub(crate) users: Users,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Room for appended bytes that are not in their files yet, in KiB.
    pub(crate) room: Arc<Semaphore>,
}

impl std::ops::Deref for Core {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) base_offset: i64,
    pub(crate) append_time_ms: i64,
    pub(crate) log_start: i64,
    /// Confirm the batch when this is durable.
    pub(crate) lsn: Lsn,
}

impl Core {
    pub(crate) fn advertise(&self, listener: SocketAddr) {
        let host = self.settings.advertised_host.clone().unwrap_or_else(|| listener.ip().to_string());
        let port = self.settings.advertised_port.unwrap_or(listener.port());
        self.advertised.get_or_init(|| (host, port));
    }

    /// Host and port that clients are told.
    pub(crate) fn endpoint(&self) -> (&str, u16) {
        self.advertised.get().map_or(("", 0), |(host, port)| (host, *port))
    }

    /// Room for an append, as soon as there is some.
    pub(crate) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = bytes.div_ceil(1024).min(self.settings.max_inflight_bytes / 1024);
        self.room.clone().acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX)).await.ok()
    }

    /// Appends a client's batch; the caller has checked the transaction if it is part of one.
    pub(crate) fn append(
        &self,
        topic: &Topic,
        partition: &Arc<Partition>,
        bytes: &Bytes,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Stored, ResponseError> {
        if bytes.len() > topic.settings.max_message_bytes {
            return Err(ResponseError::MessageTooLarge);
        }
        let header = batch::check(bytes).map_err(|problem| match problem {
            BatchError::Truncated | BatchError::Checksum => ResponseError::CorruptMessage,
            BatchError::OldFormat => ResponseError::UnsupportedForMessageFormat,
            BatchError::Invalid => ResponseError::InvalidRecord,
        })?;
        if topic.settings.compact && has_record_without_key(&header, bytes) {
            return Err(ResponseError::InvalidRecord);
        }
        let now = now_ms();
        let append_time = topic.settings.append_time.then_some(now);
        if append_time.is_none() && !is_of_this_time(topic, &header, now) {
            return Err(ResponseError::InvalidTimestamp);
        }
        let mut log = partition.lock();
        if log.deleted {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        let append_time_ms = append_time.unwrap_or(-1);
        let log_start = log.start;
        match log.producers.judge(&header) {
            Verdict::New => {}
            Verdict::Duplicate { base_offset } => {
                return Ok(Stored { base_offset, append_time_ms, log_start, lsn: self.journal.submitted() });
            }
            Verdict::OldEpoch => return Err(ResponseError::InvalidProducerEpoch),
            Verdict::OutOfOrder => return Err(ResponseError::OutOfOrderSequenceNumber),
        }
        let base_offset = log.end;
        let placed = batch::place(bytes, base_offset, append_time);
        let header = Header { base_offset, max_timestamp: append_time.unwrap_or(header.max_timestamp), ..header };
        let mut frame = Frame::default();
        if let Some(permit) = permit {
            frame.hold(permit);
        }
        self.append_locked(partition, &mut log, &header, placed, topic.settings.segment_bytes, &mut frame);
        let lsn = self.journal.submit(frame);
        Ok(Stored { base_offset, append_time_ms, log_start, lsn })
    }

    /// Puts a placed batch at the end of a log that the caller has locked, and into a frame that the caller submits.
    pub(crate) fn append_locked(
        &self,
        partition: &Arc<Partition>,
        log: &mut Log,
        header: &Header,
        batch: Bytes,
        segment_limit: u64,
        frame: &mut Frame,
    ) {
        let placed = log.append(header, &batch, segment_limit, now_ms());
        let write = SegmentWrite {
            path: partition.segment_path(placed.segment, placed.generation),
            position: placed.position,
            bytes: batch.clone(),
            end: placed.end,
        };
        let op = Op::Append { topic: partition.topic_id, partition: partition.index, batch };
        frame.push_append(&op, Appended { partition: partition.clone(), closes: placed.closes, write });
    }
}

/// Whether the records' own times are as near to the clock as the topic asks; a record may have none (-1).
fn is_of_this_time(topic: &Topic, header: &Header, now: i64) -> bool {
    let (ahead, behind) = (topic.settings.max_ahead_ms, topic.settings.max_behind_ms);
    let first = header.base_timestamp;
    header.max_timestamp <= now.saturating_add(ahead) && (first < 0 || first >= now.saturating_sub(behind))
}

/// A compacted topic takes no record without a key. A compressed batch is not unpacked for that.
fn has_record_without_key(header: &Header, bytes: &Bytes) -> bool {
    header.codec() == 0 && records::records(bytes).is_none_or(|records| records.iter().any(|it| it.key.is_none()))
}
