//! What normalize keeps of one entity, and its compact form in the state topic.
//!
//! Decoding shares the stored bytes: a field that nobody changes is never copied.

use bytes::Bytes;

use crate::claim::Id;
use crate::intent::Intent;
use crate::ledger::{Ledger, Micros, Provenance};
use crate::wire::{Damaged, Reader, put_bytes, put_int, put_len, put_option};

/// Version of this encoding; a state record of another version stops the partition.
pub const FORMAT: i32 = 1;

/// One field's encoding and the source's clock of the claim that set it. No version: an embedded copy set it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub version: Option<Micros>,
    pub value: Bytes,
}

/// One row of an array field.
#[derive(Clone, Debug, PartialEq)]
pub struct RowState {
    pub field: usize,
    pub group: String,
    pub row_id: String,
    pub version: Option<Micros>,
    /// None: deleted, remembered so that a late row does not revive it.
    pub value: Option<Bytes>,
}

/// Where exact bytes stand.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRef {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deleted {
    pub at: Micros,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityState {
    /// Counts published versions.
    pub revision: u64,
    /// Id of the entity in whose partition it lives.
    pub owner: Option<Id>,
    pub vendor: String,
    pub deleted: Option<Deleted>,
    /// A deletion of something never seen: kept until then, published never.
    pub forget_after: Option<Micros>,
    pub created_at: Option<Micros>,
    pub updated_at: Option<Micros>,
    pub url: Option<String>,
    pub observed_at: Micros,
    pub ingested_at: Micros,
    pub provenance: i64,
    pub mapping_version: String,
    /// Encoded array.
    pub absent_fields: Bytes,
    /// Claims since the last published version, then those of that version.
    pub raw_refs: Vec<RawRef>,
    /// By field of the schema.
    pub fields: Vec<Option<Held>>,
    pub rows: Vec<RowState>,
    /// Custom fields by the rule that carried them.
    pub customs: Vec<(String, Held)>,
    pub ledger: Option<Box<Ledger>>,
    /// What we are about to change of it at the source.
    pub intents: Vec<Intent>,
}

impl EntityState {
    #[must_use]
    pub fn new(field_count: usize, vendor: &str) -> Self {
        Self { vendor: vendor.to_owned(), fields: vec![None; field_count], ..Self::default() }
    }

    /// The field's encoding, if anything set it.
    #[must_use]
    pub fn field(&self, index: usize) -> Option<&Bytes> {
        self.fields.get(index)?.as_ref().map(|held| &held.value)
    }

    pub fn provenance(&self) -> Provenance {
        Provenance::from_index(self.provenance).unwrap_or(Provenance::Unknown)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_int(out, self.revision.cast_signed());
        put_bytes(out, self.owner.as_ref().map_or(&[][..], |id| &id[..]));
        put_bytes(out, self.vendor.as_bytes());
        put_option(out, self.deleted.map(|deleted| deleted.at));
        for time in [self.forget_after, self.created_at, self.updated_at] {
            put_option(out, time);
        }
        put_bytes(out, self.url.as_deref().unwrap_or_default().as_bytes());
        put_int(out, self.observed_at);
        put_int(out, self.ingested_at);
        put_int(out, self.provenance);
        put_bytes(out, self.mapping_version.as_bytes());
        put_bytes(out, &self.absent_fields);
        put_len(out, self.raw_refs.len());
        for raw in &self.raw_refs {
            put_bytes(out, raw.topic.as_bytes());
            put_int(out, i64::from(raw.partition));
            put_int(out, raw.offset);
        }
        put_len(out, self.fields.len());
        for held in &self.fields {
            out.push(u8::from(held.is_some()));
            if let Some(held) = held {
                put_held(out, held);
            }
        }
        put_len(out, self.rows.len());
        for row in &self.rows {
            put_len(out, row.field);
            put_bytes(out, row.group.as_bytes());
            put_bytes(out, row.row_id.as_bytes());
            put_option(out, row.version);
            out.push(u8::from(row.value.is_some()));
            put_bytes(out, row.value.as_deref().unwrap_or_default());
        }
        put_len(out, self.customs.len());
        for (rule, held) in &self.customs {
            put_bytes(out, rule.as_bytes());
            put_held(out, held);
        }
        out.push(u8::from(self.ledger.is_some()));
        if let Some(ledger) = &self.ledger {
            ledger.encode(out);
        }
        // Last, and absent where there are none: states of before have none.
        let rest = self.ledger.as_ref().filter(|ledger| ledger.has_rest());
        if !self.intents.is_empty() || rest.is_some() {
            put_len(out, self.intents.len());
            self.intents.iter().for_each(|intent| intent.put(out));
        }
        if let Some(ledger) = rest {
            ledger.encode_rest(out);
        }
    }

