//! Offline simulators of vendor APIs and of the receiving systems, with their true history.
//!
//! Shares no code with ingest or normalize: what they get wrong must be found here, not repeated.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod bodies;
mod clock;
mod company;
mod company_rows;
mod company_steps;
mod effects;
mod fate;
mod http;
pub mod judge;
mod lists;
mod names;
mod outbox;
mod people;
mod plan;
mod player;
mod postman;
mod query;
mod receivers;
mod rows;
mod rules;
mod script;
mod sender;
mod settings;
mod sign;
mod simulator;
mod steps;
mod store;
mod story;
pub mod vendor;
mod world;

pub use company::is_assessment;
pub use effects::{ChangeKind, TrueChange, TrueHire, TrueStage};
pub use lists::Access;
pub use receivers::{RECEIVERS, Received};
pub use rules::{Encoding, Event, GREENHOUSE_API, Rules, Stream, WebhookRules};
pub use settings::{Faults, HistoryRows, Pace, Scenario, SimSettings};
pub use simulator::{Progress, Receiver, Running, SimError, Simulator};
pub use store::{StoreError, WebhookLog};
