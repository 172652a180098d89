//! Between an application's claims and its ledger: claims become facts, and what the ledger concludes goes into the record.

use bytes::Bytes;
use hirewire_mapping::Slice;
use hirewire_mapping::avro::{read_bytes, read_long};
use hirewire_schemas::records::Put;

use crate::catalog::Catalog;
use crate::claim::Claim;
use crate::completeness::{Shown, Way};
use crate::dated::Times;
use crate::ledger::{
    Cause, ChangeType, Deletion, Ledger, Micros, Provenance, Snapshot, Source, StageIx, State, Status, Switch, Visit,
    width_of,
};
use crate::wire::put_int;

/// `ats.ApplicationKind` PROSPECT.
const PROSPECT: i64 = 3;
/// `ats.ReasonType` BY_CANDIDATE.
const BY_CANDIDATE: i64 = 3;

/// The value of a coded slice: the position of its symbol.
#[must_use]
pub fn coded_value(slice: &[u8]) -> i64 {
    let mut rest = slice;
    read_long(&mut rest).unwrap_or_default()
}

/// An optional number or instant.
fn instant(slice: Option<&[u8]>) -> Option<Micros> {
    let mut rest = slice?;
    match read_long(&mut rest)? {
        0 => None,
        _ => read_long(&mut rest),
    }
}

/// The key of an optional stage: its id, or its name where the source gives no ids.
fn stage_key(slice: &[u8]) -> Option<&[u8]> {
    let mut rest = slice;
    if read_long(&mut rest)? == 0 {
        return None;
    }
    for _ in 0..2 {
        if read_long(&mut rest)? != 0 {
            return read_bytes(&mut rest);
        }
    }
    None
}

/// How much an encoded stage tells beside its id: its name, and what it is for.
#[must_use]
pub fn stage_says(slice: &[u8]) -> u8 {
    let mut rest = slice;
    let mut says = || {
        if read_long(&mut rest)? == 0 {
            return None;
        }
        if read_long(&mut rest)? != 0 {
            let _id = read_bytes(&mut rest)?;
        }
        let named = read_long(&mut rest)? != 0;
        if named {
            let _name = read_bytes(&mut rest)?;
        }
        // UNKNOWN and UNMAPPED say nothing.
        let categorised = read_long(&mut rest)? > 1;
        Some(2 * u8::from(categorised) + u8::from(named))
    };
    says().unwrap_or_default()
}

/// An encoded stage in two: id and name, and the coded category. `None`: no stage.
#[must_use]
pub fn split_category(slice: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = slice;
    if read_long(&mut rest)? == 0 {
        return None;
    }
    for _ in ["id", "name"] {
        if read_long(&mut rest)? != 0 {
            let _text = read_bytes(&mut rest)?;
        }
    }
    Some(slice.split_at(slice.len() - rest.len()))
}

/// All that an encoded stage can tell.
pub const STAGE_SAYS_ALL: u8 = 3;

/// An encoded stage from its id and the name and category of its own record.
#[must_use]
pub fn stage_slice(id: &[u8], name: &[u8], category: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + name.len() + category.len());
    out.extend([2, 2]);
    crate::wire::put_bytes(&mut out, id);
    out.extend_from_slice(name);
    out.extend_from_slice(category);
    out
}

fn source(ledger: &mut Ledger, claim: &Claim<'_>, provenance: Provenance) -> Source {
    let origin = &claim.origin;
    let topic = ledger.topic(origin.topic);
    Source { provenance, topic, partition: origin.partition, offset: origin.offset, seen_at: origin.observed_at }
}

fn told_status(ledger: &mut Ledger, slice: Option<&[u8]>) -> Option<Status> {
    let slice = slice?;
    let status = Status::from_index(coded_value(slice)).filter(|status| *status != Status::Unknown)?;
    ledger.word_status(status, slice);
    Some(status)
}

/// What came of a claim.
pub struct Observed {
    pub news: bool,
    /// Where it says that the application stands, if it says so and is of the present.
    pub shown: Option<Shown>,
}

impl Observed {
    /// It says nothing of where the application stands.
    fn only(news: bool) -> Self {
        Self { news, shown: None }
    }
}

