//! The entries of the journal. A checkpoint is a list of the same entries, so there is one way to write state and one to read it.
//!
//! In: a change of state; out: its bytes, and back. Every entry but `Append` sets a value or removes one, and an `Append`
//! below a partition's end is skipped: entries may be applied again on a state that has them, and the result is the same.

use bytes::Bytes;
use uuid::Uuid;

use super::codec::{Decoder, Encoder, Malformed};
use super::partition::PartitionState;
use crate::topics::MAX_PARTITIONS;

/// A committed offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) committed_ms: i64,
}

/// A transactional id and where its producer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionEntry {
    pub(crate) id: String,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) status: u8,
    pub(crate) started_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) partitions: Vec<(Uuid, i32)>,
    pub(crate) groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// Creates a topic, or sets its partition count and settings.
    PutTopic {
        id: Uuid,
        name: String,
        partitions: i32,
        settings: Vec<(String, String)>,
    },
    DeleteTopic {
        id: Uuid,
    },
    /// One batch, placed at its offset.
    Append {
        topic: Uuid,
        partition: i32,
        batch: Bytes,
    },
    SetLogStart {
        topic: Uuid,
        partition: i32,
        offset: i64,
    },
    PutOffset {
        group: String,
        topic: String,
        partition: i32,
        committed: CommittedOffset,
    },
    DeleteOffset {
        group: String,
        topic: String,
        partition: i32,
    },
    /// An offset that counts once the producer's transaction commits.
    PutPending {
        group: String,
        producer_id: i64,
        topic: String,
        partition: i32,
        committed: CommittedOffset,
    },
    EndPending {
        group: String,
        producer_id: i64,
        commit: bool,
    },
    PutGroup {
        group: String,
        generation: i32,
        protocol_type: String,
    },
    DeleteGroup {
        group: String,
    },
    PutTransaction(TransactionEntry),
    DeleteTransaction {
        id: String,
    },
    /// Producer ids below this one may have been given out.
    ReserveProducerIds {
        next: i64,
    },
    /// Only in checkpoints: where a partition's log stands.
    PutPartition {
        topic: Uuid,
        partition: i32,
        state: PartitionState,
    },
}

const PUT_TOPIC: u8 = 1;
const DELETE_TOPIC: u8 = 2;
const APPEND: u8 = 3;
const SET_LOG_START: u8 = 4;
const PUT_OFFSET: u8 = 5;
const DELETE_OFFSET: u8 = 6;
const PUT_PENDING: u8 = 7;
const END_PENDING: u8 = 8;
const PUT_GROUP: u8 = 9;
const DELETE_GROUP: u8 = 10;
const PUT_TRANSACTION: u8 = 11;
const DELETE_TRANSACTION: u8 = 12;
const RESERVE_PRODUCER_IDS: u8 = 13;
const PUT_PARTITION: u8 = 14;

impl Op {
    /// The entry's bytes, in pieces so that a batch is not copied.
    pub(crate) fn encode(&self) -> Vec<Bytes> {
        let mut to = Encoder::default();
        match self {
            Op::PutTopic { id, name, partitions, settings } => {
                to.u8(PUT_TOPIC);
                to.uuid(*id);
                to.str(name);
                to.i32(*partitions);
                to.len(settings.len());
                for (name, value) in settings {
                    to.str(name);
                    to.str(value);
                }
            }
            Op::DeleteTopic { id } => {
                to.u8(DELETE_TOPIC);
                to.uuid(*id);
            }
            Op::Append { topic, partition, batch } => {
                to.u8(APPEND);
                to.uuid(*topic);
                to.i32(*partition);
                to.len(batch.len());
                return vec![to.finish(), batch.clone()];
            }
            Op::SetLogStart { topic, partition, offset } => {
                to.u8(SET_LOG_START);
                to.uuid(*topic);
                to.i32(*partition);
                to.i64(*offset);
            }
            Op::PutOffset { group, topic, partition, committed } => {
                to.u8(PUT_OFFSET);
                to.str(group);
                place(&mut to, topic, *partition);
                put_committed(&mut to, committed);
            }
            Op::DeleteOffset { group, topic, partition } => {
                to.u8(DELETE_OFFSET);
                to.str(group);
                place(&mut to, topic, *partition);
            }
            Op::PutPending { group, producer_id, topic, partition, committed } => {
                to.u8(PUT_PENDING);
                to.str(group);
                to.i64(*producer_id);
                place(&mut to, topic, *partition);
                put_committed(&mut to, committed);
            }
            Op::EndPending { group, producer_id, commit } => {
                to.u8(END_PENDING);
                to.str(group);
                to.i64(*producer_id);
                to.bool(*commit);
            }
            Op::PutGroup { group, generation, protocol_type } => {
                to.u8(PUT_GROUP);
                to.str(group);
                to.i32(*generation);
                to.str(protocol_type);
            }
            Op::DeleteGroup { group } => {
                to.u8(DELETE_GROUP);
                to.str(group);
            }
            Op::PutTransaction(entry) => {
                to.u8(PUT_TRANSACTION);
                put_transaction(&mut to, entry);
            }
            Op::DeleteTransaction { id } => {
                to.u8(DELETE_TRANSACTION);
                to.str(id);
            }
            Op::ReserveProducerIds { next } => {
                to.u8(RESERVE_PRODUCER_IDS);
                to.i64(*next);
            }
            Op::PutPartition { topic, partition, state } => {
                to.u8(PUT_PARTITION);
                to.uuid(*topic);
                to.i32(*partition);
                state.encode(&mut to);
            }
        }
        vec![to.finish()]
    }

