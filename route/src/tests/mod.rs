//! Tests of the whole engine without Kafka: a source and receivers of their own.

mod golden;
mod support;
mod walk;
