//! All metrics of route. Labels are sinks, routes and words of closed lists; never a key or an id.

use std::cell::Cell;
use std::time::Duration;

use hirewire_kafka::GroupMetrics;
use jiff::Timestamp;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::deliver::outcome::Code;

const BUCKETS_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0];

/// What became of settings that came while route ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    Applied,
    /// They say what is in use already.
    Unchanged,
    Refused,
}

impl Reloaded {
    const fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// Registered once per process.
#[derive(Clone)]
pub struct Metrics {
    attempts: IntCounterVec,
    deliveries: IntCounterVec,
    delivery_seconds: HistogramVec,
    age_seconds: HistogramVec,
    change_age_seconds: HistogramVec,
    dead_letters: IntCounterVec,
    skipped: IntCounterVec,
    held: IntGaugeVec,
    breaker: IntGaugeVec,
    keys_held: IntGaugeVec,
    records: IntGaugeVec,
    keys: IntGaugeVec,
    context_waits: IntGaugeVec,
    window_full: IntCounterVec,
    reloads: IntCounterVec,
    settings_refused: IntGauge,
    restoring: IntGauge,
    restored: IntCounter,
    lag: GroupMetrics,
}

impl Metrics {
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGaugeVec::new(Opts::new(name, help), &["sink"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS_SECONDS.to_vec());
            let metric = HistogramVec::new(options, &["sink"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            attempts: counter(
                "hirewire_route_attempts_total",
                "Attempts to deliver, by what they came to.",
                &["sink", "outcome"],
            )?,
            deliveries: counter("hirewire_route_deliveries_total", "Deliveries a sink has taken.", &["sink"])?,
            delivery_seconds: histogram(
                "hirewire_route_delivery_seconds",
                "From the first attempt until the sink took it.",
            )?,
            age_seconds: histogram(
                "hirewire_route_delivery_age_seconds",
                "From the source's answer or webhook until the sink took it.",
            )?,
            change_age_seconds: histogram(
                "hirewire_route_change_age_seconds",
                "From the moment of a stage change, as the vendor tells it, until the sink took it; of LIVE changes whose moment is exact.",
            )?,
            dead_letters: counter(
                "hirewire_route_dead_letters_total",
                "Records sent to the dead-letter topic, by code.",
                &["sink", "code"],
            )?,
            skipped: counter(
                "hirewire_route_skipped_total",
                "Records that a route did not send, by reason.",
                &["sink", "route", "reason"],
            )?,
            held: gauge("hirewire_route_sink_held", "1 while nothing is sent to the sink until somebody mends it.")?,
            breaker: gauge(
                "hirewire_route_breaker_open",
                "1 while so many deliveries in a row failed that only one at a time is tried.",
            )?,
            keys_held: gauge(
                "hirewire_route_keys_held",
                "Keys whose record the sink does not take and whose route holds them for it.",
            )?,
            records: gauge("hirewire_route_records_held", "Records taken in and not settled yet.")?,
            keys: gauge("hirewire_route_keys_under_way", "Keys that have a record under way.")?,
            context_waits: gauge(
                "hirewire_route_context_waits",
                "Deliveries that wait for data that a request requires.",
            )?,
            window_full: counter(
                "hirewire_route_window_full_total",
                "How often the window of a sink was full, so that slow keys held up others.",
                &["sink"],
            )?,
            reloads: counter(
                "hirewire_route_reloads_total",
                "Configurations that came while route ran, by what became of them.",
                &["outcome"],
            )?,
            settings_refused: {
                let name = "hirewire_route_settings_refused";
                let metric =
                    IntGauge::new(name, "1 while the newest configuration is refused and an older one is used.")?;
                registry.register(Box::new(metric.clone()))?;
                metric
            },
            restoring: {
                let help = "1 while the context of deliveries is read up to what was there at the start.";
                let metric = IntGauge::new("hirewire_route_restoring", help)?;
                registry.register(Box::new(metric.clone()))?;
                metric
            },
            restored: {
                let help = "Records of the context of deliveries that were read at a start.";
                let metric = IntCounter::new("hirewire_route_restored_records_total", help)?;
                registry.register(Box::new(metric.clone()))?;
                metric
            },
            lag: GroupMetrics::register("route", registry)?,
        })
    }

    /// Other settings came, and were taken over or refused.
    pub(crate) fn reloaded(&self, outcome: Reloaded) {
        self.reloads.with_label_values(&[outcome.label()]).inc();
        self.settings_refused.set(i64::from(outcome == Reloaded::Refused));
    }

    /// The context is being read, until what this gives is dropped.
    pub(crate) fn restoring(&self) -> Restoring {
        self.restoring.set(1);
        Restoring { metrics: self.clone(), counted: Cell::new(0) }
    }

