//! Avro codec on schema_registry_converter, and the embedded Confluent-compatible schema registry.
