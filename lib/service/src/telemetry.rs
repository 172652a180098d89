//! Structured logs on standard error, whose filter can be changed while the process runs.

use std::io::IsTerminal;
use std::sync::OnceLock;

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
    let (change, started): (Change, _) = match format {
        Format::Human => {
            let lines = lines.with_ansi(terminal).with_target(false).with_filter_reloading();
            let handle = lines.reload_handle();
            (Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())), lines.try_init())
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            let handle = lines.reload_handle();
            (Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())), lines.try_init())
        }
    };
    if started.is_err() || CHANGE.set(change).is_err() {
        tracing::debug!("logging was started before");
    }
}

type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

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
    let change = CHANGE.get().ok_or("this process does not log")?;
    change(filter)?;
    tracing::info!(filter = text, "another log filter counts from now on");
    Ok(())
}
