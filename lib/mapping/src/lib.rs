//! A mapping file and Avro schemas → an immutable plan; payload bytes and a plan → facts with Avro-encoded fields.
//!
//! [`Plan::compile`] finds every mistake of a file at once; [`Plan::apply`] walks a payload and writes. No runtime, no
//! I/O, nothing of any particular source.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice))]

mod apply;
pub mod avro;
mod compile;
mod dated;
mod decimal;
mod fact;
mod json;
#[cfg(test)]
mod json_differential;
mod layout;
#[cfg(test)]
mod layout_differential;
mod path;
mod plan;
mod shape;
mod show;
mod table;
mod time;
pub mod tool;
pub mod xml;

pub use fact::{
    Completeness, Context, Coverage, Element, Fact, Input, Kinship, Mapped, Reject, RejectCode, Scratch, Slice, foreign,
};
pub use plan::{Ignored, Plan};
pub use show::show_record;
