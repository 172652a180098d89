//! Times in, percentiles and tables out.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::machine::Machine;

/// Percentiles of a set of times, in milliseconds.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Times {
    pub(crate) count: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Times {
    /// `None` of an empty set.
    pub(crate) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.max(1) - 1).copied().map(milliseconds)
        };
        Some(Self { count: times.len(), p50_ms: at(0.5)?, p99_ms: at(0.99)?, max_ms: at(1.0)? })
    }

    pub(crate) fn cells(times: Option<&Self>) -> [String; 4] {
        match times {
            None => ["0".to_owned(), "-".to_owned(), "-".to_owned(), "-".to_owned()],
            Some(times) => [
                times.count.to_string(),
                format!("{:.1}", times.p50_ms),
                format!("{:.1}", times.p99_ms),
                format!("{:.1}", times.max_ms),
            ],
        }
    }
}

/// To hundredths.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0)
}

/// To hundredths.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The middle of an odd number of values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Columns wide enough for all rows; the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text += &if index == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

/// Says in which state the machine was: a figure without it means nothing.
pub(crate) fn about(before: &Machine, after: &Machine) -> String {
    let busy = if before.is_busy() { "BUSY WITH OTHER WORK: times are too long" } else { "quiet before the start" };
    format!(
        "{} cores shared by everything measured here, load {:.2} before, {:.2} after; {busy}",
        before.cores, before.load, after.load
    )
}

/// Prints the result: a table for people, one line of JSON for programs.
pub(crate) fn result(table: &str, json: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is not an error.
    let _gone = writeln!(out, "{table}{json}").and_then(|()| out.flush()).is_err();
}

/// One line on standard output, for the process that started this one.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush()).is_err();
}

/// Says on standard error what is going on.
pub(crate) fn note(text: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "{text}").is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let times = Times::of((1..=200).map(Duration::from_millis).collect()).unwrap();
        assert_eq!(times, Times { count: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(Times::of(Vec::new()), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "234".to_owned()]];
        assert_eq!(table(&rows), "a      1\nbcd  234\n");
    }
}
