//! State to canonical bytes: frame, envelope, then each field's slice or its default.

use bytes::Bytes;
use hirewire_schemas::records::Put;

use super::state::{EntityState, FORMAT, Held, RawRef};
use crate::catalog::KindInfo;
use crate::claim::Id;
use crate::ledger::Micros;
use crate::wire::{put_bytes, put_int, put_len};

/// Who a record is about.
#[derive(Clone, Copy)]
pub struct Ids<'a> {
    pub id: &'a Id,
    pub tenant: &'a str,
    pub connection: &'a str,
    pub remote_id: &'a str,
}

/// `ats.Operation`.
#[derive(Clone, Copy)]
pub enum Operation {
    Upsert = 2,
    Delete = 3,
}

/// `ats.Meta`, in the order of its fields.
pub struct Envelope<'a> {
    pub event_id: &'a str,
    pub ids: Ids<'a>,
    pub vendor: &'a str,
    pub operation: Operation,
    pub url: Option<&'a String>,
    pub created_at: Option<Micros>,
    pub updated_at: Option<Micros>,
    pub deleted_at: Option<Micros>,
    pub observed_at: Micros,
    pub ingested_at: Micros,
    pub provenance: i64,
    pub raw_refs: &'a [RawRef],
    pub mapping_version: &'a str,
    pub customs: &'a [(String, Held)],
    pub absent_fields: &'a [u8],
}

impl Envelope<'_> {
    pub fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.event_id.as_bytes());
        put_bytes(out, self.ids.tenant.as_bytes());
        put_bytes(out, self.ids.connection.as_bytes());
        put_bytes(out, self.vendor.as_bytes());
        // source_api_version: no source says it.
        out.push(0);
        put_int(out, self.operation as i64);
        put_bytes(out, self.ids.id);
        put_bytes(out, self.ids.remote_id.as_bytes());
        match self.url {
            None => out.push(0),
            Some(url) => {
                out.push(2);
                put_bytes(out, url.as_bytes());
            }
        }
        self.created_at.put(out);
        self.updated_at.put(out);
        self.deleted_at.put(out);
        put_int(out, self.observed_at);
        put_int(out, self.ingested_at);
        put_int(out, self.provenance);
        put_refs(out, self.raw_refs);
        put_bytes(out, self.mapping_version.as_bytes());
        put_customs(out, self.customs);
        if self.absent_fields.is_empty() {
            out.push(0);
        } else {
            out.extend_from_slice(self.absent_fields);
        }
        // unreadable_fields: no source tells it yet.
        out.push(0);
    }
}

fn put_refs(out: &mut Vec<u8>, refs: &[RawRef]) {
    if !refs.is_empty() {
        put_len(out, refs.len());
        for raw in refs {
            put_ref(out, raw);
        }
    }
    out.push(0);
}

pub fn put_ref(out: &mut Vec<u8>, raw: &RawRef) {
    put_bytes(out, raw.topic.as_bytes());
    put_int(out, i64::from(raw.partition));
    put_int(out, raw.offset);
}

/// One array of all rules' custom fields. Each slice is one block: count, items, end.
fn put_customs(out: &mut Vec<u8>, customs: &[(String, Held)]) {
    let mut total = 0;
    let mut bodies: Vec<&[u8]> = Vec::with_capacity(customs.len());
    for (_, held) in customs {
        let mut rest: &[u8] = &held.value;
        if let Some(count @ 1..) = hirewire_mapping::avro::read_long(&mut rest) {
            total += count;
            bodies.push(rest.strip_suffix(&[0]).unwrap_or(rest));
        }
    }
    if total > 0 {
        put_int(out, total);
        for body in bodies {
            out.extend_from_slice(body);
        }
    }
    out.push(0);
}

/// Appends the framed canonical record. `better` gives a field's bytes where more is known than the field's own slice.
pub fn write_canonical(
    out: &mut Vec<u8>,
    info: &KindInfo,
    event_id: &str,
    ids: Ids<'_>,
    state: &EntityState,
    better: &dyn Fn(usize) -> Option<Bytes>,
) {
    out.extend_from_slice(&info.frame);
    let deleted = state.deleted.is_some();
    let envelope = Envelope {
        event_id,
        ids,
        vendor: &state.vendor,
        operation: if deleted { Operation::Delete } else { Operation::Upsert },
        url: state.url.as_ref().filter(|_| !deleted),
        created_at: state.created_at,
        updated_at: state.updated_at,
        deleted_at: state.deleted.map(|deleted| deleted.at),
        observed_at: state.observed_at,
        ingested_at: state.ingested_at,
        provenance: state.provenance,
        raw_refs: &state.raw_refs,
        mapping_version: &state.mapping_version,
        customs: &state.customs,
        absent_fields: &state.absent_fields,
    };
    envelope.put(out);
    for (index, field) in info.schema.fields.iter().enumerate().skip(1) {
        if let Some(bytes) = better(index) {
            out.extend_from_slice(&bytes);
        } else if state.rows.iter().any(|row| row.field == index) {
            put_rows(out, state, index);
        } else {
            out.extend_from_slice(state.field(index).map_or(&field.default_bytes, |value| value));
        }
    }
}

fn put_rows(out: &mut Vec<u8>, state: &EntityState, field: usize) {
    let rows = || state.rows.iter().filter(move |row| row.field == field).filter_map(|row| row.value.as_ref());
    let count = rows().count();
    if count > 0 {
        put_len(out, count);
        for value in rows() {
            out.extend_from_slice(value);
        }
    }
    out.push(0);
}

/// Appends the record for the state topic, without frame.
pub fn put_state_record(out: &mut Vec<u8>, record: &str, ids: Ids<'_>, state: &EntityState, spare: &mut Vec<u8>) {
    put_int(out, i64::from(FORMAT));
    put_bytes(out, record.as_bytes());
    put_bytes(out, ids.id);
    put_bytes(out, ids.tenant.as_bytes());
    put_bytes(out, ids.connection.as_bytes());
    put_bytes(out, ids.remote_id.as_bytes());
    spare.clear();
    state.encode(spare);
    put_bytes(out, spare);
}
