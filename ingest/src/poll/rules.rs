//! What a connection's manifest and settings say to who polls it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::lane::Lane;
use super::window::Window;
use crate::connection::{Connection, Poll};
use crate::manifest::{Api, Manifest, Stream};

/// Rules and settings of the connection; both are there when there is a poller.
pub(super) struct Rules {
    manifest: Arc<Manifest>,
    pub(super) poll: Poll,
}

impl Rules {
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        Some(Self { manifest: connection.manifest.clone(), poll: connection.poll.clone()? })
    }

    /// The list whose changes the lane's cursor goes over: its own, or its parents'.
    pub(super) fn narrowed_by(&self, lane: &Lane) -> Option<&Stream> {
        let streams = &self.api()?.streams;
        let own = streams.get(lane.stream)?;
        own.per.as_ref().map_or(Some(own), |per| streams.get(per.parent))
    }

    /// What changed before this will not be shown again by overlap.
    pub(super) fn overlap_starts(&self, window: &Window) -> Timestamp {
        let overlap = SignedDuration::try_from(self.poll.overlap).unwrap_or(SignedDuration::MAX);
        window.to.checked_sub(overlap).unwrap_or(Timestamp::MIN)
    }

    pub(super) fn api(&self) -> Option<&Api> {
        self.manifest.api.as_ref()
    }
}
