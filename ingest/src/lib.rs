//! Ingest: webhooks and polls in, raw events out.
//!
//! What a vendor is like stands in its manifest; nothing here names one.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod connection;
mod credentials;
mod envelope;
mod fetch;
mod json;
mod link;
pub mod manifest;
mod metrics;
mod poll;
mod process;
mod run;
mod settings;
mod sink;
mod topics;
pub mod webhook;

pub use connection::{Connection, Directory, Inlet, Lookup, Poll};
pub use credentials::{ClientSecrets, Credentials, RefreshSecrets, ServerUrls, SessionSecrets};
pub use fetch::{FetchRequests, Wanted};
pub use metrics::Metrics;
pub use poll::probe::{Probed, probe};
pub use poll::rehearsal::{Errands, Http, Kept, Letterbox, Moment, Rehearsal, Round};
pub use process::{Deps, Role};
pub use run::{Error, run};
pub use settings::Settings;
pub use sink::RawSink;
pub use topics::Topics;
