//! Normalize: raw events in, canonical records and the stage-change ledger out, exactly once.
//!
//! | step of the walk | module |
//! |---|---|
//! | a raw record's headers | [`raw`] |
//! | payload → claims, placed in the partition that owns them | [`step`], [`claim`], [`fragments`], [`names`], [`lookups`], [`moved`] |
//! | claims → state | [`work`], [`reconcile`], [`store`] |
//! | an application's claims → its ledger | [`application`], [`ledger`], [`dated`], [`change`] |
//! | by which ways a change came | [`completeness`] |
//! | what cannot be processed, or comes otherwise than before | [`dead_letter`], [`issue`], [`drift`], [`guard`] |
//! | all of it in memory, for `hirewire vendor prove` | [`Rehearsal`] |
//! | start and settings | [`run`], [`Settings`], [`catalog`], [`metrics`] |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod application;
pub mod catalog;
pub mod change;
pub mod claim;
pub mod completeness;
pub mod dated;
pub mod dead_letter;
pub mod drift;
pub mod fragments;
pub mod guard;
pub mod intent;
pub mod issue;
pub mod ledger;
pub mod lookups;
pub mod metrics;
pub mod moved;
pub mod names;
pub mod raw;
pub mod reconcile;
mod rehearsal;
mod run;
mod settings;
pub mod shape;
pub mod step;
pub mod store;
pub mod wire;
pub mod work;

pub use rehearsal::{Published, Rehearsal};
pub use run::{Connection, Deps, Error, run};
pub use settings::Settings;
