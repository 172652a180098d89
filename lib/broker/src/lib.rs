//! The embedded single-node broker: Kafka's wire protocol over a local durable log.
#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod broker;
mod core;
#[doc(hidden)]
pub mod fuzz;
mod groups;
mod log;
mod metrics;
mod net;
mod settings;
mod sync;
mod topic_settings;
mod topics;
mod transactions;

pub use broker::Broker;
pub use log::backup::backup;
pub use log::inspect::{Contents, GroupPosition, PartitionContents, TopicContents, inspect};
pub use metrics::Metrics;
pub use net::versions::{OLDEST_PRODUCE, SUPPORTED, Supported};
pub use settings::{BackupError, OpenError, RunError, Settings, Tls, User};
