//! The binary as its users run it: found, started, ended.
//!
//! Tests in `tests/` see all services through it. Cargo does not build it for them: `ci/test` does so first, and alone
//! they need a `cargo build --release`.

pub mod clock;
pub mod deployment;
pub mod http;
pub mod load;
pub mod otlp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hirewire_service::free_address;

/// The `hirewire` binary beside the running test's own profile folder.
///
/// # Errors
/// When it was not built.
pub fn binary() -> std::io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).unwrap_or_else(|| Path::new("."));
    let binary = profile.join("hirewire");
    if binary.exists() {
        return Ok(binary);
    }
    Err(std::io::Error::other(format!("{} is not there: run `cargo build --release` first", binary.display())))
}

/// A command of the binary, quiet and without a terminal.
///
/// # Errors
/// When the binary was not built.
pub fn hirewire(arguments: &[&str]) -> std::io::Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("HIREWIRE_LOG_FORMAT");
    Ok(command)
}

/// An address that nobody listens on, for what takes no port 0.
#[must_use]
#[allow(clippy::unwrap_used)]
pub fn free() -> SocketAddr {
    free_address().unwrap()
}

/// A process that is killed when the test ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ended = self.0.kill().is_err();
        let _reaped = self.0.wait().is_err();
    }
}
