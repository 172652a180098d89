//! Issues: something about a connection's data that a person should look at, once per thing and process.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hirewire_kafka::{Inbound, Record};
use hirewire_mapping::Fact;
use hirewire_schemas::ids::{issue_id, key};
use hirewire_schemas::records::Put;
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::claim::Id;
use crate::raw::Raw;
use crate::reconcile::{Envelope, Ids, Operation, RawRef};
use crate::step::Source;
use crate::wire::{put_bytes, put_int};

/// `ats.IssueSeverity` WARNING.
const WARNING: i64 = 3;
/// Issues remembered; then all are forgotten.
const MOST_REMEMBERED: usize = 10_000;

#[derive(Default)]
pub struct Issues {
    told: Mutex<HashSet<Uuid>>,
}

impl Issues {
    /// A coded value that no rule covers. None: it was told already. The id is for [`Self::forget`].
    pub fn unmapped(
        &self,
        catalog: &Catalog,
        source: &Source,
        raw: &Raw<'_>,
        fact: &Fact<'_>,
        target: &str,
        input: &Inbound,
    ) -> Option<(Uuid, Record)> {
        let id = issue_id(&source.tenant, raw.connection, "UNMAPPED_VALUE", target);
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
        let remote_id = format!("UNMAPPED_VALUE {target}");
        let mut value = catalog.issue.frame.to_vec();
        let refs = [RawRef { topic: input.topic.to_string(), partition: input.partition, offset: input.offset }];
        let envelope = Envelope {
            event_id: std::str::from_utf8(&text).unwrap_or_default(),
            ids: Ids { id: &text, tenant: &source.tenant, connection: raw.connection, remote_id: &remote_id },
            vendor: &source.vendor,
            operation: Operation::Upsert,
            url: None,
            created_at: None,
            updated_at: None,
            deleted_at: None,
            observed_at: raw.observed_at,
            ingested_at: raw.ingested_at,
            provenance: raw.provenance.index(),
            raw_refs: &refs,
            mapping_version: source.plan.version(),
            customs: &[],
            absent_fields: &[],
        };
        envelope.put(&mut value);
        put_bytes(&mut value, b"UNMAPPED_VALUE");
        put_int(&mut value, WARNING);
        let entity = catalog.kind(fact.record).map(|kind| catalog.info(kind).entity.kebab().to_owned());
        entity.put(&mut value);
        None::<String>.put(&mut value);
        Some(target.to_owned()).put(&mut value);
        None::<String>.put(&mut value);
        let message = format!(
            "the source sent a value for {target} that no rule covers; it is kept as UNMAPPED with its own word"
        );
        Some(message).put(&mut value);
        let remedy = "Add the value to the table of this field in the vendor's mapping or in the connection's overlay.";
        Some(remedy.to_owned()).put(&mut value);
        Some(1_i64).put(&mut value);
        Some(raw.observed_at).put(&mut value);
        Some(raw.observed_at).put(&mut value);
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
