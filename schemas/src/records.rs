//! Rust types of the records that code touches; the `.avsc` files stay the truth and a test holds these against them.
//!
//! [`Put`] writes a value's Avro encoding straight into a buffer, [`Get`] reads it back if it was written under the
//! present schema, [`decode`] from any schema of the same record. Instants are microseconds since 1970, ids are canonical ids as text.

mod application;
mod coded;
mod internal;
mod ledger;
mod meta;
mod wire;

use apache_avro::reader::datum::GenericDatumReader;
use serde::de::DeserializeOwned;

pub use application::Application;
pub use coded::{
    ActorKind, ApplicationStatus, ChangeCause, ChangeType, Coded, OccurredAtPrecision, Operation, Provenance,
    ReasonType, Revision, StageCategory,
};
pub use internal::{Blob, Cursor, Fetch, Fragment, Lease, NameValue, RouteStart, State, WriteBack};
pub use ledger::{Actor, Evidence, ReasonRef, StageChange, StageRef};
pub use meta::{CustomField, Meta, RawRef};
pub use wire::{Get, Put};

use crate::RecordSchema;

/// Bytes that are no record of the schema they should be of.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are no {record}")]
pub struct DecodeError {
    pub record: String,
    pub source: Box<apache_avro::Error>,
}

/// Reads one record, without framing, that was written with `writer`. Fields that `T` lacks are skipped.
///
/// # Errors
/// The bytes end early or hold what the schema or `T` does not allow.
pub fn decode<T: DeserializeOwned>(writer: &RecordSchema, mut bytes: &[u8]) -> Result<T, DecodeError> {
    let wrong = |source| DecodeError { record: writer.full_name(), source: Box::new(source) };
    let reader = GenericDatumReader::builder(&writer.avro).build().map_err(wrong)?;
    // Not `read_deser`: it wants a struct with every field of the record and the record's own name.
    let value = reader.read_value(&mut bytes).map_err(wrong)?;
    apache_avro::from_value(&value).map_err(wrong)
}
