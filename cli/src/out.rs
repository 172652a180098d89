//! What a command prints. Results go to standard output, everything else to standard error.

use std::io::Write;

/// One line on standard output. A reader that went away is not an error.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output any more");
    }
}

/// One line on standard error.
pub(crate) fn error_line(text: &str) {
    let mut out = std::io::stderr().lock();
    if writeln!(out, "{text}").is_err() {
        tracing::debug!("nobody reads standard error any more");
    }
}
