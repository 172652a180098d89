//! The entities that the open transaction touches: taken from the store on first touch, published and written before the commit.
//!
//! In: claims that belong to this partition. Out: canonical records, ledger events and state records, each once per transaction.

mod home;
mod touched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hirewire_kafka::{Outbox, Record, Stop};
use hirewire_schemas::FieldSchema;
use hirewire_schemas::ids::{key, state_event_id};
use prometheus::IntCounter;

use crate::application::{
    Conclusions, STAGE_SAYS_ALL, is_prospect, observe, observe_rejection, observe_visit, stage_says, stage_slice,
};
use crate::catalog::{Catalog, Kind, KindInfo, VISIT};
use crate::change::write_change;
use crate::claim::{Claim, Id};
use crate::completeness::Seen;
use crate::dated::Dated;
use crate::intent::{self, Intent};
use crate::ledger::{Ledger, Micros, Precision, Revision};
use crate::lookups::Lookups;
use crate::metrics::{Counts, Metrics};
use crate::moved::{self, Notice};
use crate::reconcile::{Deleted, EntityState, Merged, merge, put_state_record, write_canonical};
use crate::store::Store;
use crate::wire::{Damaged, Reader};
pub use home::Waiting;
use touched::{Learnt, Touched, decode_state, unreadable};

/// A deletion of something never seen is remembered that long.
const REMEMBER_DELETION: Micros = 24 * 3600 * crate::ledger::SECOND;

/// What has to reach the local store when the transaction is durable.
pub struct Committed {
    pub id: Id,
    pub state: Bytes,
}

pub struct Work {
    catalog: Arc<Catalog>,
    counts: Counts,
    moved: IntCounter,
    partition: i32,
    lookups: Arc<Lookups>,
    dated: Dated,
    touched: HashMap<Id, Touched>,
    /// In the order of first touch.
    order: Vec<Id>,
    /// Of the transaction that was finished, until it is committed.
    seen: Vec<Seen>,
    /// Touched since [`Self::note_touched`].
    latest: Option<Vec<Id>>,
    spare: Vec<u8>,
    /// Of the record that is being written.
    value: Vec<u8>,
    traceparent: Arc<str>,
}

/// Ids that a claim needs, resolved by the caller.
#[derive(Clone, Copy)]
pub struct Place {
    /// Of the record itself; of a history row: its application's.
    pub id: Id,
    pub owner: Id,
}

