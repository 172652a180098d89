//! What members ask of a group and what they are told, in the broker's own terms.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

pub(crate) struct Join {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// A new member first gets an id and joins again with it (KIP-394).
    pub(crate) id_required: bool,
    /// The client knows that a leader may be told not to assign (KIP-814).
    pub(crate) may_skip: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// Id, instance and metadata of all members; only for the leader.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
    pub(crate) skip_assignment: bool,
}

/// An error, and the member id that goes with it.
pub(crate) type JoinAnswer = Result<Joined, (ResponseError, String)>;

#[derive(Debug, Clone)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

pub(crate) type SyncAnswer = Result<Synced, ResponseError>;

pub(crate) struct Sync {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}
