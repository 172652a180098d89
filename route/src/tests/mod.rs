//! Tests of the whole engine without Kafka: a source, receivers and databases of their own.

mod answers;
mod canary;
mod databases;
mod files_on_kafka;
mod golden;
mod ground;
mod ids;
mod ids_on_kafka;
mod limits;
mod on_kafka;
mod postgres_server;
mod prescribed;
mod process;
mod reloads;
mod said;
pub(crate) mod support;
mod tokens;
mod topic_on_kafka;
mod walk;
