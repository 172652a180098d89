//! Issues: something about a connection's data that a person should look at, once per thing and process.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hirewire_kafka::Record;
use hirewire_mapping::Fact;
use hirewire_schemas::ids::{canonical_id, issue_id, key};
use hirewire_schemas::records::Put;
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::claim::{Claim, Id, Origin};
use crate::drift::{Found, MISSED};
use crate::reconcile::{Envelope, Ids, Operation, RawRef};
use crate::wire::{put_bytes, put_int, put_len};

/// `ats.IssueSeverity` WARNING.
const WARNING: i64 = 3;
/// Of a word that is told: a coded value is short, and what is longer is none.
const MOST_LETTERS: usize = 64;
/// Issues remembered; then all are forgotten.
const MOST_REMEMBERED: usize = 10_000;

#[derive(Default)]
pub struct Issues {
    told: Mutex<HashSet<Uuid>>,
}

/// What an issue says beside its envelope.
#[derive(Default)]
struct Issue<'a> {
    code: &'a str,
    /// What it is about, among those of the same code: together the remote id.
    about: &'a str,
    record: &'a str,
    entity_id: Option<Id>,
    target: Option<&'a str>,
    /// The path in the payload.
    source: Option<&'a str>,
    message: String,
    remedy: &'a str,
    /// Names and values.
    details: &'a [(&'a str, &'a str)],
}

impl Issues {
    /// A coded value that no rule covers: once for each word. None: it was told already. The id is for [`Self::forget`].
    pub fn unmapped(
        &self,
        catalog: &Catalog,
        fact: &Fact<'_>,
        (target, word): (&str, &str),
        origin: &Origin<'_>,
    ) -> Option<(Uuid, Record)> {
        let word: String = word.chars().take(MOST_LETTERS).collect();
        let issue = Issue {
            code: "UNMAPPED_VALUE",
            about: &format!("{target} {}", word.to_lowercase()),
            record: fact.record,
            target: Some(target),
            message: format!(
                "the source sent a value for {target} that no rule covers; it is kept as UNMAPPED with its own word"
            ),
            remedy: "Add the value to the table of this field in the vendor's mapping or in the connection's overlay.",
            details: &[("rule", fact.rule), ("word", &word)],
            ..Issue::default()
        };
        self.tell(catalog, &issue, origin)
    }

    /// What a source sends otherwise than it used to. None: it was told already. The id is for [`Self::forget`].
    pub fn drifted(
        &self,
        catalog: &Catalog,
        fact: &Fact<'_>,
        found: &Found,
        origin: &Origin<'_>,
    ) -> Option<(Uuid, Record)> {
        let details = [("rule", fact.rule)];
        match found {
            Found::Leaf(path) => {
                let issue = Issue {
                    code: "NEW_FIELD",
                    about: &format!("{} {path}", fact.rule),
                    record: fact.record,
                    source: Some(path),
                    message: format!(
                        "the source sends {path}, which it did not send before and no rule reads; it is carried in custom_fields"
                    ),
                    remedy: "Map it in the vendor's mapping or in the connection's overlay if it means something, or list it there under `ignore` with a reason.",
                    details: &details,
                    ..Issue::default()
                };
                self.tell(catalog, &issue, origin)
            }
            Found::Gone(index) => {
                let fields = catalog.kind(fact.record).map(|kind| &catalog.info(kind).schema.fields);
                let name = fields.and_then(|fields| fields.get(*index)).map_or("", |field| field.name.as_str());
                let target = format!("{}.{name}", fact.record);
                let issue = Issue {
                    code: "FIELD_GONE",
                    about: &format!("{} {name}", fact.rule),
                    record: fact.record,
                    target: Some(&target),
                    message: format!("{target} used to come, and {MISSED} records in a row came without it"),
                    remedy: "Look at a raw event of today: was the field renamed (a NEW_FIELD of the same rule says so), or was a permission taken away? Mend the rule's path, or the permission.",
                    details: &details,
                    ..Issue::default()
                };
                self.tell(catalog, &issue, origin)
            }
        }
    }

    /// A result that waits until its order is known. None: it was told already. The id is for [`Self::forget`].
    pub fn awaits_order(&self, catalog: &Catalog, claim: &Claim<'_>) -> Option<(Uuid, Record)> {
        let origin = &claim.origin;
        let entity = canonical_id(origin.tenant, origin.connection, claim.record, claim.remote_id);
        let about = format!("{} {}", claim.record, claim.remote_id);
        let issue = Issue {
            code: "AWAITS_ORDER",
            about: &about,
            record: claim.record,
            entity_id: Some(key(entity)),
            message: "a result came and no order of ours is known for it: it is kept until one is".to_owned(),
            remedy: "If it was ordered through Hirewire, look why what names the order did not come (the README of the system's folder says what does). What was ordered by hand waits for ever: nothing to do.",
            ..Issue::default()
        };
        self.tell(catalog, &issue, origin)
    }

    fn tell(&self, catalog: &Catalog, issue: &Issue<'_>, origin: &Origin<'_>) -> Option<(Uuid, Record)> {
        let id = issue_id(origin.tenant, origin.connection, issue.code, issue.about);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() >= MOST_REMEMBERED {
                told.clear();
            }
            if !told.insert(id) {
                return None;
            }
        }
        let text: Id = key(id);
        let remote_id = format!("{} {}", issue.code, issue.about);
        let mut value = catalog.issue.frame.to_vec();
        let refs = [RawRef { topic: origin.topic.to_owned(), partition: origin.partition, offset: origin.offset }];
        let envelope = Envelope {
            event_id: std::str::from_utf8(&text).unwrap_or_default(),
            ids: Ids { id: &text, tenant: origin.tenant, connection: origin.connection, remote_id: &remote_id },
            vendor: origin.vendor,
            operation: Operation::Upsert,
            url: None,
            created_at: None,
            updated_at: None,
            deleted_at: None,
            observed_at: origin.observed_at,
            ingested_at: origin.ingested_at,
            provenance: origin.provenance.index(),
            raw_refs: &refs,
            mapping_version: origin.mapping_version,
            customs: &[],
            absent_fields: &[],
        };
        envelope.put(&mut value);
        put_bytes(&mut value, issue.code.as_bytes());
        put_int(&mut value, WARNING);
        let entity = catalog.kind(issue.record).map(|kind| catalog.info(kind).entity.kebab().to_owned());
        entity.put(&mut value);
        let entity_id = issue.entity_id.and_then(|id| String::from_utf8(id.to_vec()).ok());
        entity_id.put(&mut value);
        issue.target.map(str::to_owned).put(&mut value);
        issue.source.map(str::to_owned).put(&mut value);
        Some(issue.message.clone()).put(&mut value);
        Some(issue.remedy.to_owned()).put(&mut value);
        Some(1_i64).put(&mut value);
        Some(origin.observed_at).put(&mut value);
        Some(origin.observed_at).put(&mut value);
        if !issue.details.is_empty() {
            put_len(&mut value, issue.details.len());
        }
        for (name, text) in issue.details {
            put_bytes(&mut value, name.as_bytes());
            put_bytes(&mut value, text.as_bytes());
        }
        value.push(0);
        let record = Record {
            topic: catalog.issue.topic.clone(),
            partition: None,
            key: Some(Bytes::copy_from_slice(&text)),
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        Some((id, record))
    }

    /// The transaction that told them was aborted.
    pub fn forget(&self, ids: impl Iterator<Item = Uuid>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        ids.for_each(|id| {
            told.remove(&id);
        });
    }
}
