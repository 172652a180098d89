//! Offline simulators of vendor APIs and of the receiving systems, with their true history.
//!
//! Shares no code with ingest or normalize: what they get wrong must be found here, not repeated.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod clock;
mod effects;
mod greenhouse;
mod http;
pub mod judge;
mod lists;
mod outbox;
mod plan;
mod player;
mod receivers;
mod rules;
mod settings;
mod sign;
mod simulator;
mod steps;
mod store;
mod story;
pub mod vendor;
mod world;

pub use effects::{ChangeKind, TrueChange, TrueHire, TrueStage};
pub use lists::Access;
pub use receivers::{RECEIVERS, Received};
pub use rules::{Encoding, Event, GREENHOUSE_API, Rules, Stream, WebhookRules};
pub use settings::{Faults, HistoryRows, Pace, Scenario, SimSettings};
pub use simulator::{Progress, Receiver, Running, SimError, Simulator};
pub use store::{StoreError, WebhookLog};
pub use world::company::is_assessment;
