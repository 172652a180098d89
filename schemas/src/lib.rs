//! The contract: Avro schemas, the topic table, ids, and Rust types for the records that code touches.
//!
//! The `.avsc` files under `avro/` and the table `topics.yaml` are the source of truth and are carried in the binary;
//! [`use_dir`] puts a folder in their place. Everything here is pure: no network, no clock.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod acls;
mod assemble;
mod defaults;
mod entity;
pub mod ids;
mod names;
pub mod records;
mod schema;
pub mod topics;

pub use entity::Entity;
pub use names::Names;
pub use schema::{FieldSchema, RecordSchema, SchemaError, avro_schema, schema, schemas, use_dir};
