//! An event of the ledger as a framed `ats.StageChange`: bytes in the order of the schema's fields.

use hirewire_schemas::ids::stage_change_event_id;
use uuid::Uuid;

use crate::application::status_slice;
use crate::catalog::{ApplicationFields, Catalog};
use crate::dated::Times;
use crate::ledger::{Event, Ledger, Precision, Provenance, Revision, Source, State};
use crate::reconcile::{EntityState, Envelope, Ids, Operation, RawRef, put_ref};
use crate::wire::{put_bytes, put_int, put_len};
use hirewire_schemas::records::Put;

/// Appends the framed record. `application` is the state of the application that the event is about.
pub fn write_change(
    out: &mut Vec<u8>,
    catalog: &Catalog,
    ids: Ids<'_>,
    application: &EntityState,
    ledger: &Ledger,
    times: &Times,
    event: &Event,
) {
    let id = std::str::from_utf8(ids.id).ok().and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_default();
    let name = |sequence: u32| stage_change_event_id(id, u64::from(sequence)).to_string();
    let what = &event.what;
    let refs: Vec<RawRef> = what.sources.iter().map(|source| raw_ref(ledger, source)).collect();
    out.extend_from_slice(&catalog.stage_change.frame);
    let envelope = Envelope {
        event_id: &name(event.sequence),
        ids,
        vendor: &application.vendor,
        operation: Operation::Upsert,
        url: application.url.as_ref(),
        created_at: application.created_at,
        updated_at: application.updated_at,
        deleted_at: application.deleted.map(|deleted| deleted.at),
        observed_at: what.sources.iter().map(|source| source.seen_at).max().unwrap_or(application.observed_at),
        ingested_at: application.ingested_at,
        provenance: provenance(&what.sources).index(),
        raw_refs: &refs,
        mapping_version: &application.mapping_version,
        customs: &[],
        absent_fields: &[],
    };
    envelope.put(out);
    let fields = &catalog.application_fields;
    put_bytes(out, ids.id);
    put_optional(out, application, fields.candidate_id);
    put_job(out, ledger, if what.to == State::NONE { what.from } else { what.to });
    put_int(out, what.change.index());
    for (state, entered) in [(what.from, event.entered.unwrap_or(what.at)), (what.to, event.entered_now())] {
        match state.stage {
            Some(stage) => out.extend_from_slice(&times.stage(ledger, stage, entered)),
            None => out.push(0),
        }
    }
    out.extend_from_slice(&status_slice(ledger, what.from.status));
    out.extend_from_slice(&status_slice(ledger, what.to.status));
    put_job(out, ledger, what.from);
    put_job(out, ledger, what.to);
    put_reasons(out, application, fields, event);
    Some(what.at).put(out);
    put_int(out, what.precision.index());
    let (not_before, not_after) = match what.precision {
        Precision::Exact => (Some(what.at), Some(what.at)),
        Precision::Bounded | Precision::Observed => (what.not_before, what.not_after),
    };
    not_before.put(out);
    not_after.put(out);
    event.in_stage_since().map(|since| (what.at - since).max(0) / 1000).put(out);
    out.extend_from_slice(ledger.actor_of(what).unwrap_or(&[0]));
    put_int(out, what.cause.index());
    put_int(out, event.revision.index());
    put_int(out, i64::from(event.sequence));
    event.previous.map(name).put(out);
    put_evidence(out, &what.sources, &refs);
    Some(what.inferred).put(out);
    event.supersedes.iter().map(|sequence| name(*sequence)).collect::<Vec<String>>().put(out);
}

fn raw_ref(ledger: &Ledger, source: &Source) -> RawRef {
    RawRef { topic: ledger.topic_name(source.topic).to_owned(), partition: source.partition, offset: source.offset }
}

/// The way of knowing that says most: what came by itself before what was asked for, the present before the past.
fn provenance(sources: &[Source]) -> Provenance {
    let rank = |provenance: Provenance| match provenance {
        Provenance::Webhook => 0,
        Provenance::WriteBack | Provenance::Manual => 1,
        Provenance::Poll | Provenance::Diff => 2,
        Provenance::HistoryEndpoint => 3,
        Provenance::Backfill => 4,
        Provenance::Unknown | Provenance::Unmapped => 5,
    };
    sources.iter().map(|source| source.provenance).min_by_key(|p| rank(*p)).unwrap_or(Provenance::Diff)
}

fn put_optional(out: &mut Vec<u8>, application: &EntityState, field: usize) {
    out.extend_from_slice(application.field(field).map_or(&[0], |value| value));
}

fn put_job(out: &mut Vec<u8>, ledger: &Ledger, state: State) {
    out.extend_from_slice(state.job.map_or(&[0], |job| ledger.job_bytes(job)));
}

/// Only of the present rejection: state keeps no reasons of earlier ones.
fn put_reasons(out: &mut Vec<u8>, application: &EntityState, fields: &ApplicationFields, event: &Event) {
    use crate::ledger::ChangeType::{Rejection, Withdrawal};
    let told = event.revision == Revision::Live && matches!(event.what.change, Rejection | Withdrawal);
    match application.field(fields.reject_reasons).filter(|_| told) {
        Some(reasons) => out.extend_from_slice(reasons),
        None => out.push(0),
    }
}

fn put_evidence(out: &mut Vec<u8>, sources: &[Source], refs: &[RawRef]) {
    if !sources.is_empty() {
        put_len(out, sources.len());
        for (source, raw) in sources.iter().zip(refs) {
            put_int(out, source.provenance.index());
            out.push(2);
            put_ref(out, raw);
            Some(source.seen_at).put(out);
        }
    }
    out.push(0);
}