    /// `field_count` is the present schema's: fields that it has grown since are unset.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn decode(stored: &Bytes, field_count: usize) -> Result<Self, Damaged> {
        let from = &mut Reader::new(stored);
        let revision = from.int()?.cast_unsigned();
        let owner = match from.bytes()? {
            [] => None,
            id => Some(Id::try_from(id).map_err(|_| Damaged)?),
        };
        let vendor = from.text()?.to_owned();
        let deleted = from.option()?.map(|at| Deleted { at });
        let (forget_after, created_at, updated_at) = (from.option()?, from.option()?, from.option()?);
        let url = Some(from.text()?).filter(|url| !url.is_empty()).map(str::to_owned);
        let (observed_at, ingested_at, provenance) = (from.int()?, from.int()?, from.int()?);
        let mapping_version = from.text()?.to_owned();
        let absent_fields = share(stored, from.bytes()?);
        let count = from.len()?;
        let mut raw_refs = Vec::with_capacity(count);
        for _ in 0..count {
            let (topic, partition) = (from.text()?.to_owned(), i32::try_from(from.int()?).map_err(|_| Damaged)?);
            raw_refs.push(RawRef { topic, partition, offset: from.int()? });
        }
        let count = from.len()?;
        let mut fields = Vec::with_capacity(count.max(field_count));
        for _ in 0..count {
            fields.push(if from.flag()? { Some(held(stored, from)?) } else { None });
        }
        fields.resize(field_count, None);
        let count = from.len()?;
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            let field = usize::try_from(from.int()?).map_err(|_| Damaged)?;
            let (group, row_id) = (from.text()?.to_owned(), from.text()?.to_owned());
            let (version, there) = (from.option()?, from.flag()?);
            let value = share(stored, from.bytes()?);
            rows.push(RowState { field, group, row_id, version, value: there.then_some(value) });
        }
        let count = from.len()?;
        let mut customs = Vec::with_capacity(count);
        for _ in 0..count {
            customs.push((from.text()?.to_owned(), held(stored, from)?));
        }
        let mut ledger =
            if from.flag()? { Some(Box::new(Ledger::decode(from, &|part| share(stored, part))?)) } else { None };
        let count = if from.is_empty() { 0 } else { from.len()? };
        let intents = (0..count).map(|_| Intent::read(from)).collect::<Result<_, _>>()?;
        if let Some(ledger) = ledger.as_mut().filter(|_| !from.is_empty()) {
            ledger.decode_rest(from, &|part| share(stored, part))?;
        }
        if !from.is_empty() {
            return Err(Damaged);
        }
        Ok(Self {
            revision,
            owner,
            vendor,
            deleted,
            forget_after,
            created_at,
            updated_at,
            url,
            observed_at,
            ingested_at,
            provenance,
            mapping_version,
            absent_fields,
            raw_refs,
            fields,
            rows,
            customs,
            ledger,
            intents,
        })
    }
}

fn put_held(out: &mut Vec<u8>, held: &Held) {
    put_option(out, held.version);
    put_bytes(out, &held.value);
}

fn held(stored: &Bytes, from: &mut Reader<'_>) -> Result<Held, Damaged> {
    let version = from.option()?;
    Ok(Held { version, value: share(stored, from.bytes()?) })
}

/// A part of `stored` that keeps it alive instead of copying.
fn share(stored: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { stored.slice_ref(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acted_is_kept_and_a_state_of_before_has_nobody() {
        let mut ledger = Ledger::default();
        let without = EntityState { ledger: Some(Box::new(ledger.clone())), ..EntityState::new(3, "x") };
        ledger.note_actor(1, 70, b"somebody");
        ledger.note_actor(0, 50, b"nobody");
        ledger.note_actor(1, 70, b"somebody else");
        let with = EntityState { ledger: Some(Box::new(ledger)), ..EntityState::new(3, "x") };
        let mut lengths = Vec::new();
        for state in [&without, &with] {
            let mut stored = Vec::new();
            state.encode(&mut stored);
            lengths.push(stored.len());
            assert_eq!(EntityState::decode(&stored.into(), 3).as_ref(), Ok(state));
        }
        assert!(lengths[1] > lengths[0]);
    }

    #[test]
    fn stages_by_their_times_are_kept_with_or_without_who_acted() {
        let mut ledger = Ledger::default();
        for (since, bytes) in [(90, "later"), (i64::MIN, "ever"), (90, "later still"), (90, "")] {
            ledger.note_stage(0, since, bytes.as_bytes(), |bytes| u8::from(!bytes.is_empty()));
        }
        let kept = [80, 90, 1000].map(|since| ledger.stage_bytes_of(0, since).to_vec());
        assert_eq!(kept, [b"ever".to_vec(), b"later still".to_vec(), b"later still".to_vec()]);
        let mut acted = ledger.clone();
        acted.note_actor(1, 70, b"somebody");
        for ledger in [ledger, acted] {
            let state = EntityState { ledger: Some(Box::new(ledger)), ..EntityState::new(3, "x") };
            let mut stored = Vec::new();
            state.encode(&mut stored);
            assert_eq!(EntityState::decode(&stored.into(), 3), Ok(state));
        }
    }
}
