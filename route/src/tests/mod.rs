//! Tests of the whole engine without Kafka: a source, receivers and databases of their own.

mod answers;
mod batches;
mod canary;
pub(crate) mod databases;
mod files_on_kafka;
mod golden;
mod ground;
mod ids;
mod ids_on_kafka;
mod limits;
mod mail;
mod on_kafka;
mod parquet;
mod postgres_server;
mod prescribed;
mod process;
mod receivers;
mod reloads;
mod said;
mod steps;
mod stops;
pub(crate) mod support;
mod tokens;
mod told;
mod topic_on_kafka;
mod walk;
mod write_back;
