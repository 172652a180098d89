//! What the pipeline wrote, read as any downstream team would: a committed reader of the topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use hirewire_kafka::{Inbound, Isolation, Settings, TableFollower, TableStart};
use hirewire_registry::{Access, Codec};
use hirewire_schemas::records::StageChange;
use hirewire_schemas::{Entity, Names};
use hirewire_service::Shutdown;

/// Follows every topic that the outcome is judged by.
pub(super) struct Readback {
    seen: Arc<Mutex<Seen>>,
    decoded: Vec<StageChange>,
    follower: Option<TableFollower>,
    codec: Codec,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    raw_events: u64,
    /// Keys by entity.
    canonical: BTreeMap<Entity, BTreeSet<Bytes>>,
    /// Framed changes, each partition's in order.
    ledger: Vec<Bytes>,
    /// Dead letters of normalize, by code.
    dead_letters: BTreeMap<String, u64>,
    /// Dead letters by sink.
    undelivered: BTreeMap<String, u64>,
    records: u64,
}

/// What a record counts as.
#[derive(Clone)]
enum Counts {
    Raw,
    State(Entity),
    Ledger,
    Dead,
    Undelivered(String),
}

impl Readback {
    pub(super) async fn start(
        kafka: &Settings,
        names: &Names,
        vendors: &[String],
        sinks: &[String],
        registry: &Access,
    ) -> anyhow::Result<Self> {
        let mut topics: BTreeMap<String, Counts> = BTreeMap::new();
        for vendor in vendors {
            topics.insert(names.raw(vendor), Counts::Raw);
            topics.insert(names.raw_restricted(vendor), Counts::Raw);
        }
        for entity in Entity::ALL {
            match entity {
                Entity::StageChange => topics.insert(names.stage_change(), Counts::Ledger),
                Entity::Issue => None,
                other => topics.insert(names.entity(other), Counts::State(other)),
            };
        }
        topics.insert(names.normalize_dead_letter(), Counts::Dead);
        topics.insert(names.normalize_restricted_dead_letter(), Counts::Dead);
        for sink in sinks {
            topics.insert(names.route_dead_letter(sink), Counts::Undelivered(sink.clone()));
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (kafka, into) = (kafka.with_role("demo-judge"), Arc::clone(&seen));
        let follower = tokio::task::spawn_blocking(move || {
            let all: Vec<String> = topics.keys().cloned().collect();
            TableFollower::start(
                &kafka,
                &all,
                TableStart::new(),
                Isolation::Committed,
                Shutdown::new(),
                move |inbound| {
                    if let Some(counts) = topics.get(&*inbound.topic) {
                        into.lock().unwrap_or_else(PoisonError::into_inner).take(counts, inbound);
                    }
                },
            )
        })
        .await??;
        Ok(Self { seen, decoded: Vec::new(), follower: Some(follower), codec: Codec::new(registry)? })
    }

    /// Every change so far, those of one application in the order of publication.
    pub(super) async fn ledger(&mut self) -> anyhow::Result<&[StageChange]> {
        let fresh: Vec<Bytes> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.ledger.get(self.decoded.len()..).unwrap_or_default().to_vec()
        };
        let reader = &Entity::StageChange.schema().avro;
        for framed in fresh {
            self.decoded
                .push(self.codec.decode_into(&framed, reader).await.context("a record of the ledger cannot be read")?);
        }
        Ok(&self.decoded)
    }

    pub(super) fn counts(&self) -> Counted {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Counted {
            raw_events: seen.raw_events,
            canonical: seen
                .canonical
                .iter()
                .map(|(entity, keys)| (entity.kebab().to_owned(), keys.len() as u64))
                .collect(),
            dead_letters: seen.dead_letters.clone(),
            undelivered: seen.undelivered.clone(),
            records: seen.records,
        }
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let follower = self.follower.take();
        Ok(tokio::task::spawn_blocking(move || drop(follower)).await?)
    }
}

/// Counts for the summary.
pub(super) struct Counted {
    pub(super) raw_events: u64,
    pub(super) canonical: BTreeMap<String, u64>,
    /// By code.
    pub(super) dead_letters: BTreeMap<String, u64>,
    pub(super) undelivered: BTreeMap<String, u64>,
    /// Records that normalize and route wrote: while it grows, they are not quiet.
    pub(super) records: u64,
}

impl Seen {
    fn take(&mut self, counts: &Counts, inbound: Inbound) {
        self.records += u64::from(!matches!(counts, Counts::Raw));
        match counts {
            Counts::Raw => self.raw_events += 1,
            Counts::State(entity) => {
                self.canonical.entry(*entity).or_default().extend(inbound.key);
            }
            Counts::Ledger => self.ledger.extend(inbound.value),
            Counts::Dead => {
                let code = inbound.header_str("dlq.reason").unwrap_or("without a code").to_owned();
                *self.dead_letters.entry(code).or_default() += 1;
            }
            Counts::Undelivered(sink) => *self.undelivered.entry(sink.clone()).or_default() += 1,
        }
    }
}