impl Work {
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, metrics: &Metrics, partition: i32, lookups: Arc<Lookups>, dated: Dated) -> Self {
        Self {
            counts: Counts::of(metrics, &catalog),
            moved: metrics.moved.clone(),
            catalog,
            partition,
            lookups,
            dated,
            touched: HashMap::new(),
            order: Vec::new(),
            seen: Vec::new(),
            latest: None,
            spare: Vec::new(),
            value: Vec::new(),
            traceparent: "traceparent".into(),
        }
    }

    /// Applies a claim. `held_only`: nobody knows the owner, so only what is held here counts. What comes back is for the
    /// record's home: it lives here now.
    ///
    /// # Errors
    /// The store or a state in it cannot be read.
    pub fn apply(
        &mut self,
        store: &mut Store,
        claim: &Claim<'_>,
        place: Place,
        held_only: bool,
    ) -> Result<Option<Notice>, Stop> {
        if claim.record == VISIT {
            return self.apply_visit(store, claim, place).map(|()| None);
        }
        let Some(kind) = self.catalog.kind(claim.record) else { return Ok(None) };
        let catalog = Arc::clone(&self.catalog);
        let info = catalog.info(kind);
        self.counts.facts[kind].inc();
        let lookups = Arc::clone(&self.lookups);
        let times = self.dated.times(claim.origin.connection);
        let version = claim.version.unwrap_or(claim.origin.observed_at);
        if kind == catalog.application {
            self.tell_before(&place.id, version, claim.origin.delivery);
        }
        let touched = self.touch(store, kind, place.id, claim, claim.remote_id)?;
        expire(touched, claim, info.schema.fields.len());
        if moved::has_left(&touched.state) {
            if claim.delete || held_only || touched.state.deleted.is_some_and(|left| version <= left.at) {
                self.counts.stale[kind].inc();
                return Ok(None);
            }
            let revision = touched.state.revision;
            touched.state = EntityState::new(info.schema.fields.len(), claim.origin.vendor);
            touched.state.revision = revision;
        }
        if held_only && !touched.existed && !touched.merged.state {
            if claim.delete {
                touched.state.forget_after = Some(claim.origin.observed_at + REMEMBER_DELETION);
                touched.state.deleted = Some(Deleted { at: claim.origin.observed_at });
                touched.merged.state = true;
            }
            return Ok(None);
        }
        if !touched.merged.content {
            // They name what the next published version is made from.
            touched.state.raw_refs.clear();
        }
        let done = merge(&mut touched.state, info, claim);
        let mut arrived = None;
        if touched.state.owner != Some(place.owner) && !held_only {
            touched.state.owner = Some(place.owner);
            touched.merged.state = true;
            // What has its application's id lives with it for ever.
            if place.owner != place.id && !info.keyed_by_application {
                if touched.state.revision == 0 {
                    touched.state.revision = moved::first_revision(&place.owner);
                }
                arrived = Some(Notice { owner: place.owner, version });
            }
        }
        touched.merged.content |= done.content;
        touched.merged.state |= done.state;
        if info.lookup && done.content {
            // At once, for other partitions wait for it: after an abort the same record gives the same again.
            let fields = touched.state.deleted.is_none().then(|| fields_of(&touched.state, info));
            lookups.put(place.id, fields);
        }
        if kind == catalog.application {
            let prospect_said = claim.bytes(catalog.application_fields.kind);
            let prospect = is_prospect(
                prospect_said.or_else(|| touched.state.field(catalog.application_fields.kind).map(|v| &v[..])),
            );
            let ledger = touched.state.ledger.get_or_insert_default();
            let observed = observe(ledger, claim, prospect, &catalog, &times);
            if observed.news {
                touched.learns(version, claim);
            }
            touched.shown.extend(observed.shown);
        }
        let rejection = (kind == catalog.rejection && done.content).then(|| {
            let fields = catalog.rejection_fields;
            (touched.state.field(fields.kind).cloned(), touched.state.field(fields.rejected_at).cloned())
        });
        if done.stale {
            self.counts.stale[kind].inc();
        }
        if let Some((kind_of, rejected_at)) = rejection {
            let owner = claim.owner.map_or(claim.remote_id, |owner| owner.1);
            let application = self.touch(store, catalog.application, place.owner, claim, owner)?;
            let ledger = application.state.ledger.get_or_insert_default();
            if observe_rejection(ledger, kind_of.as_deref(), rejected_at.as_deref()) {
                application.learns(Micros::MIN, claim);
            }
        }
        Ok(arrived)
    }

    /// What route is about to change of an application that is known here.
    ///
    /// # Errors
    /// The store or the state in it cannot be read.
    pub fn intend(&mut self, store: &mut Store, id: Id, intent: Intent) -> Result<(), Stop> {
        if !self.touched.contains_key(&id) {
            let stored = store.get(&id).map_err(|error| Stop::retryable("local-store", error.to_string()))?;
            let Some(stored) = stored else { return Ok(()) };
            let kind = self.catalog.application;
            let field_count = self.catalog.info(kind).schema.fields.len();
            let touched = Touched::of_state(kind, self.catalog.info(kind).record, &stored, field_count)
                .map_err(|error| unreadable("Application", self.partition, error))?;
            self.order.push(id);
            self.touched.insert(id, touched);
        }
        if let Some(latest) = &mut self.latest {
            latest.push(id);
        }
        if let Some(touched) = self.touched.get_mut(&id) {
            touched.intended |= intent::keep(&mut touched.state.intents, intent);
        }
        Ok(())
    }

    fn apply_visit(&mut self, store: &mut Store, claim: &Claim<'_>, place: Place) -> Result<(), Stop> {
        self.counts.visits.inc();
        let catalog = Arc::clone(&self.catalog);
        let Some((_, application)) = claim.owner else { return Ok(()) };
        let times = self.dated.times(claim.origin.connection);
        let touched = self.touch(store, catalog.application, place.owner, claim, application)?;
        let ledger = touched.state.ledger.get_or_insert_default();
        let observed = observe_visit(ledger, claim, &catalog, &times);
        if observed.news {
            touched.learns(Micros::MIN, claim);
        }
        touched.shown.extend(observed.shown);
        Ok(())
    }

    fn touch(
        &mut self,
        store: &mut Store,
        kind: Kind,
        id: Id,
        claim: &Claim<'_>,
        remote_id: &str,
    ) -> Result<&mut Touched, Stop> {
        use std::collections::hash_map::Entry;
        if let Some(latest) = &mut self.latest {
            latest.push(id);
        }
        match self.touched.entry(id) {
            Entry::Occupied(entry) => {
                let touched = entry.into_mut();
                if touched.trace != claim.origin.trace {
                    touched.trace = Bytes::copy_from_slice(claim.origin.trace);
                }
                Ok(touched)
            }
            Entry::Vacant(entry) => {
                let field_count = self.catalog.info(kind).schema.fields.len();
                let stored = store.get(&id).map_err(|error| Stop::retryable("local-store", error.to_string()))?;
                let existed = stored.is_some();
                let state = match stored {
                    Some(stored) => decode_state(&stored, field_count)
                        .map_err(|error| unreadable(claim.record, self.partition, error))?,
                    None => EntityState::new(field_count, claim.origin.vendor),
                };
                self.order.push(id);
                Ok(entry.insert(Touched {
                    kind,
                    record: self.catalog.info(kind).record,
                    tenant: claim.origin.tenant.to_owned(),
                    connection: claim.origin.connection.to_owned(),
                    remote_id: remote_id.to_owned(),
                    state,
                    existed,
                    merged: Merged::default(),
                    learnt: Learnt::Nothing,
                    told: Vec::new(),
                    shown: Vec::new(),
                    intended: false,
                    trace: Bytes::copy_from_slice(claim.origin.trace),
                }))
            }
        }
    }

    /// Before something newer is learnt of an application, what is known is told: whether a move is told LIVE does not depend
    /// on what was read with it. What one delivery says is told together, and so is what came late.
    fn tell_before(&mut self, application: &Id, version: Micros, delivery: u64) {
        let Some(touched) = self.touched.get_mut(application) else { return };
        if let Learnt::Untold { until, delivery: of } = touched.learnt
            && until < version
            && of != delivery
        {
            tell(touched, &self.catalog, &self.lookups);
        }
    }

    /// Writes everything that changed; what the local store has to know once it is durable.
    pub fn finish(&mut self, out: &mut Outbox) -> Vec<Committed> {
        let mut committed = Vec::with_capacity(self.order.len());
        for id in std::mem::take(&mut self.order) {
            if let Some(touched) = self.touched.remove(&id) {
                committed.extend(self.finish_one(&id, touched, out));
            }
        }
        committed
    }

    fn finish_one(&mut self, id: &Id, mut touched: Touched, out: &mut Outbox) -> Option<Committed> {
        let catalog = Arc::clone(&self.catalog);
        let info = catalog.info(touched.kind);
        let name = Bytes::copy_from_slice(id);
        tell(&mut touched, &catalog, &self.lookups);
        let times = self.dated.times(&touched.connection);
        self.seen.extend(touched.seen(id));
        let ledger = touched.state.ledger.take();
        let changed = touched.merged.content || !touched.told.is_empty();
        if let Some(ledger) = &ledger {
            for event in &touched.told {
                self.value.clear();
                write_change(&mut self.value, &catalog, touched.ids(id), &touched.state, ledger, &times, event);
                match event.revision {
                    Revision::Live => {
                        self.counts.live.inc();
                        if event.what.precision == Precision::Exact {
                            self.counts.change_age.observe(age_secs(event.what.at));
                        }
                    }
                    Revision::Correction => self.counts.corrections.inc(),
                }
                out.send(self.record(&catalog.stage_change.topic, &name, self.written(), &touched.trace));
            }
        }
        if !changed && !touched.merged.state && touched.learnt == Learnt::Nothing && !touched.intended {
            return None;
        }
        if changed && touched.state.forget_after.is_none() {
            touched.state.revision += 1;
            let event_id = key(state_event_id(
                &touched.tenant,
                &touched.connection,
                info.record,
                &touched.remote_id,
                touched.state.revision,
            ));
            let event_id = std::str::from_utf8(&event_id).unwrap_or_default();
            let concluded = ledger
                .as_ref()
                .filter(|_| touched.state.deleted.is_none())
                .map(|ledger| Conclusions::of(ledger, &times));
            let fields = &catalog.application_fields;
            let better = |index: usize| {
                let concluded = concluded.as_ref()?;
                match index {
                    i if i == fields.status => concluded.status.clone(),
                    i if i == fields.stage => concluded.stage.clone(),
                    i if i == fields.job_id => concluded.job.clone(),
                    i if i == fields.entered_stage_at => concluded.entered_stage_at.clone(),
                    i if i == fields.hired_at => {
                        concluded.hired_at.clone().filter(|_| touched.state.field(i).is_none_or(|v| *v == [0][..]))
                    }
                    _ => None,
                }
            };
            self.value.clear();
            write_canonical(&mut self.value, info, event_id, touched.ids(id), &touched.state, &better);
            self.counts.records[touched.kind].inc();
            let owner = touched.state.owner.filter(|owner| info.keyed_by_application && owner != id);
            let key = owner.map_or_else(|| name.clone(), |owner| Bytes::copy_from_slice(&owner));
            out.send(self.record(&info.topic, &key, self.written(), &touched.trace));
        }
        touched.state.ledger = ledger;
        self.value.clear();
        self.value.extend_from_slice(&catalog.state.frame);
        put_state_record(&mut self.value, touched.record, touched.ids(id), &touched.state, &mut self.spare);
        let value = self.written();
        out.send(self.record(&catalog.state.topic, &name, value.clone(), &Bytes::new()));
        Some(Committed { id: *id, state: value.slice(catalog.state.frame.len()..) })
    }

    /// What the buffer holds, in memory of just that size: it may stay in the store for long.
    fn written(&self) -> Bytes {
        Bytes::copy_from_slice(&self.value)
    }

    fn record(&self, topic: &Arc<str>, key: &Bytes, value: Bytes, trace: &Bytes) -> Record {
        let trace = (!trace.is_empty()).then(|| (Arc::clone(&self.traceparent), trace.clone()));
        Record {
            topic: Arc::clone(topic),
            partition: Some(self.partition),
            key: Some(key.clone()),
            value: Some(value),
            headers: trace.into_iter().collect(),
            timestamp_ms: None,
        }
    }

    /// What the transaction that was finished last told and saw of applications.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// From here on what is touched is noted, for [`Self::rehearse`].
    pub fn note_touched(&mut self) {
        self.latest = Some(Vec::new());
    }

    /// Finishes copies of what was noted, for nothing: what panics at the end of the transaction panics here.
    pub fn rehearse(&mut self) {
        for id in self.latest.take().unwrap_or_default() {
            if let Some(touched) = self.touched.get(&id).cloned() {
                let _unused = self.finish_one(&id, touched, &mut Outbox::default());
            }
        }
        self.seen.clear();
    }

    pub fn abort(&mut self) {
        self.touched.clear();
        self.seen.clear();
        self.latest = None;
        self.order.clear();
    }
}

