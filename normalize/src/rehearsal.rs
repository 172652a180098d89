//! All partitions of normalize in memory, over the raw records of one connection.
//!
//! For the proof of a vendor's folder (`hirewire vendor prove`): the steps, their state and what they send to each other
//! are those of the service; each raw record is a transaction of its own, and nothing fails.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::{Inbound, Outbox, Record, Step, partition_for};
use hirewire_schemas::records::{Meta, StageChange, decode};
use hirewire_schemas::{Entity, Names, RecordSchema};
use jiff::Timestamp;
use serde::Deserialize;

use crate::catalog::{Catalog, KindInfo};
use crate::claim::Id;
use crate::guard::Guilty;
use crate::issue::Issues;
use crate::lookups::{Lookups, RecordShape};
use crate::metrics::Metrics;
use crate::raw::ASKED_AT;
use crate::run::Connection;
use crate::step::{NormalizeStep, Shared};
use crate::store::Store;

const PARTITIONS: i32 = 4;
const CACHE_BYTES: usize = 1 << 20;
/// Of the one registry that there is.
const SCHEMA_ID: u32 = 1;
/// In front of a record's Avro bytes stands the registry's framing.
const FRAME_BYTES: usize = 5;

/// Normalize in memory.
pub struct Rehearsal {
    shared: Arc<Shared>,
    names: Names,
    steps: Vec<NormalizeStep>,
    /// What steps sent to each other.
    fragments: VecDeque<Inbound>,
    offset: i64,
    changes: Vec<StageChange>,
    states: Vec<Published>,
    dead_letters: Vec<String>,
}

/// A canonical record that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// `Application`, `Candidate`, …
    pub record: &'static str,
    pub meta: Meta,
}

#[derive(Deserialize)]
struct Head {
    meta: Meta,
}

impl Rehearsal {
    /// Normalize of one connection, with empty state in `folder`.
    ///
    /// # Errors
    /// In words: the folder cannot be written, or a schema is not what this program can work with.
    pub fn new(connection: Connection, folder: &Path) -> Result<Self, String> {
        let names = Names::default();
        let catalog = Catalog::new(&names, &|_| Some(SCHEMA_ID)).map_err(|error| error.to_string())?;
        let metrics = Metrics::register(&prometheus::Registry::new()).map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            catalog: Arc::new(catalog),
            restricted: vec![names.raw_restricted(&connection.vendor)],
            sources: HashMap::from([(connection.name.clone(), connection.into())]),
            lookups: Arc::new(Lookups::default()),
            metrics,
            partitions: PARTITIONS,
            lookup_wait: Duration::ZERO,
            confirm_within: Duration::ZERO,
            cache_bytes: CACHE_BYTES,
            store_dir: folder.to_owned(),
            issues: Issues::default(),
            guilty: Guilty::default(),
        });
        let step = |partition: i32| {
            let store = Store::open(&folder.join(partition.to_string()), CACHE_BYTES);
            store.map(|store| NormalizeStep::with_store(partition, Arc::clone(&shared), store))
        };
        let steps = (0..PARTITIONS).map(step).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let (changes, states) = (Vec::new(), Vec::new());
        let (fragments, dead_letters) = (VecDeque::new(), Vec::new());
        Ok(Self { shared, names, steps, fragments, offset: 0, changes, states, dead_letters })
    }

    /// Takes a raw record as ingest made it, had it been made at `at`, and what follows from it.
    ///
    /// # Errors
    /// The code of what stops the service.
    pub fn take(&mut self, mut record: Record, at: Timestamp) -> Result<(), String> {
        let partition = partition_for(record.key.as_deref().unwrap_or_default(), PARTITIONS);
        record.partition = Some(partition);
        record.timestamp_ms = Some(at.as_millisecond());
        if let Some((_, time)) = record.headers.iter_mut().find(|(name, _)| **name == *"ce_time") {
            *time = Bytes::from(at.to_string());
        }
        record.headers.retain(|(name, _)| **name != *ASKED_AT);
        let input = self.inbound(record);
        self.transact(&input)?;
        while let Some(fragment) = self.fragments.pop_front() {
            self.transact(&fragment)?;
        }
        Ok(())
    }

    /// Events of the ledger since this was asked last, in the order of their publication.
    #[must_use]
    pub fn changes(&mut self) -> Vec<StageChange> {
        std::mem::take(&mut self.changes)
    }

    /// Canonical records since this was asked last, in the order of their publication.
    #[must_use]
    pub fn states(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.states)
    }

    /// What could not be processed since this was asked last: code and place.
    #[must_use]
    pub fn dead_letters(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dead_letters)
    }

    fn inbound(&mut self, record: Record) -> Inbound {
        self.offset += 1;
        Inbound {
            topic: record.topic,
            partition: record.partition.unwrap_or_default(),
            offset: self.offset,
            timestamp_ms: record.timestamp_ms.unwrap_or_else(|| Timestamp::now().as_millisecond()),
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        }
    }

    fn transact(&mut self, input: &Inbound) -> Result<(), String> {
        let step = usize::try_from(input.partition).ok().and_then(|index| self.steps.get_mut(index));
        let Some(step) = step else { return Err("a record of no partition".to_owned()) };
        let mut out = Outbox::default();
        let done = step.process(input, &mut out).and_then(|()| step.before_commit(&mut out));
        done.and_then(|()| step.committed()).map_err(|stop| stop.to_string())?;
        for record in out.records().to_vec() {
            self.published(record);
        }
        Ok(())
    }

    fn published(&mut self, record: Record) {
        if record.topic == self.shared.catalog.fragment.topic {
            let fragment = self.inbound(record);
            return self.fragments.push_back(fragment);
        }
        let dead_letters = [self.names.normalize_dead_letter(), self.names.normalize_restricted_dead_letter()];
        if dead_letters.contains(&record.topic.to_string()) {
            let header = |name: &str| record.headers.iter().find(|(known, _)| **known == *name);
            let told = ["dlq.reason", "__connect.errors.exception.message"].map(|name| {
                header(name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
            });
            return self.dead_letters.push(told.join(" ").trim().to_owned());
        }
        let Some(bytes) = record.value.as_ref().filter(|value| value.len() > FRAME_BYTES) else { return };
        let bytes = bytes.slice(FRAME_BYTES..);
        if *record.topic == *self.names.stage_change() {
            return self.changes.extend(decode::<StageChange>(Entity::StageChange.schema(), &bytes).ok());
        }
        let entity = Entity::ALL.into_iter().find(|entity| self.names.entity(*entity) == *record.topic);
        let Some(entity) = entity else { return };
        self.states.extend(head(entity.schema(), &bytes).map(|meta| Published { record: entity.record(), meta }));
        let lookup = self.shared.catalog.lookups().into_iter().find(|info| info.record == entity.record());
        if let Some((info, key)) = lookup.zip(record.key) {
            self.remember(info, &key, &bytes);
        }
    }

    /// Look-ups are read by all partitions.
    fn remember(&self, info: &KindInfo, key: &Bytes, bytes: &Bytes) {
        let Ok(id) = Id::try_from(&key[..]) else { return };
        if let Some(shape) = RecordShape::of(info.schema) {
            self.shared.lookups.put(id, shape.split(bytes));
        }
    }
}

fn head(schema: &RecordSchema, bytes: &[u8]) -> Option<Meta> {
    decode::<Head>(schema, bytes).ok().map(|head| head.meta)
}
