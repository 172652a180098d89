//! What a process of ingest does, and what it is given for it.

use hirewire_schemas::Names;
use hirewire_service::{Health, Shutdown};

/// What one process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Webhook,
    Poll,
    All,
}

/// What the process gives to the service.
pub struct Deps {
    pub kafka: hirewire_kafka::Settings,
    pub names: Names,
    pub registry: hirewire_registry::Access,
    pub metrics: prometheus::Registry,
    pub health: Health,
    pub shutdown: Shutdown,
}
