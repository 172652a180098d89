//! A Confluent-compatible schema registry for Avro, and the client side of one.
//!
//! [`Registry`] with [`server`] is the registry itself: durable ids, compatibility, soft deletion, over HTTP or HTTPS.
//! [`Codec`] is what a producer or consumer holds: it registers schemas at start, frames and decodes records, and keeps
//! working on known ids while the registry is away. The two meet on the wire only.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod access;
mod client;
mod codec;
mod compatibility;
mod door;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod import;
mod parse;
mod registry;
pub mod server;
mod store;
mod versions;

pub use access::Access;
pub use client::{Standing, Subject};
pub use codec::{BlockingCodec, Codec, CodecError, DecodeError, frame, unframe};
pub use compatibility::{Level, check_texts};
pub use door::{Metrics, Tls, User};
pub use error::ApiError;
pub use import::{ImportError, import};
pub use registry::{Registered, Registry, Submitted};
pub use store::{Contents, OpenError, backup, inspect};
