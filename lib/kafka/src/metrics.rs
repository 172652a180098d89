//! Counts and times of the transactional loop, under the name of the service that runs it.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts};

/// Counts and times of the transactional loop.
#[derive(Clone)]
pub struct PartitionedMetrics {
    pub(crate) transactions: IntCounterVec,
    pub(crate) records_in: IntCounter,
    pub(crate) records_out: IntCounter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) replaced: IntCounterVec,
    pub(crate) rebalances: IntCounter,
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
            rebalances: IntCounter::with_opts(opts("rebalances_total", "Changes of the partition assignment."))?,
        };
        registry.register(Box::new(metrics.transactions.clone()))?;
        registry.register(Box::new(metrics.records_in.clone()))?;
        registry.register(Box::new(metrics.records_out.clone()))?;
        registry.register(Box::new(metrics.commit_seconds.clone()))?;
        registry.register(Box::new(metrics.replaced.clone()))?;
        registry.register(Box::new(metrics.rebalances.clone()))?;
        Ok(metrics)
    }
}
