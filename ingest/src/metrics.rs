//! All metrics of ingest. Labels are names from the configuration and the manifest, and closed lists.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

/// The outcome of a delivery that is answered 200.
pub(crate) const KEPT: &str = "kept";

/// Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    webhooks: IntCounterVec,
    webhook_seconds: Histogram,
    webhook_unidentified: IntCounterVec,
    webhook_kept_seconds: IntGaugeVec,
    pub(crate) poll_requests: IntCounterVec,
    pub(crate) poll_records: IntCounterVec,
    pub(crate) poll_repeats: IntCounterVec,
    pub(crate) poll_outside_window: IntCounterVec,
    pub(crate) poll_unidentified: IntCounterVec,
    pub(crate) poll_failures: IntCounterVec,
    pub(crate) poll_settled_seconds: IntGaugeVec,
    pub(crate) poll_read_seconds: IntGaugeVec,
    pub(crate) poll_newest_seconds: IntGaugeVec,
    pub(crate) poll_sunset_seconds: IntGaugeVec,
    pub(crate) poll_credential_ends_seconds: IntGaugeVec,
    pub(crate) poll_backing_off: IntGaugeVec,
    pub(crate) leases: IntGauge,
}

impl Metrics {
    /// Defines all metrics in `registry`.
    ///
    /// # Errors
    /// When one is there already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            define(registry, IntCounterVec::new(Opts::new(format!("hirewire_ingest_{name}"), help), labels)?)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            define(registry, IntGaugeVec::new(Opts::new(format!("hirewire_ingest_{name}"), help), labels)?)
        };
        let seconds = HistogramOpts::new(
            "hirewire_ingest_webhook_duration_seconds",
            "From the request's headers to the answer, acknowledgement by the broker included.",
        )
        .buckets(vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]);
        let by_stream = ["connection", "stream"];
        Ok(Self {
            webhooks: counter("webhooks_total", "Deliveries by outcome.", &["connection", "outcome"])?,
            webhook_seconds: define(registry, Histogram::with_opts(seconds)?)?,
            webhook_unidentified: counter(
                "webhooks_unidentified_total",
                "Deliveries kept under the connection's key: an unknown event, or no id where one should be.",
                &["connection"],
            )?,
            webhook_kept_seconds: gauge(
                "webhook_kept_seconds",
                "Unix time of the last delivery kept.",
                &["connection"],
            )?,
            poll_requests: counter("poll_requests_total", "Requests by answer.", &["connection", "stream", "outcome"])?,
            poll_records: counter("poll_records_total", "Rows kept.", &["connection", "stream", "origin"])?,
            poll_repeats: counter("poll_repeats_total", "Rows that overlap showed again, not kept twice.", &by_stream)?,
            poll_outside_window: counter(
                "poll_outside_window_total",
                "Rows that a list gave outside the window asked for. Kept all the same.",
                &by_stream,
            )?,
            poll_unidentified: counter(
                "poll_unidentified_total",
                "Rows kept under the connection's key: no id where one should be.",
                &by_stream,
            )?,
            poll_failures: counter(
                "poll_failures_total",
                "Reads of a list that were given up until the next round.",
                &["connection", "stream", "reason"],
            )?,
            poll_settled_seconds: gauge("poll_settled_seconds", "Unix time up to which a list was read.", &by_stream)?,
            poll_read_seconds: gauge("poll_read_seconds", "Unix time of the last page read and kept.", &by_stream)?,
            poll_newest_seconds: gauge(
                "poll_newest_seconds",
                "Unix time at which the newest row seen was changed, as the vendor says.",
                &by_stream,
            )?,
            poll_sunset_seconds: gauge(
                "poll_sunset_seconds",
                "Unix time from which the vendor will not answer this list any more, as its answers say.",
                &by_stream,
            )?,
            poll_credential_ends_seconds: gauge(
                "poll_credential_ends_seconds",
                "Unix time at which the API credential ends, as configured.",
                &["connection"],
            )?,
            poll_backing_off: gauge(
                "poll_backing_off",
                "1 while requests wait for a limit or after a failure.",
                &["connection"],
            )?,
            leases: define(
                registry,
                IntGauge::new("hirewire_ingest_leases", "Partitions of the leases topic that this process owns.")?,
            )?,
        })
    }

    pub(crate) fn webhook(&self, connection: &str, outcome: &str, took: Duration) {
        self.webhooks.with_label_values(&[connection, outcome]).inc();
        self.webhook_seconds.observe(took.as_secs_f64());
        if outcome == KEPT {
            self.webhook_kept_seconds.with_label_values(&[connection]).set(Timestamp::now().as_second());
        }
    }

    /// Deliveries of this connection are waited for: whoever counts them finds 0 before the first.
    pub(crate) fn webhooks_begin(&self, connection: &str) {
        self.webhooks.with_label_values(&[connection, KEPT]).inc_by(0);
    }

    pub(crate) fn webhook_unidentified(&self, connection: &str) {
        self.webhook_unidentified.with_label_values(&[connection]).inc();
    }
}

fn define<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
