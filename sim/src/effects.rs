//! What a step leaves behind: rows that lists show, webhooks to send, and the truth.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A new version of one row. `body: None` means that the row is gone.
#[derive(Debug, Clone)]
pub(crate) struct RowWrite {
    pub(crate) stream: &'static str,
    pub(crate) id: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// Shown only to those who ask for hidden rows.
    pub(crate) hidden: bool,
    pub(crate) body: Option<Value>,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) action: String,
    pub(crate) body: Value,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    /// The vendor's id of the application that the webhooks are about.
    pub(crate) application: Option<String>,
    pub(crate) rows: Vec<RowWrite>,
    /// The first is the one whose fate the plan decides.
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) truth: Vec<TrueChange>,
}

/// A stage as the vendor names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrueStage {
    /// The vendor's.
    pub id: String,
    pub name: String,
}

/// What kind of change it was, in the words of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChangeKind {
    Created,
    Stage,
    Status,
    Rejection,
    Withdrawal,
    Unrejection,
    Hire,
    Unhire,
    JobTransfer,
    Deleted,
}

/// One true change of one application. The sides hold what was true before and after, terminal states keep the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrueChange {
    /// The vendor's id of the application.
    pub application: String,
    /// Milliseconds since 1970.
    pub at: i64,
    pub kind: ChangeKind,
    pub from_stage: Option<TrueStage>,
    pub to_stage: Option<TrueStage>,
    /// `ACTIVE`, `REJECTED`, `WITHDRAWN`, `HIRED`, `CONVERTED`; `None` before creation and after deletion.
    pub from_status: Option<String>,
    pub to_status: Option<String>,
    pub from_job: Option<String>,
    pub to_job: Option<String>,
    /// Happened before the simulation began; no webhook told of it.
    pub past: bool,
    /// The webhook that told of it, if there was one to send: its `Greenhouse-Event-ID` before any retry.
    pub webhook: Option<String>,
    /// If that webhook is lost, nothing tells of the change.
    pub unobservable_if_lost: bool,
    /// What was agreed, if this is a hire.
    pub hire: Option<TrueHire>,
}

/// What those who act on a hire must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrueHire {
    pub job: String,
    /// `2026-11-24`.
    pub starts_on: String,
    pub salary_cents: i64,
    pub currency: String,
}
