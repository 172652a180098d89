//! What is known of the lists that this process polls, and which part of it `/metrics` shows.
//!
//! Changes in, gauges out at each scrape. Of every connection: its oldest list, its newest row, how many lists fail. Of
//! single lists: all, while there are at most [`SHOWN`] of them; beyond that those in trouble, the worst first, and never
//! more. An account has some thirty lists, so that a thousand accounts would else be a hundred thousand series.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// So many lists are told of one by one.
pub(crate) const SHOWN: usize = 200;
/// Where there are more, one is in trouble when it fails, or was not read up to this long ago.
const LATE_SECS: i64 = 15 * 60;

/// A collector; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    connections: Arc<Mutex<BTreeMap<String, Connection>>>,
    gauges: Gauges,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    vendor: String,
    lists: BTreeMap<String, List>,
    pub(super) waits: bool,
    pub(super) credential_ends: Option<i64>,
    /// When the oldest thing to fetch was asked for; 0: nothing waits.
    pub(super) fetches: Option<Arc<AtomicI64>>,
}

/// Unix times in seconds; `None`: not known yet.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) read: Option<i64>,
    pub(super) settled: Option<i64>,
    pub(super) newest: Option<i64>,
    /// The manifest's name of the list, and the day from which it is not answered.
    pub(super) sunset: Option<(String, i64)>,
    /// Why it was left until the next round.
    pub(super) failing: Option<&'static str>,
}

impl Connection {
    pub(super) fn list(&mut self, name: &str, change: impl FnOnce(&mut List)) {
        change(self.lists.entry(name.to_owned()).or_default());
    }
}

impl List {
    fn in_trouble(&self, now: i64) -> bool {
        self.failing.is_some() || self.settled.is_some_and(|settled| now - settled > LATE_SECS)
    }
}

#[derive(Clone, Debug)]
struct Gauges {
    settled: IntGaugeVec,
    read: IntGaugeVec,
    newest: IntGaugeVec,
    failing: IntGaugeVec,
    waits: IntGaugeVec,
    credential_ends: IntGaugeVec,
    fetches: IntGaugeVec,
    sunset: IntGaugeVec,
    list_settled: IntGaugeVec,
    list_read: IntGaugeVec,
    list_newest: IntGaugeVec,
    list_failing: IntGaugeVec,
}

