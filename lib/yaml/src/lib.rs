//! YAML read with the file and line of every value, so that all mistakes of a file are reported at once.
//!
//! `parse` turns text into a tree of [`Node`]s; readers walk it with typed getters that put every mistake into
//! [`Problems`] and go on. [`Map::finish`] reports the keys that nobody read. Settings, manifests, mappings and the
//! topic table are all read this way.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod node;
mod page;
mod parse;
mod problems;
mod read;

pub use node::{Node, Value};
pub use page::{Page, code};
pub use parse::parse;
pub use problems::{Problem, Problems, did_you_mean};
pub use read::Map;