/// Adds what a claim about the application itself says. `prospect` is what is known of its kind.
pub fn observe(ledger: &mut Ledger, claim: &Claim<'_>, prospect: bool, catalog: &Catalog, times: &Times) -> Observed {
    let source = source(ledger, claim, claim.origin.provenance);
    let cause = claim.cause.and_then(Cause::from_word).unwrap_or(Cause::Unknown);
    if claim.delete {
        let told = claim.deleted_at.or(claim.version);
        let at = told.unwrap_or(claim.origin.observed_at);
        let news = ledger.facts.add_deletion(Deletion { at, observed: told.is_none(), cause, source });
        return Observed::only(news);
    }
    if claim.element.is_some() {
        return Observed::only(false);
    }
    let fields = &catalog.application_fields;
    let mut news = ledger.facts.note_begin(instant(claim.bytes(fields.applied_at)), claim.created_at);
    let status = told_status(ledger, claim.bytes(fields.status));
    let stage = match claim.field(fields.stage) {
        Slice::NotMapped | Slice::Absent => None,
        Slice::Bytes(slice) => match stage_key(slice) {
            Some(key) => Some(Some(times.learn(ledger, claim, key, slice))),
            None => prospect.then_some(None),
        },
    };
    let job = match claim.field(fields.job_id) {
        Slice::NotMapped | Slice::Absent => None,
        Slice::Bytes([0]) => prospect.then_some(None),
        Slice::Bytes(slice) => Some(Some(ledger.job(slice, slice))),
    };
    let change = claim.change.and_then(ChangeType::from_word);
    let since = match status.map(Status::class) {
        Some(Status::Rejected) => {
            instant(claim.bytes(fields.rejected_at)).or_else(|| instant(claim.bytes(fields.withdrawn_at)))
        }
        Some(Status::Hired) => instant(claim.bytes(fields.hired_at)),
        _ => None,
    };
    let (at, width) = seen(claim);
    let status_shown = status.or(change.and_then(status_after));
    let shown = shown(claim, stage, status_shown, at);
    let snapshot =
        Snapshot { at, width, stage, status, job, since, change, cause, observed: claim.version.is_none(), source };
    if claim.version.is_some() {
        if stage.is_some() || status.is_some() || job.is_some() {
            news |= ledger.facts.add_snapshot(snapshot);
        }
        return Observed { news, shown };
    }
    if let Some(change) = change.filter(|change| is_switch(*change)) {
        let delivery = claim.origin.delivery;
        news |= ledger.facts.add_switch(Switch { change, seen_by: claim.origin.observed_at, delivery, cause, source });
        news |= ledger.facts.add_weak(Snapshot { status: None, ..snapshot });
    } else if claim.whole {
        news |= ledger.facts.add_snapshot(Snapshot { width: 1, ..snapshot });
    } else {
        news |= ledger.facts.add_weak(snapshot);
    }
    Observed { news, shown }
}

fn shown(claim: &Claim<'_>, stage: Option<Option<StageIx>>, status: Option<Status>, at: Micros) -> Option<Shown> {
    let way = Way::of(&claim.origin)?;
    (stage.is_some() || status.is_some()).then_some(Shown { way, stage, status, at })
}

/// The status that a switch leads to, where the claim itself names none.
fn status_after(change: ChangeType) -> Option<Status> {
    match change {
        ChangeType::Hire => Some(Status::Hired),
        ChangeType::Rejection => Some(Status::Rejected),
        ChangeType::Withdrawal => Some(Status::Withdrawn),
        ChangeType::Unhire | ChangeType::Unrejection | ChangeType::Reopen => Some(Status::Active),
        ChangeType::Created
        | ChangeType::Stage
        | ChangeType::Status
        | ChangeType::JobTransfer
        | ChangeType::Deleted => None,
    }
}

/// When the application was as the claim says, and how exactly that is known. What has no version but the time of its receipt
/// was true at some instant since it was asked for: the application may have moved while the answer was on its way.
fn seen(claim: &Claim<'_>) -> (Micros, Micros) {
    let origin = &claim.origin;
    match claim.version {
        Some(version) if version == origin.observed_at => (origin.asked_at, origin.observed_at - origin.asked_at + 1),
        Some(version) => (version, width_of(version)),
        None => (origin.observed_at, width_of(origin.observed_at)),
    }
}

fn is_switch(change: ChangeType) -> bool {
    matches!(
        change,
        ChangeType::Hire
            | ChangeType::Unhire
            | ChangeType::Rejection
            | ChangeType::Withdrawal
            | ChangeType::Unrejection
    )
}

