//! What a caller chooses about a simulation.
//!
//! [`Scenario`] is the part that decides what happens; it is stored with the data, so that a resumed run goes on with
//! the scenario it began with. The rest of [`SimSettings`] (folders, ports, URLs) may differ from run to run.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
pub struct SimSettings {
    /// Holds `sim.sqlite` and `truth.jsonl`. Made if it is not there.
    pub data_dir: PathBuf,
    pub scenario: Scenario,
    /// Where the vendor's API and token endpoint listen. Port 0 takes a free one.
    pub api_listen: SocketAddr,
    /// Where the receiving systems listen.
    pub receivers_listen: SocketAddr,
    /// Where webhooks go. May be set later by `Running::set_webhook_url`.
    pub webhook_url: Option<String>,
    /// Another `api.yaml` than the built-in one.
    pub rules: Option<PathBuf>,
    /// The folder of another vendor than Greenhouse, who tells the story by the section `story` of its `api.yaml`.
    pub vendor: Option<PathBuf>,
}

impl SimSettings {
    /// Free ports on the loopback address and a scenario of `applications` under `seed`.
    #[must_use]
    pub fn local(data_dir: PathBuf, seed: u64, applications: usize) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data_dir,
            scenario: Scenario::new(seed, applications),
            api_listen: any,
            receivers_listen: any,
            webhook_url: None,
            rules: None,
            vendor: None,
        }
    }
}

/// Everything that decides the history and its faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub seed: u64,
    /// Applications that live while the clock runs.
    pub applications: usize,
    /// Applications whose whole history lies in the years before the start; no webhook was sent of them.
    pub past_applications: usize,
    pub history_rows: HistoryRows,
    pub pace: Pace,
    pub faults: Faults,
}

impl Scenario {
    #[must_use]
    pub fn new(seed: u64, applications: usize) -> Self {
        Self {
            seed,
            applications,
            past_applications: 0,
            history_rows: HistoryRows::by_seed(seed),
            pace: Pace::for_applications(applications),
            faults: Faults::fair(),
        }
    }
}

/// What one row of `application_stages` stands for: the documentation does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryRows {
    /// A row for every visit of a stage.
    PerVisit,
    /// A row for every stage, which shows the latest visit.
    PerStageLatest,
    /// A row for every stage, which keeps the first `entered_at`; `exited_at` is null again on return.
    PerStageFirst,
    /// None: only the present stage is told.
    Never,
}

impl HistoryRows {
    #[must_use]
    pub fn by_seed(seed: u64) -> Self {
        match seed % 4 {
            2 => Self::PerStageLatest,
            3 => Self::PerStageFirst,
            _ => Self::PerVisit,
        }
    }
}

/// How the vendor's hours and minutes are squeezed into a run. Lag, retries and rate windows shrink together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// From the first event to the last; longer if a single history needs more.
    pub play_ms: i64,
    /// What a write waits before lists show it, between the two.
    pub visible_lag_ms: (i64, i64),
    /// How long one of the vendor's retry minutes lasts.
    pub retry_minute_ms: i64,
    /// No retry waits longer than this.
    pub retry_max_ms: i64,
    pub rate_window_ms: i64,
    pub requests_per_window: u64,
    pub token_lifetime_ms: i64,
}

impl Pace {
    /// Half a minute or so up to a few hundred applications, then in proportion.
    #[must_use]
    pub fn for_applications(applications: usize) -> Self {
        let applications = i64::try_from(applications).unwrap_or(i64::MAX / 200);
        Self {
            play_ms: (20_000 + applications * 50).clamp(20_000, 3_600_000),
            visible_lag_ms: (150, 700),
            retry_minute_ms: 500,
            retry_max_ms: 4_000,
            rate_window_ms: 3_000,
            requests_per_window: 120,
            token_lifetime_ms: 25_000,
        }
    }
}

/// Shares between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Webhooks that are never sent, though a later list row still tells what they told.
    pub dropped: f64,
    /// Also drop what nothing tells later; the judge counts it as unobservable.
    pub unfair: bool,
    /// Webhooks sent two or three times.
    pub doubled: f64,
    /// Webhooks that come seconds late.
    pub late: f64,
    /// Webhooks that come just after the next one of the same application.
    pub permuted: f64,
    pub api_429: f64,
    pub api_5xx: f64,
    pub api_truncated: f64,
    /// First attempts at a receiver that get 500, 429 or a slow answer.
    pub receiver: f64,
    /// How long a slow receiver takes.
    pub receiver_slow_ms: u64,
}

impl Faults {
    #[must_use]
    pub fn none() -> Self {
        Self {
            dropped: 0.0,
            unfair: false,
            doubled: 0.0,
            late: 0.0,
            permuted: 0.0,
            api_429: 0.0,
            api_5xx: 0.0,
            api_truncated: 0.0,
            receiver: 0.0,
            receiver_slow_ms: 2_600,
        }
    }

    /// What a vendor does on an ordinary bad day.
    #[must_use]
    pub fn fair() -> Self {
        Self {
            dropped: 0.05,
            doubled: 0.06,
            late: 0.05,
            permuted: 0.05,
            api_429: 0.02,
            api_5xx: 0.02,
            api_truncated: 0.015,
            receiver: 0.08,
            ..Self::none()
        }
    }

    #[must_use]
    pub fn unfair() -> Self {
        Self { unfair: true, dropped: 0.1, ..Self::fair() }
    }
}
