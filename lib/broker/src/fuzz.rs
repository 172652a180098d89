//! For the fuzz tests alone: the places at which bytes from outside are read, without a broker around them.
//!
//! In: any bytes; out: whether they were taken.

use std::path::Path;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use crate::broker::new_state;
use crate::log::codec::Decoder;
use crate::log::op::Op;
use crate::log::recovery::{Next, Recovery, read_frame};
use crate::log::{batch, checkpoint, records};
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

/// The frames of a journal, as a start reads them, without doing what they say.
pub fn journal(bytes: &Bytes) -> bool {
    let mut reader = &bytes[..];
    loop {
        match read_frame(&mut reader) {
            Ok(Next::Frame(payload)) => {
                let mut from = Decoder::new(payload);
                while !from.is_empty() {
                    if Op::decode(&mut from).is_err() {
                        return false;
                    }
                }
            }
            Ok(Next::End) => return true,
            Ok(Next::Torn) | Err(_) => return false,
        }
    }
}

/// A checkpoint, as a start reads it.
pub fn checkpoint(bytes: &Bytes) -> bool {
    checkpoint::parse(Path::new("checkpoint"), bytes.to_vec()).is_ok()
}

/// A data directory, as a start reads it; also writes into it.
pub fn recover(dir: &Path) -> Result<(), OpenError> {
    let state = new_state(&Settings::new(dir));
    Recovery::new(&state, dir).run().map(|_| ())
}
