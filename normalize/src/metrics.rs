//! All metrics of normalize. No label has values that grow with use.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

#[derive(Clone)]
pub struct Metrics {
    pub events: IntCounterVec,
    pub unknown_events: IntCounterVec,
    pub facts: IntCounterVec,
    pub stale: IntCounterVec,
    pub records: IntCounterVec,
    pub stage_changes: IntCounterVec,
    pub dead_letters: IntCounterVec,
    pub fragments: IntCounterVec,
    pub unmapped: IntCounterVec,
    pub leaves: IntCounterVec,
    pub missing_lookups: IntCounterVec,
    pub restored: IntCounter,
    pub moved: IntCounter,
}

impl Metrics {
    /// # Errors
    /// When a metric of that name exists already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(format!("hirewire_normalize_{name}"), help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let restored =
            IntCounter::new("hirewire_normalize_restored_states_total", "States read from Kafka at a start.")?;
        registry.register(Box::new(restored.clone()))?;
        let moved = IntCounter::new(
            "hirewire_normalize_moved_records_total",
            "Records deleted in a partition because they live with another owner.",
        )?;
        registry.register(Box::new(moved.clone()))?;
        Ok(Self {
            events: vec("events_total", "Raw records by origin.", &["vendor", "origin"])?,
            unknown_events: vec(
                "unknown_events_total",
                "Raw records that no rule reads; they stay in the raw topic.",
                &["vendor"],
            )?,
            facts: vec("facts_total", "Statements about records, by record.", &["record"])?,
            stale: vec("stale_facts_total", "Statements that were older than what is known.", &["record"])?,
            records: vec("records_total", "Canonical records published, by record.", &["record"])?,
            stage_changes: vec("stage_changes_total", "Ledger events published.", &["revision"])?,
            dead_letters: vec("dead_letters_total", "Raw records that could not be processed, by code.", &["code"])?,
            fragments: vec("fragments_total", "Statements found away from their owner's partition.", &["outcome"])?,
            unmapped: vec("unmapped_values_total", "Coded values that no rule covers.", &["vendor"])?,
            leaves: vec("source_leaves_total", "Leaves of payloads by what became of them.", &["outcome"])?,
            missing_lookups: vec("missing_lookups_total", "Look-ups that did not come in time.", &["record"])?,
            restored,
            moved,
        })
    }
}