/// Tells what the ledger has learnt.
fn tell(touched: &mut Touched, catalog: &Catalog, lookups: &Lookups) {
    match touched.learnt {
        Learnt::Untold { .. } => touched.learnt = Learnt::Told,
        Learnt::Nothing | Learnt::Told if touched.intended => {}
        Learnt::Nothing | Learnt::Told => return,
    }
    if let Some(ledger) = &mut touched.state.ledger {
        ask_lookups(ledger, catalog, lookups);
        let mut events = ledger.publish();
        intent::explain(&mut touched.state.intents, ledger, &mut events);
        touched.told.extend(events);
    }
}

/// What the stages' own records tell: their job, and names and categories that rows leave out.
fn ask_lookups(ledger: &mut Ledger, catalog: &Catalog, lookups: &Lookups) {
    let fields = catalog.stage_fields;
    let read = |stage: &[u8], field: usize| {
        let (id, mut out) = (Id::try_from(stage).ok()?, Vec::new());
        lookups.read(&id, field, &mut out).then_some(out)
    };
    ledger.learn_stage_jobs(|stage| read(stage, fields.job_id).filter(|job| *job != [0]));
    ledger.improve_stages(|stage, bytes| {
        if stage_says(bytes) == STAGE_SAYS_ALL {
            return None;
        }
        let better = stage_slice(stage, &read(stage, fields.name)?, &read(stage, fields.category)?);
        (stage_says(&better) > stage_says(bytes)).then_some(better)
    });
}

