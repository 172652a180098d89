//! The demo's folder: what was asked for, and the outcome once there is one.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hirewire_sim::judge::Summary;
use serde::{Deserialize, Serialize};

/// `demo.json`: what a resumed run must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) vendor: String,
    pub(super) seed: u64,
    pub(super) applications: usize,
    pub(super) past_applications: usize,
    /// Fresh for each demo on a Kafka that others use too; empty on the embedded broker.
    pub(super) topic_prefix: String,
    pub(super) started_ms: i64,
}

/// `summary.json`: how it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) summary: Summary,
    /// What is wrong, in words.
    pub(super) findings: Vec<String>,
    /// What analytics was written into, and where it is.
    pub(super) kept: String,
}

impl Outcome {
    pub(super) fn is_good(&self) -> bool {
        self.summary.is_clean() && self.findings.is_empty()
    }
}

/// Where everything of one demo is kept.
pub(super) struct Folder {
    path: PathBuf,
    /// Removes the folder at the end, if nobody asked to keep it.
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    pub(super) fn temporary() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hirewire-demo-").tempdir().context("no temporary folder")?;
        Ok(Self { path: folder.path().to_owned(), _temporary: Some(folder) })
    }

    pub(super) fn kept(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path: std::path::absolute(path)?, _temporary: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The plan that is there; `None` in an empty or half-made folder.
    pub(super) fn plan(&self) -> Option<Plan> {
        serde_json::from_slice(&std::fs::read(self.path.join("demo.json")).ok()?).ok()
    }

    /// Begins anew: what a half-made demo left is removed, files that are not a demo's are refused.
    pub(super) fn begin(&self, plan: &Plan) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.path).with_context(|| format!("{} cannot be read", self.path.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = MADE_HERE.iter().any(|known| name == *known) || name.to_string_lossy().ends_with(".log");
            anyhow::ensure!(
                ours,
                "{} holds {}, which is not a demo's: choose an empty folder",
                self.path.display(),
                name.to_string_lossy()
            );
            let path = entry.path();
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
                .with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        write_whole(&self.path.join("demo.json"), &serde_json::to_vec_pretty(plan)?)
    }

    /// The outcome of a finished demo.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        serde_json::from_slice(&std::fs::read(self.path.join("summary.json")).ok()?).ok()
    }

    pub(super) fn finish(&self, outcome: &Outcome) -> anyhow::Result<()> {
        write_whole(&self.path.join("summary.json"), &serde_json::to_vec_pretty(outcome)?)
    }
}

/// Everything that a demo puts into its folder.
const MADE_HERE: [&str; 14] = [
    "vendors",
    "metrics.prom",
    "demo.json",
    "demo.part",
    "summary.json",
    "summary.part",
    "hirewire.yaml",
    "overlay.yaml",
    "secrets",
    "simulator",
    "broker",
    "registry",
    "state",
    "analytics.sqlite",
];

/// Whole or not at all, so that a kill leaves no half file.
fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, content)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("{} cannot be written", path.display()))
}
