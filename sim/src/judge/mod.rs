//! Compares what came out with what really happened. Pure: the caller reads Kafka, databases and dead letters.
//!
//! In: the simulator's truth, webhook log and receivers' logs; the ledger as the caller read it. Out: counts, and
//! findings that say which application and which change, never a person.

mod align;
mod deliveries;
mod ledger;
mod summary;
mod time;

use std::collections::BTreeMap;

pub use deliveries::{DeliveryInput, deliveries};
pub use ledger::{LedgerEntry, LedgerStage, stage_changes};
pub use summary::{DeliveryCounts, StageChangeCounts, Summary, WebhookCounts};

use crate::effects::TrueChange;
use crate::receivers::Received;
use crate::store::WebhookLog;

/// Canonical ids, as the system under test makes them: `(entity, vendor's id) -> canonical id`.
pub type CanonicalId<'a> = &'a dyn Fn(&str, &str) -> String;

/// What the judge knows from the simulator.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub truth: Vec<TrueChange>,
    pub webhooks: Vec<WebhookLog>,
    pub received: Vec<Received>,
    /// When the simulation was made: what happened before is history that nothing may act on.
    pub start_ms: i64,
    /// The shortest time after which a list may show a write.
    pub least_lag_ms: i64,
    /// Receivers that this vendor cannot feed, and why: nothing may arrive there.
    pub not_applicable: BTreeMap<String, String>,
}

/// The verdict on the ledger and on all receivers.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub stage_changes: StageChangeCounts,
    pub deliveries: BTreeMap<String, DeliveryCounts>,
    /// One line each, for people. May be long: show the first few.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing is missing, extra, wrong, duplicated or out of order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stage_changes.is_clean() && self.deliveries.values().all(DeliveryCounts::is_clean)
    }
}

/// Judges the ledger and the receivers. `analytics` holds the event ids of the rows that the analytics store has, as
/// often as it has them; `dead` the dead letters per sink.
#[must_use]
pub fn judge(
    evidence: &Evidence,
    ledger: &[LedgerEntry],
    canonical: CanonicalId<'_>,
    analytics: &[String],
    dead: &BTreeMap<String, u64>,
) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.stage_changes = stage_changes(evidence, ledger, canonical, &mut verdict.findings);
    let input = DeliveryInput { evidence, ledger, canonical, analytics, dead };
    verdict.deliveries = deliveries(&input, &mut verdict.findings);
    verdict
}

/// How the vendor's webhooks fared.
#[must_use]
pub fn webhook_counts(webhooks: &[WebhookLog]) -> WebhookCounts {
    let count = |wanted: &dyn Fn(&WebhookLog) -> bool| webhooks.iter().filter(|log| wanted(log)).count() as u64;
    WebhookCounts {
        sent: count(&|log| log.copy == 0 && log.first_sent_at.is_some()),
        acknowledged: count(&|log| log.copy == 0 && log.state == "acked"),
        dropped_by_vendor: count(&|log| log.copy == 0 && matches!(log.state.as_str(), "dropped" | "exhausted")),
        duplicated: count(&|log| log.copy > 0 && log.first_sent_at.is_some()),
    }
}
