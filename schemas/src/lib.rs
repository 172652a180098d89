//! The contract: Avro schemas, the topic table, ids, and Rust types for the records that code touches.
