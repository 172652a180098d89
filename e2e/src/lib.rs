//! Tests that see all services: faults, seeds, both brokers.
