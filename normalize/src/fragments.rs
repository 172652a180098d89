//! Statements on their way to another partition, and the memory of what was sent already.
//!
//! In: a claim and its owner's id. Out: a record for `hirewire.internal.fragment.v1`. The same content to the same owner goes
//! once, as far as this bounded memory reaches; the owner drops what changes nothing anyway.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use hirewire_kafka::Record;

use crate::catalog::Catalog;
use crate::claim::{Claim, Id};
use crate::wire::put_bytes;

/// Remembered statements per partition number; then all are forgotten.
const MOST_REMEMBERED: usize = 100_000;

#[derive(Default)]
pub struct Sent {
    /// What a rule said last of a record → hash of the content.
    committed: HashMap<u64, u64>,
    open: HashMap<u64, u64>,
}

impl Sent {
    /// Whether this content is news for that partition; remembers it until the transaction ends.
    fn is_news(&mut self, what: u64, content: u64) -> bool {
        if self.open.get(&what).or_else(|| self.committed.get(&what)) == Some(&content) {
            return false;
        }
        self.open.insert(what, content);
        true
    }

    pub fn commit(&mut self) {
        if self.committed.len() + self.open.len() > MOST_REMEMBERED {
            self.committed.clear();
        }
        self.committed.extend(self.open.drain());
    }

    pub fn abort(&mut self) {
        self.open.clear();
    }
}

/// The record that carries the claim to partition `to`. None: it was sent before.
pub fn forward(sent: &mut Sent, catalog: &Catalog, claim: &Claim<'_>, owner: &Id, to: i32) -> Option<Record> {
    let mut body = Vec::with_capacity(256);
    claim.encode_content(&mut body);
    let content = hash(&body);
    let what = hash(&(claim.record, claim.remote_id, claim.rule, claim.element.map(|row| (row.group, row.row_id)), to));
    if !sent.is_news(what, content) {
        return None;
    }
    claim.encode_origin(&mut body);
    let mut value = Vec::with_capacity(body.len() + 256);
    value.extend_from_slice(&catalog.fragment.frame);
    for text in [claim.origin.tenant, claim.origin.connection, claim.record, claim.remote_id] {
        put_bytes(&mut value, text.as_bytes());
    }
    put_bytes(&mut value, owner);
    put_bytes(&mut value, &body);
    put_bytes(&mut value, &content.to_be_bytes());
    let mut headers = Vec::new();
    if !claim.origin.trace.is_empty() {
        headers.push(("traceparent".into(), Bytes::copy_from_slice(claim.origin.trace)));
    }
    Some(Record {
        topic: catalog.fragment.topic.clone(),
        partition: Some(to),
        key: Some(Bytes::copy_from_slice(owner)),
        value: Some(value.into()),
        headers,
        timestamp_ms: Some(claim.origin.ingested_at / 1000),
    })
}

fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The claim's bytes in a fragment's framed value.
#[must_use]
pub fn body(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value.get(5..)?;
    for _ in 0..5 {
        let _skipped = hirewire_mapping::avro::read_bytes(&mut rest)?;
    }
    hirewire_mapping::avro::read_bytes(&mut rest)
}
