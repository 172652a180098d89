//! All metrics of normalize. No label has values that grow with use.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

use crate::catalog::{Catalog, VISIT};
use crate::completeness::Completeness;
use crate::dead_letter::Code;

#[derive(Clone)]
pub struct Metrics {
    pub events: IntCounterVec,
    pub unknown_events: IntCounterVec,
    pub facts: IntCounterVec,
    pub stale: IntCounterVec,
    pub records: IntCounterVec,
    pub stage_changes: IntCounterVec,
    pub change_age: Histogram,
    pub completeness: Completeness,
    pub dead_letters: IntCounterVec,
    pub fragments: Fragments,
    pub unmapped: IntCounterVec,
    pub drift: IntCounterVec,
    pub leaves: Leaves,
    pub missing_lookups: IntCounterVec,
    pub restored: IntCounter,
    pub moved: IntCounter,
}

/// Statements that were found away from their owner's partition.
#[derive(Clone)]
pub struct Fragments {
    pub sent: IntCounter,
    pub known: IntCounter,
    pub received: IntCounter,
}

/// Leaves of payloads by what became of them.
#[derive(Clone)]
pub struct Leaves {
    pub read: IntCounter,
    pub ignored: IntCounter,
    pub carried: IntCounter,
    pub unread: IntCounter,
}

/// Counters that every event moves, found once instead of by their labels each time.
pub struct Counts {
    /// By kind.
    pub facts: Vec<IntCounter>,
    pub records: Vec<IntCounter>,
    pub stale: Vec<IntCounter>,
    pub visits: IntCounter,
    pub live: IntCounter,
    pub corrections: IntCounter,
    pub change_age: Histogram,
}

impl Counts {
    #[must_use]
    pub fn of(metrics: &Metrics, catalog: &Catalog) -> Self {
        let by_kind = |metric: &IntCounterVec| {
            catalog.kinds().iter().map(|info| metric.with_label_values(&[info.record])).collect()
        };
        Self {
            facts: by_kind(&metrics.facts),
            records: by_kind(&metrics.records),
            stale: by_kind(&metrics.stale),
            visits: metrics.facts.with_label_values(&[VISIT]),
            live: metrics.stage_changes.with_label_values(&["LIVE"]),
            corrections: metrics.stage_changes.with_label_values(&["CORRECTION"]),
            change_age: metrics.change_age.clone(),
        }
    }
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
        let change_age = Histogram::with_opts(
            HistogramOpts::new(
                "hirewire_normalize_change_age_seconds",
                "From the moment of a stage change, as the vendor tells it, to its LIVE event; of those whose moment is exact.",
            )
            .buckets(vec![0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0]),
        )?;
        registry.register(Box::new(change_age.clone()))?;
        let told = Opts::new(
            "hirewire_normalize_changes_told_total",
            "LIVE changes of stage or status by who told them within normalize.confirm_within: both ways, a webhook alone, polling alone.",
        );
        let completeness = Completeness::new(IntCounterVec::new(told, &["connection", "by"])?);
        registry.register(Box::new(completeness.clone()))?;
        let dead_letters = vec("dead_letters_total", "Raw records that could not be processed, by code.", &["code"])?;
        // There from the start, or the first of a code would be no increase to an alert.
        for code in Code::all() {
            dead_letters.with_label_values(&[code.name()]).inc_by(0);
        }
        let fragments = vec("fragments_total", "Statements found away from their owner's partition.", &["outcome"])?;
        let leaves = vec("source_leaves_total", "Leaves of payloads by what became of them.", &["outcome"])?;
        let (outcome, leaf) =
            (|name: &str| fragments.with_label_values(&[name]), |name: &str| leaves.with_label_values(&[name]));
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
            change_age,
            completeness,
            dead_letters,
            fragments: Fragments { sent: outcome("sent"), known: outcome("known"), received: outcome("received") },
            unmapped: vec("unmapped_values_total", "Coded values that no rule covers.", &["vendor", "rule"])?,
            drift: vec(
                "drift_total",
                "Leaves that were never seen before and fields that come no more, each time.",
                &["vendor", "rule", "kind"],
            )?,
            leaves: Leaves {
                read: leaf("read"),
                ignored: leaf("ignored"),
                carried: leaf("carried"),
                unread: leaf("unread"),
            },
            missing_lookups: vec("missing_lookups_total", "Look-ups that did not come in time.", &["record"])?,
            restored,
            moved,
        })
    }
}
