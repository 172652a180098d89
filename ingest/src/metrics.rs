//! All metrics of ingest, and how many series they may become.
//!
//! What is told of each connection is told in few series, whatever becomes of it; what is told of each list of the
//! vendor's API is told by vendor, or of a bounded number of lists ([`lists`]). `docs/runbooks/README.md` has the table.

mod lists;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

use crate::envelope::Origin;
use lists::Lists;

/// What became of a delivery, as each connection counts it: closed, and short, for there are many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered 200.
    Kept,
    /// Its signature does not prove it.
    Forged,
    /// The secret that would prove it cannot be read: our fault.
    SecretNotLoaded,
    /// Kafka or we ourselves did not take it: our fault.
    NotKept,
    /// The request itself cannot be used.
    Unreadable,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Forged => "forged",
            Self::SecretNotLoaded => "secret_not_loaded",
            Self::NotKept => "not_kept",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    webhooks: IntCounterVec,
    webhook_refusals: IntCounterVec,
    webhook_seconds: Histogram,
    webhook_unidentified: IntCounterVec,
    webhook_kept_seconds: IntGaugeVec,
    poll_requests: IntCounterVec,
    poll_records: IntCounterVec,
    poll_repeats: IntCounterVec,
    poll_outside_window: IntCounterVec,
    poll_unidentified: IntCounterVec,
    poll_failures: IntCounterVec,
    lists: Lists,
    leases: IntGauge,
    rebalances: IntCounterVec,
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
        let seconds = HistogramOpts::new(
            "hirewire_ingest_webhook_duration_seconds",
            "From the request's headers to the answer, acknowledgement by the broker included.",
        )
        .buckets(vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]);
        let by_list = ["vendor", "stream"];
        Ok(Self {
            webhooks: counter("webhooks_total", "Deliveries by what became of them.", &["connection", "outcome"])?,
            webhook_refusals: counter(
                "webhook_refusals_total",
                "Deliveries that were not kept, by the word that the vendor was answered.",
                &["reason"],
            )?,
            webhook_seconds: define(registry, Histogram::with_opts(seconds)?)?,
            webhook_unidentified: counter(
                "webhooks_unidentified_total",
                "Deliveries kept under the connection's key: an unknown event, or no id where one should be.",
                &["vendor"],
            )?,
            webhook_kept_seconds: define(
                registry,
                IntGaugeVec::new(
                    Opts::new("hirewire_ingest_webhook_kept_seconds", "Unix time of the last delivery kept."),
                    &["connection"],
                )?,
            )?,
            poll_requests: counter(
                "poll_requests_total",
                "Requests by answer: ok, limited (the vendor's limit), failed.",
                &["connection", "outcome"],
            )?,
            poll_records: counter("poll_records_total", "Rows kept.", &["connection", "origin"])?,
            poll_repeats: counter("poll_repeats_total", "Rows that overlap showed again, not kept twice.", &by_list)?,
            poll_outside_window: counter(
                "poll_outside_window_total",
                "Rows that a list gave outside the window asked for. Kept all the same.",
                &by_list,
            )?,
            poll_unidentified: counter(
                "poll_unidentified_total",
                "Rows kept under the connection's key: no id where one should be.",
                &by_list,
            )?,
            poll_failures: counter(
                "poll_failures_total",
                "Reads of a list that were given up until the next round.",
                &["vendor", "reason"],
            )?,
            lists: define(registry, Lists::new()?)?,
            leases: define(
                registry,
                IntGauge::new("hirewire_ingest_leases", "Partitions of the leases topic that this process owns.")?,
            )?,
            rebalances: counter(
                "rebalances_total",
                "Leases that were given or taken, each time counted once.",
                &["group"],
            )?,
        })
    }

    /// `reason` is the word of the answer; `None` when the delivery was kept.
    pub(crate) fn webhook(&self, connection: &str, outcome: Outcome, reason: Option<&str>, took: Duration) {
        self.webhooks.with_label_values(&[connection, outcome.as_str()]).inc();
        self.webhook_seconds.observe(took.as_secs_f64());
        match reason {
            Some(reason) => self.webhook_refusals.with_label_values(&[reason]).inc(),
            None => self.webhook_kept_seconds.with_label_values(&[connection]).set(Timestamp::now().as_second()),
        }
    }

    /// The group gave this process so many leases, or took all of them.
    pub(crate) fn leased(&self, group: &str, leases: usize) {
        self.leases.set(i64::try_from(leases).unwrap_or(i64::MAX));
        self.rebalances.with_label_values(&[group]).inc();
    }

    /// Deliveries of this connection are waited for: whoever counts them finds 0 before the first.
    pub(crate) fn webhooks_begin(&self, connection: &str) {
        self.webhooks.with_label_values(&[connection, Outcome::Kept.as_str()]).inc_by(0);
    }

    pub(crate) fn webhook_unidentified(&self, vendor: &str) {
        self.webhook_unidentified.with_label_values(&[vendor]).inc();
    }

    /// This process polls the connection until what it gets is dropped. `sunset`: when the manifest has the vendor's API end.
    pub(crate) fn polled(&self, connection: &str, vendor: &str, sunset: Option<Timestamp>) -> Polled {
        self.lists.begin(connection, vendor);
        Polled { metrics: self.clone(), connection: connection.to_owned(), vendor: vendor.to_owned(), sunset }
    }
}