    pub(crate) fn decode(from: &mut Decoder) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            PUT_TOPIC => Op::PutTopic {
                id: from.uuid()?,
                name: from.str()?,
                partitions: Some(from.i32()?).filter(|count| (0..=MAX_PARTITIONS).contains(count)).ok_or(Malformed)?,
                settings: from.list(|from| Ok((from.str()?, from.str()?)))?,
            },
            DELETE_TOPIC => Op::DeleteTopic { id: from.uuid()? },
            APPEND => Op::Append { topic: from.uuid()?, partition: from.i32()?, batch: from.bytes()? },
            SET_LOG_START => Op::SetLogStart { topic: from.uuid()?, partition: from.i32()?, offset: from.i64()? },
            PUT_OFFSET => Op::PutOffset {
                group: from.str()?,
                topic: from.str()?,
                partition: from.i32()?,
                committed: get_committed(from)?,
            },
            DELETE_OFFSET => Op::DeleteOffset { group: from.str()?, topic: from.str()?, partition: from.i32()? },
            PUT_PENDING => Op::PutPending {
                group: from.str()?,
                producer_id: from.i64()?,
                topic: from.str()?,
                partition: from.i32()?,
                committed: get_committed(from)?,
            },
            END_PENDING => Op::EndPending { group: from.str()?, producer_id: from.i64()?, commit: from.bool()? },
            PUT_GROUP => Op::PutGroup { group: from.str()?, generation: from.i32()?, protocol_type: from.str()? },
            DELETE_GROUP => Op::DeleteGroup { group: from.str()? },
            PUT_TRANSACTION => Op::PutTransaction(get_transaction(from)?),
            DELETE_TRANSACTION => Op::DeleteTransaction { id: from.str()? },
            RESERVE_PRODUCER_IDS => Op::ReserveProducerIds { next: from.i64()? },
            PUT_PARTITION => {
                Op::PutPartition { topic: from.uuid()?, partition: from.i32()?, state: PartitionState::decode(from)? }
            }
            _ => return Err(Malformed),
        })
    }
}

fn place(to: &mut Encoder, topic: &str, partition: i32) {
    to.str(topic);
    to.i32(partition);
}

fn put_committed(to: &mut Encoder, committed: &CommittedOffset) {
    to.i64(committed.offset);
    to.i32(committed.leader_epoch);
    to.str(&committed.metadata);
    to.i64(committed.committed_ms);
}

fn get_committed(from: &mut Decoder) -> Result<CommittedOffset, Malformed> {
    Ok(CommittedOffset {
        offset: from.i64()?,
        leader_epoch: from.i32()?,
        metadata: from.str()?,
        committed_ms: from.i64()?,
    })
}

fn put_transaction(to: &mut Encoder, entry: &TransactionEntry) {
    to.str(&entry.id);
    to.i64(entry.producer_id);
    to.i16(entry.epoch);
    to.i16(entry.last_epoch);
    to.i32(entry.timeout_ms);
    to.u8(entry.status);
    to.i64(entry.started_ms);
    to.i64(entry.updated_ms);
    to.len(entry.partitions.len());
    for (topic, partition) in &entry.partitions {
        to.uuid(*topic);
        to.i32(*partition);
    }
    to.len(entry.groups.len());
    for group in &entry.groups {
        to.str(group);
    }
}

fn get_transaction(from: &mut Decoder) -> Result<TransactionEntry, Malformed> {
    Ok(TransactionEntry {
        id: from.str()?,
        producer_id: from.i64()?,
        epoch: from.i16()?,
        last_epoch: from.i16()?,
        timeout_ms: from.i32()?,
        status: from.u8()?,
        started_ms: from.i64()?,
        updated_ms: from.i64()?,
        partitions: from.list(|from| Ok((from.uuid()?, from.i32()?)))?,
        groups: from.list(Decoder::str)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_more_partitions_than_any_has_is_damage() {
        let decoded = |partitions| {
            let op = Op::PutTopic { id: Uuid::nil(), name: "t".to_owned(), partitions, settings: Vec::new() };
            Op::decode(&mut Decoder::new(op.encode().concat().into()))
        };
        assert!(decoded(MAX_PARTITIONS).is_ok());
        assert_eq!(decoded(MAX_PARTITIONS + 1), Err(Malformed));
        assert_eq!(decoded(-1), Err(Malformed));
    }
}