impl Gauges {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(format!("hirewire_ingest_{name}"), help), labels)
        };
        let (one, list) = (["connection"], ["connection", "stream"]);
        Ok(Self {
            settled: gauge(
                "poll_settled_seconds",
                "Unix time up to which every list was read: that of the oldest.",
                &one,
            )?,
            read: gauge(
                "poll_read_seconds",
                "Unix time of the last page read and kept, of the list whose is oldest.",
                &one,
            )?,
            newest: gauge(
                "poll_newest_seconds",
                "Unix time at which the newest row seen was changed, as the vendor says.",
                &one,
            )?,
            failing: gauge("poll_failing_lists", "Lists that were left until the next round when last tried.", &one)?,
            waits: gauge("poll_backing_off", "1 while requests wait for a limit or after a failure.", &one)?,
            credential_ends: gauge(
                "poll_credential_ends_seconds",
                "Unix time at which the API credential ends, as configured.",
                &one,
            )?,
            fetches: gauge(
                "fetch_waiting_since_seconds",
                "Unix time at which the oldest thing to fetch that was not read yet was asked for; none where nothing waits.",
                &one,
            )?,
            sunset: gauge(
                "poll_sunset_seconds",
                "Unix time from which the vendor will not answer this list any more, as its answers or its manifest say.",
                &["vendor", "stream"],
            )?,
            list_settled: gauge("poll_list_settled_seconds", "Unix time up to which a list was read.", &list)?,
            list_read: gauge("poll_list_read_seconds", "Unix time of a list's last page read and kept.", &list)?,
            list_newest: gauge(
                "poll_list_newest_seconds",
                "Unix time at which a list's newest row was changed.",
                &list,
            )?,
            list_failing: gauge(
                "poll_list_failing",
                "1 while a list is left until the next round, by reason.",
                &["connection", "stream", "reason"],
            )?,
        })
    }

    fn all(&self) -> [&IntGaugeVec; 12] {
        [
            &self.settled,
            &self.read,
            &self.newest,
            &self.failing,
            &self.waits,
            &self.credential_ends,
            &self.fetches,
            &self.sunset,
            &self.list_settled,
            &self.list_read,
            &self.list_newest,
            &self.list_failing,
        ]
    }

    fn show_connection(&self, name: &str, connection: &Connection) {
        let lists = connection.lists.values();
        let set = |gauge: &IntGaugeVec, value: Option<i64>| {
            if let Some(value) = value {
                gauge.with_label_values(&[name]).set(value);
            }
        };
        set(&self.settled, lists.clone().filter_map(|list| list.settled).min());
        set(&self.read, lists.clone().filter_map(|list| list.read).min());
        set(&self.newest, lists.clone().filter_map(|list| list.newest).max());
        let failing = lists.clone().filter(|list| list.failing.is_some()).count();
        set(&self.failing, i64::try_from(failing).ok());
        set(&self.waits, Some(i64::from(connection.waits)));
        set(&self.credential_ends, connection.credential_ends);
        let oldest = connection.fetches.as_ref().map(|oldest| oldest.load(Ordering::Relaxed));
        set(&self.fetches, oldest.filter(|oldest| *oldest > 0));
        for (stream, day) in lists.filter_map(|list| list.sunset.as_ref()) {
            let gauge = self.sunset.with_label_values(&[connection.vendor.as_str(), stream]);
            // Two accounts of a vendor: the sooner day. 0: not said before in this scrape.
            gauge.set(if gauge.get() == 0 { *day } else { gauge.get().min(*day) });
        }
    }

    fn show_list(&self, connection: &str, name: &str, list: &List) {
        for (gauge, value) in
            [(&self.list_settled, list.settled), (&self.list_read, list.read), (&self.list_newest, list.newest)]
        {
            if let Some(value) = value {
                gauge.with_label_values(&[connection, name]).set(value);
            }
        }
        if let Some(reason) = list.failing {
            self.list_failing.with_label_values(&[connection, name, reason]).set(1);
        }
    }
}

impl Lists {
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self { connections: Arc::default(), gauges: Gauges::new()? })
    }

    /// The connection is polled here, and nothing is known of it yet.
    pub(super) fn begin(&self, connection: &str, vendor: &str) {
        let known = Connection { vendor: vendor.to_owned(), ..Connection::default() };
        self.locked().insert(connection.to_owned(), known);
    }

    pub(super) fn end(&self, connection: &str) {
        self.locked().remove(connection);
    }

    pub(super) fn change(&self, connection: &str, change: impl FnOnce(&mut Connection)) {
        if let Some(known) = self.locked().get_mut(connection) {
            change(known);
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, connections: &BTreeMap<String, Connection>) {
        for gauge in self.gauges.all() {
            gauge.reset();
        }
        let mut lists = Vec::new();
        for (name, connection) in connections {
            self.gauges.show_connection(name, connection);
            lists.extend(connection.lists.iter().map(|(list, known)| (name, list, known)));
        }
        if lists.len() > SHOWN {
            let now = Timestamp::now().as_second();
            lists.retain(|(_, _, list)| list.in_trouble(now));
            lists.sort_by_key(|(_, _, list)| (list.settled.unwrap_or(i64::MAX), list.failing.is_none()));
            lists.truncate(SHOWN);
        }
        for (connection, name, list) in lists {
            self.gauges.show_list(connection, name, list);
        }
    }
}

impl Collector for Lists {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.all().into_iter().flat_map(IntGaugeVec::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end: of two scrapes at a time each shows the whole.
        let connections = self.locked();
        self.show(&connections);
        self.gauges.all().into_iter().flat_map(IntGaugeVec::collect).collect()
    }
}
