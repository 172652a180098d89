//! Normalize's work on one partition number: raw records and fragments in; canonical records, ledger events, issues, dead
//! letters, fragments and state out, all in the transaction that the caller commits.

mod place;
mod restore;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hirewire_kafka::{Inbound, Outbox, Record, Stop};
use hirewire_mapping::{Input, Plan, Reject, Scratch};
use hirewire_service::TraceParent;
use hirewire_service::spans::{self, Kind, Span, Value};
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::claim::{Claim, Id, Origin};
use crate::dated::Dated;
use crate::dead_letter::{Code, Letter};
use crate::drift::Drift;
use crate::fragments::Sent;
use crate::guard::{Guilty, guarded};
use crate::issue::Issues;
use crate::lookups::Lookups;
use crate::metrics::Metrics;
use crate::names::{IdCache, World};
use crate::raw::Raw;
use crate::store::Store;
use crate::work::{Committed, Work};

/// One connection as this service sees it.
pub struct Source {
    pub tenant: String,
    pub vendor: String,
    pub plan: Arc<Plan>,
    /// Encoded `meta.absent_fields` by record.
    pub absent: HashMap<String, Vec<u8>>,
    pub drift: Drift,
}

/// What all partitions of a process share.
pub struct Shared {
    pub catalog: Arc<Catalog>,
    pub sources: HashMap<String, Source>,
    pub lookups: Arc<Lookups>,
    pub metrics: Metrics,
    pub partitions: i32,
    pub lookup_wait: Duration,
    /// How long a change that one way told is waited for the other way.
    pub confirm_within: Duration,
    pub cache_bytes: usize,
    pub store_dir: PathBuf,
    /// Topics whose dead letters are restricted too.
    pub restricted: Vec<String>,
    pub issues: Issues,
    pub guilty: Guilty,
}

/// How long a look-up that did not come is not waited for again.
const FORGET_MISSING: Duration = Duration::from_secs(60);
/// Changed states reach the disk at least that often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

pub struct NormalizeStep {
    partition: i32,
    shared: Arc<Shared>,
    store: Option<Store>,
    work: Work,
    ids: IdCache,
    sent: Sent,
    scratch: Scratch,
    committed: Vec<Committed>,
    /// Issues of the open transaction.
    told: Vec<Uuid>,
    missing: HashMap<Id, Instant>,
    /// Why what the present record says has no place, if so.
    stray: Option<&'static str>,
    /// How long the open transaction has waited for look-ups.
    waited: Duration,
    flushed: Instant,
    /// Of the open transaction: they are told when it is committed.
    spans: Vec<Span>,
    /// A panic left the open transaction in an unknown state: it must not be committed.
    spoilt: bool,
}

impl NormalizeStep {
    #[must_use]
    pub fn new(partition: i32, shared: Arc<Shared>) -> Self {
        let dated = Dated::of(shared.sources.iter().map(|(name, source)| (name, &source.plan)));
        let (catalog, lookups) = (Arc::clone(&shared.catalog), Arc::clone(&shared.lookups));
        let work = Work::new(catalog, &shared.metrics, partition, lookups, dated);
        Self {
            partition,
            shared,
            store: None,
            work,
            ids: IdCache::default(),
            sent: Sent::default(),
            scratch: Scratch::default(),
            committed: Vec::new(),
            told: Vec::new(),
            missing: HashMap::new(),
            stray: None,
            waited: Duration::ZERO,
            flushed: Instant::now(),
            spans: Vec::new(),
            spoilt: false,
        }
    }

    /// A step whose state is in `store` already: for tests and benchmarks without Kafka.
    #[must_use]
    pub fn with_store(partition: i32, shared: Arc<Shared>, store: Store) -> Self {
        let mut step = Self::new(partition, shared);
        step.store = Some(store);
        step
    }