    /// The metrics of one sink.
    pub(crate) fn sink(&self, sink: &str) -> SinkMetrics {
        // Series that an alert watches are there from the start.
        self.held.with_label_values(&[sink]).set(0);
        self.breaker.with_label_values(&[sink]).set(0);
        self.keys_held.with_label_values(&[sink]).set(0);
        for code in Code::ALL {
            self.dead_letters.with_label_values(&[sink, code.name()]).inc_by(0);
        }
        SinkMetrics {
            deliveries: self.deliveries.with_label_values(&[sink]),
            delivery_seconds: self.delivery_seconds.with_label_values(&[sink]),
            age_seconds: self.age_seconds.with_label_values(&[sink]),
            change_age_seconds: self.change_age_seconds.with_label_values(&[sink]),
            records: self.records.with_label_values(&[sink]),
            keys: self.keys.with_label_values(&[sink]),
            all: self.clone(),
            sink: sink.to_owned(),
        }
    }
}

/// How far a start is that reads the context.
pub(crate) struct Restoring {
    metrics: Metrics,
    counted: Cell<u64>,
}

impl Restoring {
    /// So many records were read since it began; the same number.
    pub(crate) fn read(&self, records: u64) -> u64 {
        self.metrics.restored.inc_by(records.saturating_sub(self.counted.replace(records)));
        records
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.metrics.restoring.set(0);
    }
}

/// [`Metrics`] with the sink's label filled in; those of each delivery were looked up once.
#[derive(Clone)]
pub(crate) struct SinkMetrics {
    deliveries: IntCounter,
    delivery_seconds: Histogram,
    age_seconds: Histogram,
    change_age_seconds: Histogram,
    records: IntGauge,
    keys: IntGauge,
    all: Metrics,
    sink: String,
}

impl SinkMetrics {
    pub(crate) fn attempt(&self, outcome: &str) {
        self.all.attempts.with_label_values(&[self.sink.as_str(), outcome]).inc();
    }

    pub(crate) fn delivered(&self, took: Duration) {
        self.deliveries.inc();
        self.delivery_seconds.observe(took.as_secs_f64());
    }

    /// The sink took what was read at `seen` and had happened at `changed`, if that is known.
    pub(crate) fn taken(&self, seen: Option<Timestamp>, changed: Option<Timestamp>) {
        let now = Timestamp::now();
        for (since, seconds) in [(seen, &self.age_seconds), (changed, &self.change_age_seconds)] {
            if let Some(since) = since {
                // 0 for what is still to come by the vendor's clock.
                let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                seconds.observe(age.as_secs_f64());
            }
        }
    }

    pub(crate) fn dead_letter(&self, code: &str) {
        self.all.dead_letters.with_label_values(&[self.sink.as_str(), code]).inc();
    }

    pub(crate) fn skipped(&self, route: &str, reason: &str) {
        self.all.skipped.with_label_values(&[self.sink.as_str(), route, reason]).inc();
    }

    pub(crate) fn held(&self, held: bool) {
        self.all.held.with_label_values(&[self.sink.as_str()]).set(i64::from(held));
    }

    pub(crate) fn breaker(&self, open: bool) {
        self.all.breaker.with_label_values(&[self.sink.as_str()]).set(i64::from(open));
    }

    /// Counts one held key until dropped.
    pub(crate) fn key_held(&self) -> Counted {
        Counted::new(self.all.keys_held.with_label_values(&[self.sink.as_str()]))
    }

    pub(crate) fn under_way(&self, records: usize, keys: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.records.set(count(records));
        self.keys.set(count(keys));
    }

    pub(crate) fn window_full(&self) {
        self.all.window_full.with_label_values(&[self.sink.as_str()]).inc();
    }

    /// Of the sink's consumer group.
    pub(crate) fn lag(&self) -> GroupMetrics {
        self.all.lag.clone()
    }

    /// Counts one waiting delivery until dropped.
    pub(crate) fn context_wait(&self) -> Counted {
        Counted::new(self.all.context_waits.with_label_values(&[self.sink.as_str()]))
    }
}

/// One in a gauge until it is dropped.
pub(crate) struct Counted(prometheus::IntGauge);

impl Counted {
    fn new(gauge: prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl crate::engine::Watch for SinkMetrics {
    fn held(&self, records: usize, keys: usize) {
        self.under_way(records, keys);
    }

    fn full(&self) {
        self.window_full();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_reads_is_seen_and_counts_each_record_once() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        for begun in [0, 15] {
            let restoring = metrics.restoring();
            assert_eq!((restoring.read(10), restoring.read(15)), (10, 15));
            assert_eq!((metrics.restoring.get(), metrics.restored.get()), (1, begun + 15));
        }
        assert_eq!(metrics.restoring.get(), 0);
    }
}
