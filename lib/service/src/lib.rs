//! What every service process shares: settings, secrets, telemetry, admin port, shutdown.
//!
//! Knows nothing of what the services do.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
mod health;
pub mod hmac;
mod identity;
mod loopback;
pub mod process;
mod secret;
pub mod settings;
mod shutdown;
pub mod spans;
pub mod telemetry;
mod trace;

pub use health::{Component, Health};
pub use identity::{Identity, IdentityError};
pub use loopback::free_address;
pub use secret::{Secret, SecretError, fingerprint};
pub use shutdown::Shutdown;
pub use trace::TraceParent;

/// Where a process collects its metrics.
pub type Metrics = prometheus::Registry;