    fn take(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let suspect = self.shared.guilty.is_suspect(self.partition);
        if suspect {
            self.work.note_touched();
        }
        if *input.topic == *self.shared.catalog.fragment.topic {
            self.fragment(input, out)?;
        } else if *input.topic == *self.shared.catalog.write_back {
            self.intend(input, out)?;
        } else {
            self.raw(input, out)?;
        }
        if let Some(what) = self.stray.take() {
            self.bury(input, Code::UnknownOrder, what.to_owned(), None, out)?;
        }
        if suspect {
            self.work.rehearse();
        }
        Ok(())
    }

    /// Forgets all that a panic may have left half done.
    fn spoil(&mut self) {
        self.spoilt = true;
        self.stray = None;
        self.work.abort();
        self.sent.abort();
        self.ids = IdCache::default();
        self.scratch = Scratch::default();
    }

    fn raw(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let raw = match Raw::read(input) {
            Ok(raw) => raw,
            Err((code, header)) => return self.bury(input, code, format!("header {header}"), None, out),
        };
        let shared = Arc::clone(&self.shared);
        let Some(source) = shared.sources.get(raw.connection) else {
            return self.bury(input, Code::UnknownConnection, "the connection is not configured".to_owned(), None, out);
        };
        shared.metrics.events.with_label_values(&[&source.vendor, raw.origin]).inc();
        let trace = self.begin_span(input, &raw);
        let raw = Raw { trace: trace.as_deref().map_or(raw.trace, str::as_bytes), ..raw };
        let Some(body) = &input.value else {
            return self.bury(input, Code::Empty, "no value".to_owned(), None, out);
        };
        let mapped = Input {
            body,
            event: raw.event,
            stream: raw.stream,
            params: &raw.params,
            headers: &raw.headers,
            received_micros: Some(raw.observed_at),
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.map(&shared, source, &raw, input, &mapped, &mut scratch, out);
        self.scratch = scratch;
        match done? {
            None => Ok(()),
            Some(reject) => self.bury(input, Code::Mapping(reject.code), reject.to_string(), Some(&reject), out),
        }
    }

    /// The span of this record, where it is wanted: what comes of the record carries it on. The same for the same record,
    /// for a record that is processed again gives the same.
    fn begin_span(&mut self, input: &Inbound, raw: &Raw<'_>) -> Option<String> {
        let parent = std::str::from_utf8(raw.trace).ok().and_then(TraceParent::parse)?;
        if !spans::wanted(&parent) {
            return None;
        }
        let own = parent.child_of_work(format_args!("{}/{}/{}", input.topic, input.partition, input.offset));
        let now = SystemTime::now();
        self.spans.push(Span {
            service: "normalize",
            name: "normalize",
            kind: Kind::Consumer,
            own,
            parent: Some(parent),
            began: now,
            ended: now,
            attributes: vec![
                ("messaging.system", Value::Word("kafka")),
                ("messaging.destination.name", Value::Name(Arc::clone(&input.topic))),
                ("messaging.destination.partition.id", Value::Text(input.partition.to_string())),
                ("messaging.kafka.offset", Value::Number(input.offset)),
                ("hirewire.connection", Value::Text(raw.connection.to_owned())),
                ("hirewire.origin", Value::Text(raw.origin.to_owned())),
            ],
            links: Vec::new(),
            failed: None,
        });
        Some(own.to_string())
    }

    /// The span of a transaction that did the work of many records.
    fn transaction_span(&self) -> Option<Span> {
        let links = spans::links(self.spans.iter().map(|span| span.own));
        let (first, began) = (*links.first()?, self.spans.first()?.began);
        let partition = ("messaging.destination.partition.id", Value::Text(self.partition.to_string()));
        let count = i64::try_from(self.spans.len()).unwrap_or(i64::MAX);
        Some(Span {
            service: "normalize",
            name: "transaction",
            kind: Kind::Internal,
            own: first.child_of_work("transaction"),
            parent: Some(first),
            began,
            ended: began,
            attributes: vec![("messaging.batch.message_count", Value::Number(count)), partition],
            links,
            failed: None,
        })
    }

    /// Maps a payload and places its claims. The reject, if it cannot be mapped.
    #[allow(clippy::too_many_arguments)]
    fn map(
        &mut self,
        shared: &Arc<Shared>,
        source: &Source,
        raw: &Raw<'_>,
        input: &Inbound,
        mapped: &Input<'_>,
        scratch: &mut Scratch,
        out: &mut Outbox,
    ) -> Result<Option<Reject>, Stop> {
        let mut waited = false;
        loop {
            let mut world = World {
                ids: &mut self.ids,
                lookups: &shared.lookups,
                tenant: &source.tenant,
                connection: raw.connection,
            };
            let result = match source.plan.apply(scratch, mapped, &mut world) {
                Ok(result) => result,
                Err(reject) => return Ok(Some(reject)),
            };
            if !result.known() {
                shared.metrics.unknown_events.with_label_values(&[&source.vendor]).inc();
                return Ok(None);
            }
            let missing: Vec<(&str, &str)> = result.facts().flat_map(|fact| fact.missing_lookups()).collect();
            if !missing.is_empty() && !waited {
                waited = true;
                if self.await_lookups(shared, source, raw.connection, &missing) {
                    continue;
                }
            }
            let coverage = result.coverage();
            let leaves = &shared.metrics.leaves;
            for (counter, count) in [
                (&leaves.read, coverage.read),
                (&leaves.ignored, coverage.ignored),
                (&leaves.carried, coverage.carried),
                (&leaves.unread, coverage.unread),
            ] {
                counter.inc_by(count as u64);
            }
            for fact in result.facts() {
                let origin = Origin {
                    tenant: &source.tenant,
                    connection: raw.connection,
                    vendor: &source.vendor,
                    provenance: raw.provenance,
                    by_event: raw.by_event,
                    asked_at: raw.asked_at,
                    observed_at: raw.observed_at,
                    ingested_at: raw.ingested_at,
                    topic: &input.topic,
                    partition: input.partition,
                    offset: input.offset,
                    delivery: raw.delivery,
                    mapping_version: source.plan.version(),
                    absent_fields: source.absent.get(fact.record).map_or(&[], Vec::as_slice),
                    trace: raw.trace,
                };
                for value in fact.unmapped() {
                    shared.metrics.unmapped.with_label_values(&[&source.vendor, fact.rule]).inc();
                    let told = shared.issues.unmapped(&shared.catalog, &fact, value, &origin);
                    self.tell(told, out);
                }
                for found in source.drift.note(&fact) {
                    shared.metrics.drift.with_label_values(&[&source.vendor, fact.rule, found.kind()]).inc();
                    let told = shared.issues.drifted(&shared.catalog, &fact, &found, &origin);
                    self.tell(told, out);
                }
                self.place(&Claim::of_fact(&fact, origin), out)?;
            }
            return Ok(None);
        }
    }

    /// Sends an issue that was not told before.
    fn tell(&mut self, issue: Option<(Uuid, Record)>, out: &mut Outbox) {
        if let Some((id, record)) = issue {
            self.told.push(id);
            out.send(record);
        }
    }

    /// Waits for look-ups that were not waited for lately. True: it is worth mapping again.
    fn await_lookups(&mut self, shared: &Shared, source: &Source, connection: &str, missing: &[(&str, &str)]) -> bool {
        let now = Instant::now();
        let mut fresh: Vec<Id> = Vec::new();
        let mut records: Vec<&str> = Vec::new();
        for (record, remote_id) in missing {
            let id = self.ids.id(&source.tenant, connection, record, remote_id);
            let long_ago = self.missing.get(&id).is_none_or(|since| now - *since > FORGET_MISSING);
            if long_ago && !fresh.contains(&id) {
                fresh.push(id);
                records.push(record);
            }
        }
        if fresh.is_empty() {
            return false;
        }
        // The transaction must end long before the broker ends it.
        let known = shared.lookups.wait_for(&fresh, shared.lookup_wait.saturating_sub(self.waited));
        self.waited += now.elapsed();
        if known {
            return true;
        }
        for record in records {
            let known = shared.catalog.kind(record).map_or("unknown", |kind| shared.catalog.info(kind).record);
            shared.metrics.missing_lookups.with_label_values(&[known]).inc();
        }
        if self.missing.len() > 10_000 {
            self.missing.clear();
        }
        self.missing.extend(fresh.into_iter().map(|id| (id, now)));
        true
    }

    fn bury(
        &self,
        input: &Inbound,
        code: Code,
        what: String,
        reject: Option<&Reject>,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let restricted = self.shared.restricted.iter().any(|topic| **topic == *input.topic)
            || *input.topic == *self.shared.catalog.fragment.topic;
        let topic =
            if restricted { &self.shared.catalog.restricted_dead_letter } else { &self.shared.catalog.dead_letter };
        self.shared.metrics.dead_letters.with_label_values(&[code.name()]).inc();
        tracing::warn!(
            topic = %input.topic,
            partition = input.partition,
            offset = input.offset,
            code = code.name(),
            what,
            "record could not be processed and went to the dead letters"
        );
        out.send(Letter { code, what, reject }.record(Arc::clone(topic), input));
        Ok(())
    }
}

impl hirewire_kafka::Step for NormalizeStep {
    fn restore(&mut self, settings: &hirewire_kafka::Settings) -> Result<(), Stop> {
        self.store = Some(self.open_store(settings)?);
        self.flushed = Instant::now();
        Ok(())
    }

