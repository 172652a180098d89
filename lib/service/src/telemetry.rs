//! Structured logs on standard error, whose filter can be changed while the process runs.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

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
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Human => lines.with_ansi(terminal).with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if started.is_err() || FILTER.set(handle).is_err() {
        tracing::debug!("logging was started before");
    }
}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// From now on this filter counts, in `RUST_LOG`'s form, until the process ends or another one comes.
///
/// # Errors
/// What is wrong with it; the former one stays.
pub fn change_filter(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("an empty filter, which would silence errors too".to_owned());
    }
    let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    let handle = FILTER.get().ok_or("this process does not log")?;
    handle.reload(filter).map_err(|error| error.to_string())?;
    tracing::info!(filter = text, "another log filter counts from now on");
    Ok(())
}
