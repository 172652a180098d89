//! A statement about one record, whoever made it: a mapping in this partition, or another partition's through a fragment.
//!
//! Borrowed from reused buffers; `encode` and `decode` are the fragment's body.

use hirewire_mapping::{Completeness, Fact, Kinship, Slice};

use crate::ledger::{Micros, Provenance};
use crate::wire::{Damaged, Reader, put_bytes, put_int, put_len, put_option};

/// Canonical id as text: a Kafka key.
pub type Id = [u8; 36];

/// What one payload is and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub tenant: &'a str,
    pub connection: &'a str,
    pub vendor: &'a str,
    pub provenance: Provenance,
    /// It was delivered as an event, or read because an event named it.
    pub by_event: bool,
    /// When it was asked for, or seen without being asked for.
    pub asked_at: Micros,
    pub observed_at: Micros,
    pub ingested_at: Micros,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Identity of the delivery.
    pub delivery: u64,
    pub mapping_version: &'a str,
    /// Encoded array for `meta.absent_fields`.
    pub absent_fields: &'a [u8],
    /// W3C `traceparent`, carried on.
    pub trace: &'a [u8],
}

/// A row of an array field.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub field: usize,
    pub group: &'a str,
    pub row_id: &'a str,
    pub bytes: &'a [u8],
    pub delete: bool,
}

/// What a statement says of each field of its schema.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub enum Fields<'a> {
    /// As the mapping wrote them: nothing is copied.
    Mapped(Fact<'a>),
    Own(Vec<Slice<'a>>),
}

/// How the owner is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// By a remote id of the claim's own connection, or not at all.
    Own,
    /// By a remote id of another connection of the tenant, which an order carried out and its result brings back.
    Foreign,
    /// Another claim about the same record names it: this one waits at the record's home.
    Awaited,
    /// By the record's home.
    Told(Id),
}

/// In front of an owner's record in the encoded form, for what is no remote id of the same connection.
const FOREIGN: &str = "/";
const AWAITED: &str = "?";
const TOLD: &str = "#";

#[derive(Clone, Debug)]
pub struct Claim<'a> {
    pub record: &'a str,
    pub remote_id: &'a str,
    pub rule: &'a str,
    /// Record and remote id of the one in whose partition it belongs. None: the payload does not say.
    pub owner: Option<(&'a str, &'a str)>,
    pub kin: Kin,
    pub whole: bool,
    pub delete: bool,
    pub version: Option<Micros>,
    pub created_at: Option<Micros>,
    pub updated_at: Option<Micros>,
    pub deleted_at: Option<Micros>,
    pub url: Option<&'a str>,
    pub custom_fields: Option<&'a [u8]>,
    pub element: Option<Row<'a>>,
    pub change: Option<&'a str>,
    pub cause: Option<&'a str>,
    pub fields: Fields<'a>,
    pub origin: Origin<'a>,
}

impl<'a> Claim<'a> {
    #[must_use]
    pub fn of_fact(fact: &Fact<'a>, origin: Origin<'a>) -> Self {
        Self {
            record: fact.record,
            remote_id: fact.remote_id,
            rule: fact.rule,
            owner: fact.owner,
            kin: match fact.kinship {
                Kinship::Own => Kin::Own,
                Kinship::Foreign => Kin::Foreign,
                Kinship::Awaited => Kin::Awaited,
            },
            whole: fact.completeness == Completeness::Whole,
            delete: fact.delete,
            version: fact.version_micros,
            created_at: fact.remote_created_at,
            updated_at: fact.remote_updated_at,
            deleted_at: fact.remote_deleted_at,
            url: fact.remote_url,
            custom_fields: fact.custom_fields,
            element: fact.element.map(|e| Row {
                field: e.field,
                group: e.group,
                row_id: e.row_id,
                bytes: e.bytes,
                delete: e.delete,
            }),
            change: fact.hint("change"),
            cause: fact.hint("cause"),
            fields: Fields::Mapped(*fact),
            origin,
        }
    }