    /// After a panic the rest of the inputs is processed all the same, for nothing: others that panic are found at once.
    fn process(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        if let Some(place) = self.shared.guilty.place(input) {
            return self.bury(input, Code::Panicked, format!("a bug of ours at {place}"), None, out);
        }
        match guarded(|| self.take(input, out)) {
            Ok(done) => done,
            Err(place) => {
                self.shared.guilty.blame(input, place);
                self.spoil();
                Ok(())
            }
        }
    }

    fn before_commit(&mut self, out: &mut Outbox) -> Result<(), Stop> {
        if !self.spoilt {
            match guarded(|| self.work.finish(out)) {
                Ok(committed) => self.committed = committed,
                Err(_) => {
                    self.shared.guilty.suspect(self.partition);
                    self.spoil();
                }
            }
        }
        self.waited = Duration::ZERO;
        if self.spoilt {
            let what = format!("a record of partition {} set off a bug of ours", self.partition);
            return Err(Stop::retryable("work-again", what));
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<(), Stop> {
        self.shared.guilty.absolve(self.partition);
        self.told.clear();
        self.sent.commit();
        let seen = self.work.take_seen();
        if !seen.is_empty() {
            let (now, within) = (Instant::now(), self.shared.confirm_within);
            self.shared.metrics.completeness.note(self.partition, seen, now, within);
        }
        if !self.spans.is_empty() {
            let ended = SystemTime::now();
            self.spans.extend(self.transaction_span());
            spans::record_all(self.spans.drain(..).map(|span| Span { ended, ..span }));
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        let failed = |error: crate::store::DiskError| Stop::retryable("local-store", error.to_string());
        let count = self.committed.len();
        for done in self.committed.drain(..) {
            store.put(done.id, Some(done.state)).map_err(failed)?;
        }
        if count > 0 {
            // The records and at least one transaction marker; only this worker writes to the partition.
            store.advance(store.next_offset() + i64::try_from(count).unwrap_or(0) + 1);
        }
        if self.flushed.elapsed() > FLUSH_EVERY {
            store.flush().map_err(failed)?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    fn aborted(&mut self) -> Result<(), Stop> {
        self.shared.issues.forget(self.told.drain(..));
        self.sent.abort();
        self.work.abort();
        self.spans.clear();
        self.waited = Duration::ZERO;
        self.committed.clear();
        self.spoilt = false;
        Ok(())
    }
}

impl Drop for NormalizeStep {
    fn drop(&mut self) {
        self.shared.metrics.completeness.forget(self.partition);
        if let Some(store) = &mut self.store
            && let Err(error) = store.flush()
        {
            tracing::warn!(%error, "the local store could not be written; the next start reads more from Kafka");
        }
    }
}
