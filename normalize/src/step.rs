//! Normalize's work on one partition number: raw records and fragments in; canonical records, ledger events, issues, dead
//! letters, fragments and state out, all in the transaction that the caller commits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hirewire_kafka::{Admin, Inbound, Isolation, Outbox, Stop, partition_for, read_table};
use hirewire_mapping::{Input, Plan, Reject, Scratch};
use uuid::Uuid;

use crate::catalog::{Catalog, VISIT};
use crate::claim::{Claim, Id, Origin};
use crate::dead_letter::{Code, Letter};
use crate::fragments::{self, Sent};
use crate::guard::{Guilty, guarded};
use crate::issue::Issues;
use crate::lookups::Lookups;
use crate::metrics::Metrics;
use crate::moved::{self, HOME, LEAVE};
use crate::names::{IdCache, World};
use crate::raw::Raw;
use crate::store::Store;
use crate::work::{Committed, Place, Work, id_of_state};

/// One connection as this service sees it.
pub struct Source {
    pub tenant: String,
    pub vendor: String,
    pub plan: Arc<Plan>,
    /// Encoded `meta.absent_fields` by record.
    pub absent: HashMap<String, Vec<u8>>,
}

/// What all partitions of a process share.
pub struct Shared {
    pub catalog: Arc<Catalog>,
    pub sources: HashMap<String, Source>,
    pub lookups: Arc<Lookups>,
    pub metrics: Metrics,
    pub partitions: i32,
    pub lookup_wait: Duration,
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
    /// How long the open transaction has waited for look-ups.
    waited: Duration,
    flushed: Instant,
    /// A panic left the open transaction in an unknown state: it must not be committed.
    spoilt: bool,
}