    #[must_use]
    pub fn field(&self, index: usize) -> Slice<'a> {
        match &self.fields {
            Fields::Mapped(fact) => fact.field(index),
            Fields::Own(fields) => fields.get(index).copied().unwrap_or(Slice::NotMapped),
        }
    }

    /// Its bytes, if it says something.
    #[must_use]
    pub fn bytes(&self, index: usize) -> Option<&'a [u8]> {
        match self.field(index) {
            Slice::Bytes(bytes) => Some(bytes),
            Slice::NotMapped | Slice::Absent => None,
        }
    }

    /// What the statement says, without where it came from: equal contents have equal encodings.
    pub fn encode_content(&self, out: &mut Vec<u8>) {
        for text in
            [self.record, self.remote_id, self.rule, self.origin.tenant, self.origin.connection, self.origin.vendor]
        {
            put_bytes(out, text.as_bytes());
        }
        let foreign;
        let owner = match &self.kin {
            Kin::Own => self.owner,
            Kin::Foreign => {
                let (record, id) = self.owner.unwrap_or_default();
                foreign = format!("{FOREIGN}{record}");
                Some((foreign.as_str(), id))
            }
            Kin::Awaited => Some((AWAITED, "")),
            Kin::Told(id) => Some((TOLD, std::str::from_utf8(id).unwrap_or_default())),
        };
        put_text(out, owner.map(|owner| owner.0));
        put_text(out, owner.map(|owner| owner.1));
        out.extend([u8::from(self.whole), u8::from(self.delete)]);
        for time in [self.version, self.created_at, self.updated_at, self.deleted_at] {
            put_option(out, time);
        }
        for text in [self.url, self.change, self.cause] {
            put_text(out, text);
        }
        put_slice(out, self.custom_fields);
        out.push(u8::from(self.element.is_some()));
        if let Some(row) = &self.element {
            put_len(out, row.field);
            put_bytes(out, row.group.as_bytes());
            put_bytes(out, row.row_id.as_bytes());
            put_bytes(out, row.bytes);
            out.push(u8::from(row.delete));
        }
        let count = match &self.fields {
            Fields::Mapped(fact) => fact.field_count(),
            Fields::Own(fields) => fields.len(),
        };
        put_len(out, count);
        for index in 0..count {
            match self.field(index) {
                Slice::NotMapped => out.push(0),
                Slice::Absent => out.push(1),
                Slice::Bytes(bytes) => {
                    out.push(2);
                    put_bytes(out, bytes);
                }
            }
        }
        put_bytes(out, self.origin.mapping_version.as_bytes());
        put_bytes(out, self.origin.absent_fields);
    }

    /// Where it came from.
    pub fn encode_origin(&self, out: &mut Vec<u8>) {
        let origin = &self.origin;
        put_int(out, origin.provenance.index());
        put_int(out, origin.observed_at);
        put_int(out, origin.ingested_at);
        put_bytes(out, origin.topic.as_bytes());
        put_int(out, i64::from(origin.partition));
        put_int(out, origin.offset);
        out.extend_from_slice(&origin.delivery.to_be_bytes());
        // Last, in the order in which releases added them: fragments of before end here or behind the first.
        put_int(out, origin.asked_at);
        out.push(u8::from(origin.by_event));
    }

    /// # Errors
    /// [`Damaged`] if it is not what this version encodes.
    pub fn decode(bytes: &'a [u8], trace: &'a [u8]) -> Result<Self, Damaged> {
        let from = &mut Reader::new(bytes);
        let (record, remote_id, rule) = (from.text()?, from.text()?, from.text()?);
        let (tenant, connection, vendor) = (from.text()?, from.text()?, from.text()?);
        let (owner, kin) = match text(from)?.zip(text(from)?) {
            Some((AWAITED, _)) => (None, Kin::Awaited),
            Some((TOLD, id)) => (None, Kin::Told(Id::try_from(id.as_bytes()).map_err(|_| Damaged)?)),
            Some((record, id)) => match record.strip_prefix(FOREIGN) {
                Some(record) => (Some((record, id)), Kin::Foreign),
                None => (Some((record, id)), Kin::Own),
            },
            None => (None, Kin::Own),
        };
        let (whole, delete) = (from.flag()?, from.flag()?);
        let (version, created_at) = (from.option()?, from.option()?);
        let (updated_at, deleted_at) = (from.option()?, from.option()?);
        let (url, change, cause) = (text(from)?, text(from)?, text(from)?);
        let custom_fields = slice(from)?;
        let element = if from.flag()? { Some(row(from)?) } else { None };
        let count = from.len()?;
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(match from.byte()? {
                0 => Slice::NotMapped,
                1 => Slice::Absent,
                2 => Slice::Bytes(from.bytes()?),
                _ => return Err(Damaged),
            });
        }
        let (mapping_version, absent_fields) = (from.text()?, from.bytes()?);
        let provenance = Provenance::from_index(from.int()?).ok_or(Damaged)?;
        let (observed_at, ingested_at, topic) = (from.int()?, from.int()?, from.text()?);
        let (partition, offset) = (i32::try_from(from.int()?).map_err(|_| Damaged)?, from.int()?);
        let delivery = from.fixed()?;
        let asked_at = if from.is_empty() { observed_at } else { from.int()? };
        let by_event = if from.is_empty() { provenance == Provenance::Webhook } else { from.flag()? };
        let origin = Origin {
            tenant,
            connection,
            vendor,
            provenance,
            by_event,
            asked_at,
            observed_at,
            ingested_at,
            topic,
            partition,
            offset,
            delivery,
            mapping_version,
            absent_fields,
            trace,
        };
        Ok(Self {
            record,
            remote_id,
            rule,
            owner,
            kin,
            whole,
            delete,
            version,
            created_at,
            updated_at,
            deleted_at,
            url,
            custom_fields,
            element,
            change,
            cause,
            fields: Fields::Own(fields),
            origin,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_slice(out, text.map(str::as_bytes));
}

fn put_slice(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn text<'a>(from: &mut Reader<'a>) -> Result<Option<&'a str>, Damaged> {
    if from.flag()? { from.text().map(Some) } else { Ok(None) }
}

fn slice<'a>(from: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Damaged> {
    if from.flag()? { from.bytes().map(Some) } else { Ok(None) }
}

fn row<'a>(from: &mut Reader<'a>) -> Result<Row<'a>, Damaged> {
    let field = usize::try_from(from.int()?).map_err(|_| Damaged)?;
    Ok(Row { field, group: from.text()?, row_id: from.text()?, bytes: from.bytes()?, delete: from.flag()? })
}
