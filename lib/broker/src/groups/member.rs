//! One member of a group: what it told when it joined, what it was given, and the answers it waits for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::messages::{JoinAnswer, SyncAnswer};

pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Silent until then, the member is taken for dead.
    pub(super) deadline: Instant,
    pub(super) join: Option<oneshot::Sender<JoinAnswer>>,
    pub(super) sync: Option<oneshot::Sender<SyncAnswer>>,
}

impl Member {
    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    /// A member that waits for the broker is not silent.
    pub(super) fn can_expire(&self) -> bool {
        self.join.is_none() && self.sync.is_none()
    }
}