impl NormalizeStep {
    #[must_use]
    pub fn new(partition: i32, shared: Arc<Shared>) -> Self {
        let work = Work::new(Arc::clone(&shared.catalog), &shared.metrics, partition, Arc::clone(&shared.lookups));
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
            waited: Duration::ZERO,
            flushed: Instant::now(),
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
        } else {
            self.raw(input, out)?;
        }
        if suspect {
            self.work.rehearse();
        }
        Ok(())
    }

    /// Forgets all that a panic may have left half done.
    fn spoil(&mut self) {
        self.spoilt = true;
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
                for (rule, _) in fact.unmapped() {
                    shared.metrics.unmapped.with_label_values(&[&source.vendor]).inc();
                    if let Some((id, record)) = shared.issues.unmapped(&shared.catalog, source, raw, &fact, rule, input)
                    {
                        self.told.push(id);
                        out.send(record);
                    }
                }
                let origin = Origin {
                    tenant: &source.tenant,
                    connection: raw.connection,
                    vendor: &source.vendor,
                    provenance: raw.provenance,
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
                self.place(&Claim::of_fact(&fact, origin), out)?;
            }
            return Ok(None);
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

    /// Reconciles a claim if this partition owns it, else forwards it to the partition that does.
    fn place(&mut self, claim: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Some(owner) = self.owner_of(claim) else {
            if claim.element.is_some() {
                let home = self.home_of(claim.record, claim);
                let to = partition_for(&home, self.shared.partitions);
                if to == self.partition {
                    return self.take_row(claim, home, out);
                }
                self.forward(claim, &home, to, out);
                return Ok(());
            }
            let (id, here) = (self.id_of(claim), self.partition);
            for to in (0..self.shared.partitions).filter(|to| *to != here) {
                self.forward(claim, &id, to, out);
            }
            return self.apply(claim, id, true, out);
        };
        let to = partition_for(&owner, self.shared.partitions);
        if to == self.partition {
            return self.apply(claim, owner, false, out);
        }
        self.forward(claim, &owner, to, out);
        Ok(())
    }

    fn forward(&mut self, claim: &Claim<'_>, owner: &Id, to: i32, out: &mut Outbox) {
        let record = fragments::forward(&mut self.sent, &self.shared.catalog, claim, owner, to);
        let fragments = &self.shared.metrics.fragments;
        if record.is_some() {
            fragments.sent.inc()
        } else {
            fragments.known.inc()
        }
        if let Some(record) = record {
            out.send(record);
        }
    }

    /// None: a deletion or a row whose payload does not name the owner.
    fn owner_of(&mut self, claim: &Claim<'_>) -> Option<Id> {
        match claim.owner {
            Some((record, remote_id)) => {
                Some(self.ids.id(claim.origin.tenant, claim.origin.connection, record, remote_id))
            }
            None if claim.delete || claim.element.is_some() => None,
            None => Some(self.id_of(claim)),
        }
    }

    fn id_of(&mut self, claim: &Claim<'_>) -> Id {
        self.ids.id(claim.origin.tenant, claim.origin.connection, claim.record, claim.remote_id)
    }

    fn apply(&mut self, claim: &Claim<'_>, owner: Id, held_only: bool, out: &mut Outbox) -> Result<(), Stop> {
        let id = if claim.record == VISIT { owner } else { self.id_of(claim) };
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        match self.work.apply(store, claim, Place { id, owner }, held_only)? {
            Some(arrived) => self.notify(&moved::notice(HOME, claim, &arrived), out),
            None => Ok(()),
        }
    }

    /// A row whose payload does not name the owner is at its record's home: on to the owner, or kept until one is known.
    fn take_row(&mut self, claim: &Claim<'_>, home: Id, out: &mut Outbox) -> Result<(), Stop> {
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        match self.work.keep_row(store, claim, home)? {
            Some(owner) => self.row_to(claim, owner, out),
            None => Ok(()),
        }
    }

    fn row_to(&mut self, claim: &Claim<'_>, owner: Id, out: &mut Outbox) -> Result<(), Stop> {
        let to = partition_for(&owner, self.shared.partitions);
        if to == self.partition {
            return self.apply(claim, owner, true, out);
        }
        self.forward(claim, &owner, to, out);
        Ok(())
    }

    /// Tells a record's home, or the owner that the record has left, here or through a fragment.
    fn notify(&mut self, notice: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Some(said) = moved::said(notice) else { return Ok(()) };
        let to = if notice.record == LEAVE { said.owner } else { self.home_of(notice.rule, notice) };
        let partition = partition_for(&to, self.shared.partitions);
        if partition != self.partition {
            self.forward(notice, &to, partition, out);
            return Ok(());
        }
        self.take_notice(notice, out)
    }

    fn take_notice(&mut self, notice: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let (home, tenant) = (self.home_of(notice.rule, notice), notice.origin.tenant);
        let id = self.ids.id(tenant, notice.origin.connection, notice.rule, notice.remote_id);
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        let (answer, what) = if notice.record == HOME {
            (self.work.note_home(store, notice, home)?, LEAVE)
        } else {
            (self.work.leave(store, notice, id)?, HOME)
        };
        if let Some(answer) = answer {
            self.notify(&moved::notice(what, notice, &answer), out)?;
        }
        if notice.record == HOME
            && let Some((owner, rows)) = self.work.waiting_rows(&home)
        {
            for row in &rows {
                self.row_to(&moved::row_claim(notice, row), owner, out)?;
            }
        }
        Ok(())
    }

    /// Where it is known in whose partition the record of this name with the claim's remote id lives.
    fn home_of(&mut self, record: &str, claim: &Claim<'_>) -> Id {
        let record = moved::home_record(record);
        self.ids.id(claim.origin.tenant, claim.origin.connection, &record, claim.remote_id)
    }

    /// A claim that another partition found.
    fn fragment(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let trace = input.header("traceparent").unwrap_or_default();
        let claim = input.value.as_deref().and_then(fragments::body).and_then(|body| Claim::decode(body, trace).ok());
        let Some(claim) = claim else {
            return self.bury(input, Code::DamagedFragment, "the fragment cannot be read".to_owned(), None, out);
        };
        if moved::is_notice(claim.record) {
            self.shared.metrics.fragments.received.inc();
            return self.take_notice(&claim, out);
        }
        if claim.record != VISIT && self.shared.catalog.kind(claim.record).is_none() {
            return self.bury(input, Code::UnknownRecord, format!("record {}", claim.record), None, out);
        }
        self.shared.metrics.fragments.received.inc();
        let owner = self.owner_of(&claim);
        if owner.is_none() && claim.element.is_some() {
            // Here as its record's home; if the home is elsewhere, it knew the owner and sent the row on.
            let home = self.home_of(claim.record, &claim);
            if partition_for(&home, self.shared.partitions) == self.partition {
                return self.take_row(&claim, home, out);
            }
        }
        let id = self.id_of(&claim);
        self.apply(&claim, owner.unwrap_or(id), owner.is_none(), out)
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

    fn open_store(&self, settings: &hirewire_kafka::Settings) -> Result<Store, Stop> {
        let failed = |error: &dyn std::error::Error| Stop::retryable("local-store", error.to_string());
        std::fs::create_dir_all(&self.shared.store_dir).map_err(|error| failed(&error))?;
        let path = self.shared.store_dir.join(format!("partition-{}.sqlite", self.partition));
        let mut store = Store::open(&path, share_of(self.shared.cache_bytes, self.shared.partitions))
            .map_err(|error| failed(&error))?;
        let topic = &self.shared.catalog.state.topic;
        let (_, end) = Admin::new(settings)?.watermarks(topic, self.partition)?;
        if end < store.next_offset() {
            tracing::warn!(
                partition = self.partition,
                "the state topic is another than the local store's: store thrown away"
            );
            store.clear().map_err(|error| failed(&error))?;
        }
        let from = store.next_offset();
        let mut count = 0u64;
        let next = read_table(settings, topic, self.partition, from, Isolation::Committed, &mut |record: Inbound| {
            count += 1;
            restore_one(&mut store, &record, self.partition)
        })?;
        store.advance(next);
        store.flush().map_err(|error| failed(&error))?;
        self.shared.metrics.restored.inc_by(count);
        tracing::info!(partition = self.partition, from, next, states = count, "state restored");
        Ok(store)
    }
}

/// What one partition may take of the memory for states: a process may come to have all of them.
fn share_of(cache_bytes: usize, partitions: i32) -> usize {
    cache_bytes / usize::try_from(partitions).unwrap_or(1).max(1)
}

fn not_restored() -> Stop {
    Stop::retryable("not-restored", "a record came before state was restored")
}

fn restore_one(store: &mut Store, record: &Inbound, partition: i32) -> Result<(), Stop> {
    let failed = |error: crate::store::DiskError| Stop::retryable("local-store", error.to_string());
    let Some(value) = &record.value else {
        return match record.key.as_deref().and_then(|key| Id::try_from(key).ok()) {
            Some(id) => store.put(id, None).map_err(failed),
            None => Ok(()),
        };
    };
    let state = value.get(5..).map(|state| value.slice_ref(state)).unwrap_or_default();
    let id = id_of_state(&state).map_err(|_| {
        Stop::permanent(
            "state-unreadable",
            format!(
                "state record at offset {} of partition {partition} is damaged or of another release: run the release that wrote it",
                record.offset
            ),
        )
    })?;
    store.put(id, Some(state)).map_err(failed)
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
        self.waited = Duration::ZERO;
        self.committed.clear();
        self.spoilt = false;
        Ok(())
    }
}

impl Drop for NormalizeStep {
    fn drop(&mut self) {
        if let Some(store) = &mut self.store
            && let Err(error) = store.flush()
        {
            tracing::warn!(%error, "the local store could not be written; the next start reads more from Kafka");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_partitions_together_take_no_more_memory_than_is_set() {
        for partitions in [1, 4, 12, 200] {
            let all = share_of(64 << 20, partitions) * usize::try_from(partitions).unwrap();
            assert!((60 << 20..=64 << 20).contains(&all), "{partitions}: {all}");
        }
    }
}
