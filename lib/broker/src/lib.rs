//! The embedded single-node broker: Kafka's wire protocol over a local durable log.
