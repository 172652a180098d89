//! Counts and times of the transactional loop and of group consumers, under the name of the service that runs them.

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// Changes of a group's assignment, and how far a consumer is behind, by group and topic. Both are names of the deployment.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    pub(crate) rebalances: IntCounterVec,
    pub(crate) records: IntGaugeVec,
    pub(crate) seconds: GaugeVec,
    pub(crate) open_transaction: GaugeVec,
}

impl GroupMetrics {
    /// Registers under `hirewire_<service>_…`.
    ///
    /// # Errors
    /// When a metric of that name exists already.
    pub fn register(service: &str, registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("hirewire_{service}_{name}"), help);
        let labels = ["group", "topic"];
        let metrics = Self {
            rebalances: IntCounterVec::new(
                opts("rebalances_total", "Partitions that were given or taken, each time counted once."),
                &["group"],
            )?,
            records: IntGaugeVec::new(
                opts("lag_records", "Records not finished, of the partitions that this process has."),
                &labels,
            )?,
            seconds: GaugeVec::new(
                opts("lag_seconds", "Age of the oldest record not finished, of the partitions that this process has."),
                &labels,
            )?,
            open_transaction: GaugeVec::new(
                opts("open_transaction_seconds", "How long an open transaction has hidden what stands behind it."),
                &labels,
            )?,
        };
        registry.register(Box::new(metrics.rebalances.clone()))?;
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.open_transaction.clone()))?;
        Ok(metrics)
    }
}

/// Counts and times of the transactional loop.
#[derive(Clone)]
pub struct PartitionedMetrics {
    pub(crate) transactions: IntCounterVec,
    pub(crate) records_in: IntCounter,
    pub(crate) records_out: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) replaced: IntCounterVec,
    pub(crate) restoring: IntGauge,
    pub(crate) lag: GroupMetrics,
}

impl PartitionedMetrics {
    /// Registers under `hirewire_<service>_…`.
    ///
    /// # Errors
    /// When a metric of that name exists already.
    pub fn register(service: &str, registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("hirewire_{service}_{name}"), help);
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let metrics = Self {
            transactions: IntCounterVec::new(opts("transactions_total", "Transactions by outcome."), &["outcome"])?,
            records_in: IntCounter::with_opts(opts("records_in_total", "Records consumed in committed transactions."))?,
            records_out: IntCounter::with_opts(opts(
                "records_out_total",
                "Records produced in committed transactions.",
            ))?,
            commit_seconds: Histogram::with_opts(
                HistogramOpts::from(opts("commit_seconds", "Time from the last record sent to the commit."))
                    .buckets(buckets),
            )?,
            replaced: IntCounterVec::new(
                opts("producers_replaced_total", "Transactional producers replaced, by reason."),
                &["reason"],
            )?,
            restoring: IntGauge::with_opts(opts(
                "restoring_partitions",
                "Partitions whose state is being read before their first record.",
            ))?,
            lag: GroupMetrics::register(service, registry)?,
        };
        registry.register(Box::new(metrics.transactions.clone()))?;
        registry.register(Box::new(metrics.records_in.clone()))?;
        registry.register(Box::new(metrics.records_out.clone()))?;
        registry.register(Box::new(metrics.commit_seconds.clone()))?;
        registry.register(Box::new(metrics.replaced.clone()))?;
        registry.register(Box::new(metrics.restoring.clone()))?;
        Ok(metrics)
    }
}