/// Adds a history row.
pub fn observe_visit(ledger: &mut Ledger, claim: &Claim<'_>, catalog: &Catalog, times: &Times) -> Observed {
    let fields = &catalog.visit_fields;
    let Some((key, slice)) = claim.bytes(fields.stage).and_then(|slice| Some((stage_key(slice)?, slice))) else {
        return Observed::only(false);
    };
    let provenance = match claim.origin.provenance {
        Provenance::Backfill => Provenance::Backfill,
        _ => Provenance::HistoryEndpoint,
    };
    let source = source(ledger, claim, provenance);
    let stage = times.learn(ledger, claim, key, slice);
    let job = claim.bytes(fields.job_id).filter(|slice| *slice != [0]).map(|slice| ledger.job(slice, slice));
    let entered = instant(claim.bytes(fields.entered_at));
    let exited = instant(claim.bytes(fields.exited_at));
    if let (Some(entered), Some(actor)) = (entered, claim.bytes(fields.actor).filter(|slice| *slice != [0])) {
        ledger.note_actor(stage, entered, actor);
    }
    let version = claim.version.or(exited).or(entered).unwrap_or(claim.origin.observed_at);
    let mut news = ledger.facts.add_visit(Visit { stage, job, entered, exited, version, source });
    let status = told_status(ledger, claim.bytes(fields.status));
    let shown = shown(claim, Some(Some(stage)), status, version);
    if let Some((at, status)) = entered.zip(status) {
        news |= ledger.facts.add_snapshot(Snapshot {
            at,
            width: width_of(at),
            stage: None,
            status: Some(status),
            job: None,
            // A status that is told again did not begin again.
            since: None,
            change: None,
            cause: Cause::Unknown,
            observed: false,
            source,
        });
    }
    Observed { news, shown }
}

/// Adds whose decision a rejection was. True if it was news.
pub fn observe_rejection(ledger: &mut Ledger, kind: Option<&[u8]>, rejected_at: Option<&[u8]>) -> bool {
    if kind.is_none_or(|slice| coded_value(slice) != BY_CANDIDATE) {
        return false;
    }
    instant(rejected_at).is_some_and(|at| ledger.facts.add_withdrawal(at))
}

/// Whether a coded kind says that it is a prospect.
#[must_use]
pub fn is_prospect(kind: Option<&[u8]>) -> bool {
    kind.is_some_and(|slice| coded_value(slice) == PROSPECT)
}

/// What the ledger knows better than single records: present state, and since when.
pub struct Conclusions {
    pub status: Option<Bytes>,
    pub stage: Option<Bytes>,
    pub job: Option<Bytes>,
    pub entered_stage_at: Option<Bytes>,
    pub hired_at: Option<Bytes>,
}

impl Conclusions {
    #[must_use]
    pub fn of(ledger: &Ledger, times: &Times) -> Self {
        let told = &ledger.published.effective;
        let none = Self { status: None, stage: None, job: None, entered_stage_at: None, hired_at: None };
        let Some(present) = told.last().map(|e| e.to).filter(|to| *to != State::NONE) else { return none };
        let entered = told.iter().rev().find(|e| e.to.stage == present.stage && e.from.stage != present.stage);
        let hired =
            told.iter().rev().find(|e| e.change == ChangeType::Hire).filter(|_| present.status == Status::Hired);
        Self {
            status: Some(status_slice(ledger, present.status)),
            stage: present.stage.map(|stage| {
                Bytes::copy_from_slice(&times.stage(ledger, stage, entered.map_or(Micros::MAX, |e| e.at)))
            }),
            job: present.job.map(|job| Bytes::copy_from_slice(ledger.job_bytes(job))),
            entered_stage_at: entered.filter(|_| present.stage.is_some()).map(|e| option_slice(Some(e.at))),
            hired_at: hired.map(|e| option_slice(Some(e.at))),
        }
    }
}

/// How the source words this status; else the symbol alone.
#[must_use]
pub fn status_slice(ledger: &Ledger, status: Status) -> Bytes {
    match ledger.status_bytes(status) {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => {
            let mut out = Vec::with_capacity(3);
            put_int(&mut out, status.index());
            out.extend([0, 0]);
            out.into()
        }
    }
}

fn option_slice(value: Option<Micros>) -> Bytes {
    let mut out = Vec::with_capacity(11);
    value.put(&mut out);
    out.into()
}
