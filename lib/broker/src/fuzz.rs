//! For the fuzz tests alone: the places at which bytes from outside are read, without a broker around them.
//!
//! In: any bytes; out: whether they were taken.

use std::path::Path;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use crate::broker::new_state;
use crate::log::recovery::Recovery;
use crate::log::{batch, records};
use crate::net::{connection, versions};
use crate::settings::{OpenError, Settings};

/// A request as a connection reads it, without the size in front.
pub fn request(frame: &Bytes) -> bool {
    let Some([key, key_low, version, version_low]) = frame.first_chunk::<4>().copied() else { return false };
    let version = i16::from_be_bytes([version, version_low]);
    let Ok(api) = ApiKey::try_from(i16::from_be_bytes([key, key_low])) else { return false };
    versions::is_supported(api, version) && connection::decode(api, version, &mut frame.clone()).is_some()
}

/// What a producer sends, judged as it is before it goes into a log, and its records as compaction reads them.
pub fn batch(bytes: &Bytes) -> bool {
    // Compaction reads what is in the log, whether or not it was checked by this version.
    let records = records::records(bytes);
    batch::marker_commits(bytes);
    batch::check(bytes).is_ok() && records.is_some()
}

/// A data directory, as a start reads it; also writes into it.
pub fn recover(dir: &Path) -> Result<(), OpenError> {
    let state = new_state(&Settings::new(dir));
    Recovery::new(&state, dir).run().map(|_| ())
}
