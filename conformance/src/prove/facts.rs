//! A vendor, who reads from it and receives from it, and what normalize makes of that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_ingest::manifest::Stream;
use hirewire_ingest::{Connection, Errands, Kept, Rehearsal};
use hirewire_normalize::Rehearsal as Normalize;
use hirewire_sim::vendor::Vendor;
use hirewire_sim::{Event, WebhookRules};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::carrier::Carrier;
use super::desk::{Desk, now_ms};
use super::{Kit, lists};

/// The vendor's clock begins this long before ours: it can be moved on and never passes ours, and what happens now by it
/// is not old.
const HOURS_BEFORE: i64 = 2;
/// Rounds within which what waits is read.
const ROUNDS: usize = 4;
/// Beyond lag and delays, for the seconds of the `Date` header.
const A_BIT: Duration = Duration::from_secs(30);

pub(super) struct Facts<'a> {
    kit: &'a Kit,
    carrier: Option<Carrier<'a>>,
    pub(super) vendor: Vendor,
    connection: Arc<Connection>,
    readers: BTreeMap<String, Rehearsal>,
    pub(super) normalize: Normalize,
    _folder: TempDir,
}

impl<'a> Facts<'a> {
    pub(super) async fn new(kit: &'a Kit, desk: Option<&'a Desk>) -> Result<Self, String> {
        Self::begun(kit, desk, HOURS_BEFORE).await
    }

    /// As the vendor was so many hours before now.
    pub(super) async fn begun(kit: &'a Kit, desk: Option<&'a Desk>, hours_before: i64) -> Result<Self, String> {
        let (vendor, connection) = kit.vendor(hours_before).await?;
        let folder = tempfile::tempdir().map_err(|error| format!("no folder for state: {error}"))?;
        let of_ours = hirewire_normalize::Connection {
            name: connection.name.clone(),
            tenant: connection.tenant.clone(),
            vendor: kit.manifest.vendor.clone(),
            plan: kit.plan.clone(),
        };
        let normalize = Normalize::new(of_ours, folder.path())?;
        let carrier = Carrier::of(kit, desk, &connection).await;
        Ok(Self { kit, carrier, vendor, connection, readers: BTreeMap::new(), normalize, _folder: folder })
    }

    /// Every list is read, in the order of the manifest.
    pub(super) async fn poll_all(&mut self) -> Result<(), String> {
        for stream in lists(&self.kit.manifest) {
            self.poll(&stream.name).await?;
        }
        Ok(())
    }

    /// A list is read, by windows that go on from where the last ones ended.
    pub(super) async fn poll(&mut self, list: &str) -> Result<(), String> {
        if !self.readers.contains_key(list) {
            let reader = self.kit.http.as_ref().and_then(|http| Rehearsal::new(http, &self.connection, list));
            self.readers.insert(list.to_owned(), reader.ok_or_else(|| format!("the list {list} is not polled"))?);
        }
        let now = self.now();
        let Some(reader) = self.readers.get_mut(list) else { return Ok(()) };
        reader.hear(now);
        for _ in 0..2 {
            reader.read().await;
        }
        let rows = reader.take();
        self.keep(rows)
    }

    /// So many looks at all ids of a list, each when it is time for it.
    pub(super) async fn look(&mut self, sweep: &Stream, looks: usize) -> Result<(), String> {
        let every = sweep.sweep.as_ref().map(|sweep| sweep.every).unwrap_or_default();
        for _ in 0..looks {
            self.vendor.with(|account| account.pass(every.as_secs()));
            self.settle();
            self.poll(&sweep.name).await?;
        }
        Ok(())
    }

    /// What happened is shown by then, whatever the list.
    pub(super) fn settle(&self) {
        let api = self.kit.manifest.api.as_ref();
        let own = api.map(|api| api.lag + api.overlap).unwrap_or_default();
        self.vendor.with(|account| account.pass(own.as_secs() + self.kit.rules.visible_within_secs + A_BIT.as_secs()));
    }

    /// The event of a row is delivered, and what it names is read. `row` is what the row is, or was; the event happened at
    /// `at_ms` by the vendor's clock.
    pub(super) async fn deliver(&mut self, event: &Event, row: &Value, at_ms: i64) -> Result<(), String> {
        let Some(carrier) = &mut self.carrier else { return Ok(()) };
        // Where the body tells when it was sent, it tells when it happened.
        let told = self.kit.rules.webhook.as_ref().is_some_and(WebhookRules::body_tells_when_sent);
        let sent_at = if told { at_ms } else { now_ms() };
        let taken = carrier.bring(self.kit, &self.vendor, event, row, sent_at).await?;
        let now = self.now();
        for record in taken.events {
            self.normalize.take(record, now)?;
        }
        let errands = self.kit.http.as_ref().and_then(|http| Errands::new(http, &self.connection));
        let Some(mut errands) = errands else { return Ok(()) };
        errands.ask(taken.wanted);
        for _ in 0..ROUNDS {
            let rows = errands.read().await;
            self.keep(rows)?;
        }
        Ok(())
    }

    fn keep(&mut self, rows: Vec<Kept>) -> Result<(), String> {
        let now = self.now();
        rows.into_iter().try_for_each(|row| self.normalize.take(row.record, now))
    }

    /// The vendor's clock, and ours as far as normalize is told: two hours between what is told and what is observed would
    /// be another story.
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.vendor.with(|account| account.now())).unwrap_or_default()
    }
}
