//! Route: stage changes out to sinks, in key order, each sink on its own.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod codec;
mod compose;
mod context;
mod created;
mod database;
mod dead_letter;
mod decode;
mod deliver;
mod engine;
mod event;
pub mod explain;
mod files;
mod heads;
mod http;
mod kafka;
mod mail;
mod metrics;
mod probe;
pub mod reference;
pub mod rehearse;
pub mod replay;
mod request;
mod route;
mod row;
mod service;
mod settings;
mod source;
mod starts;
mod system;
mod topic;
mod tree;
mod worker;
mod write_back;

pub use metrics::Metrics;
pub use probe::{Probed, Unwell, probe};
pub use service::{Deps, Error, Reload, run};
pub use settings::{Settings, UnknownSink};

#[cfg(test)]
mod tests;
