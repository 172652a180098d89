//! Route: stage changes out to sinks, in key order, each sink on its own.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(dead_code)]

mod context;
mod dead_letter;
mod decode;
mod deliver;
mod engine;
mod event;
mod http;
mod metrics;
mod request;
mod route;
mod row;
mod source;
mod system;
mod worker;

#[cfg(test)]
mod tests;