/// [`Metrics`] of a connection that is polled here. Dropped, what it says of the present is gone; counters stay.
#[derive(Debug)]
pub(crate) struct Polled {
    metrics: Metrics,
    connection: String,
    vendor: String,
    sunset: Option<Timestamp>,
}

/// What became of a request for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    /// The vendor's limit of requests is reached.
    Limited,
    Failed,
}

/// The rows of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) kept: usize,
    pub(crate) repeats: usize,
    pub(crate) outside: usize,
    pub(crate) unidentified: usize,
}

impl Polled {
    pub(crate) fn request(&self, answer: Answer) {
        let outcome = match answer {
            Answer::Ok => "ok",
            Answer::Limited => "limited",
            Answer::Failed => "failed",
        };
        self.metrics.poll_requests.with_label_values(&[self.connection.as_str(), outcome]).inc();
    }

    /// `stream` is a list of the manifest.
    pub(crate) fn rows(&self, stream: &str, origin: Origin, rows: Rows) {
        let add = |counter: &IntCounterVec, labels: [&str; 2], by: usize| {
            if by > 0 {
                counter.with_label_values(&labels).inc_by(by as u64);
            }
        };
        let of_list = [self.vendor.as_str(), stream];
        add(&self.metrics.poll_records, [self.connection.as_str(), origin.as_str()], rows.kept);
        add(&self.metrics.poll_repeats, of_list, rows.repeats);
        add(&self.metrics.poll_outside_window, of_list, rows.outside);
        add(&self.metrics.poll_unidentified, of_list, rows.unidentified);
    }

    /// The list is read from now on. Its end, if the manifest has one, is told from then on, also while nothing is answered.
    pub(crate) fn begins(&self, list: &str, stream: &str) {
        if self.sunset.is_some() {
            self.of(list, |list| list.sunset = self.sunset.map(|day| (stream.to_owned(), day.as_second())));
        }
    }

    /// The list was left until the next round.
    pub(crate) fn failed(&self, list: &str, reason: &'static str) {
        self.metrics.poll_failures.with_label_values(&[self.vendor.as_str(), reason]).inc();
        self.of(list, |list| list.failing = Some(reason));
    }

    pub(crate) fn works(&self, list: &str) {
        self.of(list, |list| list.failing = None);
    }

    /// Everything that changed until then was read.
    pub(crate) fn settled(&self, list: &str, until: Timestamp) {
        self.of(list, |list| list.settled = Some(until.as_second()));
    }

    /// A page was read and kept. `newest` is the latest change of a row seen so far; without `sunset` the vendor took it
    /// back, or never said it. Of that day and the manifest's the sooner counts: none that anybody told is passed over.
    pub(crate) fn page(&self, list: &str, stream: &str, newest: Option<Timestamp>, sunset: Option<Timestamp>) {
        let sunset = [sunset, self.sunset].into_iter().flatten().min();
        self.of(list, |list| {
            list.read = Some(Timestamp::now().as_second());
            list.newest = newest.map(Timestamp::as_second).or(list.newest);
            list.sunset = sunset.map(|day| (stream.to_owned(), day.as_second()));
        });
    }

    pub(crate) fn waits(&self, waits: bool) {
        self.metrics.lists.change(&self.connection, |connection| connection.waits = waits);
    }

    /// When the oldest thing to fetch that is not done was asked for, in Unix seconds; 0: nothing waits.
    pub(crate) fn fetches(&self, oldest: Arc<AtomicI64>) {
        self.metrics.lists.change(&self.connection, |connection| connection.fetches = Some(oldest));
    }

    pub(crate) fn credential_ends(&self, ends: Timestamp) {
        self.metrics.lists.change(&self.connection, |connection| connection.credential_ends = Some(ends.as_second()));
    }

    fn of(&self, list: &str, change: impl FnOnce(&mut lists::List)) {
        self.metrics.lists.change(&self.connection, |connection| connection.list(list, change));
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.metrics.lists.end(&self.connection);
    }
}

fn define<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
