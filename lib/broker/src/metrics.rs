//! All metrics of the broker.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Registered once per process.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) refused_connections: IntCounter,
    pub(crate) refused_authentications: IntCounter,
    pub(crate) bytes_in: IntCounter,
    pub(crate) bytes_out: IntCounter,
    pub(crate) sync_seconds: Histogram,
    pub(crate) log_bytes: IntGauge,
    pub(crate) segments: IntGauge,
    pub(crate) partitions: IntGauge,
    pub(crate) groups: IntGaugeVec,
    pub(crate) transactions: IntGaugeVec,
    pub(crate) checkpoints: IntCounter,
}

impl Metrics {
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounterVec::new(Opts::new("broker_requests_total", "Requests by API"), &["api"])?,
            errors: IntCounterVec::new(
                Opts::new("broker_errors_total", "Refused parts of requests by API and Kafka's error code"),
                &["api", "code"],
            )?,
            connections: IntGauge::new("broker_connections", "Open client connections")?,
            refused_connections: IntCounter::new("broker_refused_connections_total", "Connections over the limit")?,
            refused_authentications: IntCounter::new(
                "broker_refused_authentications_total",
                "Clients that could not say who they are",
            )?,
            bytes_in: IntCounter::new("broker_received_bytes_total", "Bytes of requests")?,
            bytes_out: IntCounter::new("broker_sent_bytes_total", "Bytes of answers")?,
            sync_seconds: Histogram::with_opts(
                HistogramOpts::new("broker_journal_sync_seconds", "Time of one sync of the journal")
                    .buckets(vec![0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0]),
            )?,
            log_bytes: IntGauge::new("broker_log_bytes", "Bytes in segment files")?,
            segments: IntGauge::new("broker_log_segments", "Segment files")?,
            partitions: IntGauge::new("broker_partitions", "Partitions")?,
            groups: IntGaugeVec::new(Opts::new("broker_groups", "Consumer groups by state"), &["state"])?,
            transactions: IntGaugeVec::new(
                Opts::new("broker_transactions", "Transactional ids by the state of their last transaction"),
                &["state"],
            )?,
            checkpoints: IntCounter::new("broker_checkpoints_total", "Checkpoints written")?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.refused_connections.clone()))?;
        registry.register(Box::new(metrics.refused_authentications.clone()))?;
        registry.register(Box::new(metrics.bytes_in.clone()))?;
        registry.register(Box::new(metrics.bytes_out.clone()))?;
        registry.register(Box::new(metrics.sync_seconds.clone()))?;
        registry.register(Box::new(metrics.log_bytes.clone()))?;
        registry.register(Box::new(metrics.segments.clone()))?;
        registry.register(Box::new(metrics.partitions.clone()))?;
        registry.register(Box::new(metrics.groups.clone()))?;
        registry.register(Box::new(metrics.transactions.clone()))?;
        registry.register(Box::new(metrics.checkpoints.clone()))?;
        Ok(metrics)
    }
}
