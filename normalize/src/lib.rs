//! Normalize: raw events in, canonical records and the stage-change ledger out, exactly once.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod ledger;
pub mod wire;
