//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people at a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `filter` is in `RUST_LOG`'s form; the variable, if set, wins.
///
/// Without a format: human at a terminal, JSON elsewhere. A second call changes nothing.
pub fn init(filter: &str, format: Option<Format>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { Format::Human } else { Format::Json });
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        Format::Human => lines.with_ansi(terminal).with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
