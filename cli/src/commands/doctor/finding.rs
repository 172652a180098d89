//! What was found, and how it is told: a line each with its remedy, or one JSON object.

use serde_json::{Value, json};

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Well,
    /// Works, and somebody should look.
    Warned,
    Failed,
    /// Not looked at, and why.
    Skipped,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Warned => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: State,
    /// Of what: `kafka`, `topics`, `sinks` …
    pub(super) area: &'static str,
    /// Which one; empty: all of the area.
    pub(super) subject: String,
    pub(super) what: String,
    /// What to do; empty when it is well.
    pub(super) remedy: String,
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, state: State, area: &'static str, subject: &str, what: &str, remedy: &str) {
        self.all.push(Finding {
            state,
            area,
            subject: subject.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    pub(super) fn failed(&self) -> usize {
        self.count(State::Failed)
    }

    fn count(&self, state: State) -> usize {
        self.all.iter().filter(|finding| finding.state == state).count()
    }

    /// A table, and under what is not well what to do.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for finding in &self.all {
            let subject = if finding.subject.is_empty() { String::new() } else { format!("{}: ", finding.subject) };
            lines.push(format!("{:8} {:14} {subject}{}", finding.state.as_str(), finding.area, finding.what));
            if finding.state != State::Well && !finding.remedy.is_empty() {
                lines.push(format!("{:24}-> {}", "", finding.remedy));
            }
        }
        let (failed, warned, skipped) = (self.failed(), self.count(State::Warned), self.count(State::Skipped));
        lines.push(match failed {
            0 => format!("nothing failed; {warned} warnings, {skipped} not looked at"),
            _ => format!("{failed} failed, {warned} warnings, {skipped} not looked at"),
        });
        lines
    }

    pub(super) fn json(&self) -> Value {
        let of = |finding: &Finding| {
            json!({
                "state": finding.state.as_str().to_lowercase(),
                "area": finding.area,
                "subject": finding.subject,
                "what": finding.what,
                "remedy": finding.remedy,
            })
        };
        json!({
            "failed": self.failed(),
            "warnings": self.count(State::Warned),
            "skipped": self.count(State::Skipped),
            "findings": self.all.iter().map(of).collect::<Vec<_>>(),
        })
    }
}
