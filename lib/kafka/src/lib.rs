//! Kafka for the services: the only crate that names rdkafka.
//!
//! | need | type |
//! |---|---|
//! | publish and know that it is safe | [`Producer`] |
//! | consume, transform, produce in transactions, one worker per partition number | [`run_partitioned`], [`Step`] |
//! | several records in one transaction, without input | [`TransactionalWriter`] |
//! | consume with commits of one's own choice | [`GroupConsumer`] |
//! | a compacted topic, read whole and followed | [`read_table`], [`TableFollower`] |
//! | share work over members by the group protocol | [`Leases`] |
//! | create, check, remove topics | [`Admin`] |
//! | why does it not work: are brokers there, may we read, where do groups stand | [`Probe`] |
//! | does this broker keep the promises we build on | [`self_check`] |
//! | connect only where one may | [`Judge`], [`Settings::guarded`] |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod admin;
mod client;
mod error;
mod group;
mod guard;
mod hidden;
mod inbox;
mod lag;
mod leases;
mod metrics;
mod outcome;
mod partitioned;
mod probe;
mod producer;
mod record;
mod restoring;
mod self_check;
mod settings;
mod step;
mod table;
mod transaction;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod waits;
mod worker;
mod writer;

pub use admin::{Admin, NewTopic, TopicDescription};
pub use error::{SendError, Stop};
pub use group::{Committer, Done, GroupConsumer, GroupEvent, GroupOptions};
pub use guard::Judge;
pub use leases::{LeaseEvent, Leases};
pub use metrics::{GroupMetrics, PartitionedMetrics};
pub use partitioned::{PartitionedOptions, run_partitioned};
pub use probe::Probe;
pub use producer::{Producer, ProducerOptions};
pub use record::{Inbound, Position, Record, not_ahead, partition_for};
pub use self_check::{Checked, self_check};
pub use settings::Settings;
pub use step::{Outbox, Step};
pub use table::{Isolation, TableFollower, TableStart, read_table};
pub use transaction::TransactionError;
pub use writer::TransactionalWriter;