/// Each field's encoding, as look-ups keep them.
fn fields_of(state: &EntityState, info: &KindInfo) -> Box<[Bytes]> {
    let field = |(index, field): (usize, &FieldSchema)| match state.field(index) {
        Some(value) => value.clone(),
        None => Bytes::copy_from_slice(&field.default_bytes),
    };
    info.schema.fields.iter().enumerate().map(field).collect()
}

/// How long ago it was; 0 for what is still to come by the vendor's clock.
fn age_secs(at: Micros) -> f64 {
    let at = u64::try_from(at).map_or(UNIX_EPOCH, |micros| UNIX_EPOCH + Duration::from_micros(micros));
    SystemTime::now().duration_since(at).unwrap_or_default().as_secs_f64()
}

/// A remembered deletion of something unknown ends after its time.
fn expire(touched: &mut Touched, claim: &Claim<'_>, field_count: usize) {
    if touched.state.forget_after.is_some_and(|until| claim.origin.observed_at > until) {
        touched.state = EntityState::new(field_count, claim.origin.vendor);
        touched.existed = false;
    }
}

/// The entity's id in a state record's value (without frame), if it is of this release's format.
///
/// # Errors
/// [`Damaged`], also for another format.
pub fn id_of_state(stored: &[u8]) -> Result<Id, Damaged> {
    let from = &mut Reader::new(stored);
    if from.int()? != i64::from(crate::reconcile::FORMAT) {
        return Err(Damaged);
    }
    let _record = from.bytes()?;
    Id::try_from(from.bytes()?).map_err(|_| Damaged)
}
