//! Normalize's steps of all partitions without Kafka: what one sends to another goes round, everything else is collected.

#[path = "../tree/mod.rs"]
pub(crate) mod tree;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use bytes::Bytes;
use hirewire_kafka::{Inbound, Outbox, Record, Step, partition_for};
use hirewire_mapping::Plan;
use hirewire_normalize::Connection;
use hirewire_normalize::catalog::Catalog;
use hirewire_normalize::guard::Guilty;
use hirewire_normalize::issue::Issues;
use hirewire_normalize::lookups::Lookups;
use hirewire_normalize::metrics::Metrics;
use hirewire_normalize::step::{NormalizeStep, Shared, Source};
use hirewire_normalize::store::Store;
use hirewire_schemas::{Entity, Names, ids};

pub(crate) use tree::text;

pub(crate) const TENANT: &str = "acme";
pub(crate) const CONNECTION: &str = "acme-greenhouse";
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) struct Cluster {
    steps: Vec<NormalizeStep>,
    pub(crate) published: Vec<Record>,
    fragments: VecDeque<Inbound>,
    offset: i64,
    /// Fragments sent so far.
    pub(crate) forwarded: usize,
    /// Each transaction is aborted once before it is committed.
    pub(crate) abort_first: bool,
    pub(crate) shared: Arc<Shared>,
    dir: tempfile::TempDir,
}

pub(crate) fn vendor_plan(vendor: &str) -> Arc<Plan> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors").join(vendor).join("mapping.yaml");
    let root = hirewire_yaml::parse("mapping.yaml", &std::fs::read_to_string(path).unwrap()).unwrap();
    let schema_of = |name: &str| hirewire_schemas::schema(name).map(|schema| &schema.avro);
    Arc::new(Plan::compile(&root, None, &schema_of).unwrap_or_else(|problems| panic!("{problems}")))
}

pub(crate) fn fixture(name: &str) -> String {
    fixture_of("greenhouse", name)
}

pub(crate) fn fixture_of(vendor: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors").join(vendor).join("fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn id(record: &str, remote_id: &str) -> String {
    ids::canonical_id(TENANT, CONNECTION, record, remote_id).to_string()
}

/// A connection with the vendor's real mapping.
pub(crate) fn connection(tenant: &str, name: &str, vendor: &str) -> Connection {
    let (name, tenant, plan) = (name.to_owned(), tenant.to_owned(), vendor_plan(vendor));
    Connection { name, tenant, vendor: vendor.to_owned(), plan }
}

/// What all steps know: one connection of a real mapping, and no look-up that is waited for. Stores stand in `dir`.
pub(crate) fn shared(dir: &Path) -> Shared {
    let connection = connection(TENANT, CONNECTION, "greenhouse");
    Shared {
        catalog: Arc::new(Catalog::new(&Names::new(""), &|_| Some(7)).unwrap()),
        sources: HashMap::from([(CONNECTION.to_owned(), Source::from(connection))]),
        lookups: Arc::new(Lookups::default()),
        metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        partitions: PARTITIONS,
        lookup_wait: std::time::Duration::ZERO,
        confirm_within: std::time::Duration::ZERO,
        cache_bytes: 1 << 20,
        store_dir: dir.to_owned(),
        restricted: vec![Names::new("").raw_restricted("greenhouse")],
        issues: Issues::default(),
        guilty: Guilty::default(),
    }
}

/// A record that was sent, as its reader gets it.
pub(crate) fn inbound(record: Record, offset: i64) -> Inbound {
    Inbound {
        topic: record.topic,
        partition: record.partition.unwrap(),
        offset,
        timestamp_ms: record.timestamp_ms.unwrap_or_default(),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
    }
}

/// A header of a record; empty if it has none of that name.
pub(crate) fn header(record: &Record, name: &str) -> String {
    let value = record.headers.iter().find(|h| *h.0 == *name).map(|h| String::from_utf8_lossy(&h.1).into_owned());
    value.unwrap_or_default()
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Shared)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shared = shared(dir.path());
        change(&mut shared);
        let shared = Arc::new(shared);
        let mut cluster = Self {
            steps: Vec::new(),
            published: Vec::new(),
            fragments: VecDeque::new(),
            offset: 0,
            forwarded: 0,
            abort_first: false,
            shared,
            dir,
        };
        cluster.open("first");
        cluster
    }

    fn open(&mut self, name: &str) {
        self.steps = (0..PARTITIONS)
            .map(|p| {
                let store = Store::open(&self.dir.path().join(format!("{name}-{p}")), 1 << 20).unwrap();
                NormalizeStep::with_store(p, Arc::clone(&self.shared), store)
            })
            .collect();
    }

    /// All steps begin anew on empty stores that are filled from the state topic, as a new owner would.
    pub(crate) fn move_to_new_owner(&mut self) {
        self.open("second");
        let topic = Arc::clone(&self.shared.catalog.state.topic);
        let mut stores: Vec<Store> = (0..PARTITIONS)
            .map(|p| Store::open(&self.dir.path().join(format!("third-{p}")), 1 << 20).unwrap())
            .collect();
        for record in self.published.iter().filter(|record| record.topic == topic) {
            let value = record.value.as_ref().unwrap();
            let state = value.slice(5..);
            let id = hirewire_normalize::work::id_of_state(&state).unwrap();
            assert_eq!(record.key.as_deref(), Some(&id[..]));
            stores[usize::try_from(record.partition.unwrap()).unwrap()].put(id, Some(state)).unwrap();
        }
        self.steps =
            (0..).zip(stores).map(|(p, store)| NormalizeStep::with_store(p, Arc::clone(&self.shared), store)).collect();
    }

    /// One raw record, in a transaction of its own, and what follows from it.
    pub(crate) fn send(&mut self, origin: &str, what: &str, delivery: &str, subject: (&str, &str), body: &str) {
        let input = self.input(origin, what, delivery, subject, body, jiff::Timestamp::now());
        self.send_together(&[input]);
    }

    /// A delivery of another connection, and what follows from it. `subject`: of whom ingest would take it to be.
    pub(crate) fn deliver(&mut self, connection: &str, event: &str, delivery: &str, subject: (&str, &str), body: &str) {
        self.told_of(connection, ("webhook", event), delivery, subject, body);
    }

    /// A row of a list of another connection, and what follows from it.
    pub(crate) fn read(&mut self, connection: &str, stream: &str, row: &str, subject: (&str, &str), body: &str) {
        self.told_of(connection, ("poll", stream), row, subject, body);
    }

    fn told_of(
        &mut self,
        connection: &str,
        (origin, what): (&str, &str),
        delivery: &str,
        subject: (&str, &str),
        body: &str,
    ) {
        let source = &self.shared.sources[connection];
        let (topic, tenant) = (Names::new("").raw(&source.vendor), source.tenant.clone());
        let mut input = self.input(origin, what, delivery, subject, body, jiff::Timestamp::now());
        let key = ids::canonical_id(&tenant, connection, subject.0, subject.1).to_string();
        input.topic = topic.into();
        input.partition = partition_for(key.as_bytes(), PARTITIONS);
        input.key = Some(Bytes::from(key));
        for (name, value) in &mut input.headers {
            match name.as_str() {
                "ce_id" => *value = Bytes::from(format!("{connection}/{delivery}")),
                "hirewire-connection" => *value = Bytes::from(connection.to_owned()),
                _ => {}
            }
        }
        self.send_together(&[input]);
    }

    /// Raw records of one partition, in one transaction, and what follows from them.
    pub(crate) fn send_together(&mut self, inputs: &[Inbound]) {
        self.transact(inputs);
        while let Some(fragment) = self.fragments.pop_front() {
            self.transact(&[fragment]);
        }
    }

    /// A raw record at the next offset.
    pub(crate) fn input(
        &mut self,
        origin: &str,
        what: &str,
        delivery: &str,
        subject: (&str, &str),
        body: &str,
        received: jiff::Timestamp,
    ) -> Inbound {
        let kind = if origin == "webhook" { "hirewire-event" } else { "hirewire-stream" };
        let key = id(subject.0, subject.1);
        let headers = [
            ("ce_id", format!("{CONNECTION}/{delivery}")),
            ("ce_time", received.to_string()),
            ("hirewire-connection", CONNECTION.to_owned()),
            ("hirewire-origin", origin.to_owned()),
            (kind, what.to_owned()),
        ];
        self.offset += 1;
        Inbound {
            topic: Names::new("").raw("greenhouse").into(),
            partition: partition_for(key.as_bytes(), PARTITIONS),
            offset: self.offset - 1,
            timestamp_ms: received.as_millisecond(),
            key: Some(Bytes::from(key)),
            value: Some(Bytes::copy_from_slice(body.as_bytes())),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))).collect(),
        }
    }

    /// Inputs whose transaction is aborted before its end, and that are never seen again.
    pub(crate) fn lose(&mut self, inputs: &[Inbound]) {
        let step = &mut self.steps[usize::try_from(inputs[0].partition).unwrap()];
        for input in inputs {
            step.process(input, &mut Outbox::default()).unwrap();
        }
        step.aborted().unwrap();
    }

    /// Processes inputs of one partition in one transaction, after it was aborted once if asked.
    fn transact(&mut self, inputs: &[Inbound]) {
        let step = &mut self.steps[usize::try_from(inputs[0].partition).unwrap()];
        let attempt = |step: &mut NormalizeStep| {
            let mut out = Outbox::default();
            for input in inputs {
                step.process(input, &mut out).unwrap();
            }
            step.before_commit(&mut out).map(|()| out.records().to_vec())
        };
        if self.abort_first {
            let _lost = attempt(step);
            step.aborted().unwrap();
        }
        let mut tries = 0;
        let records = loop {
            match attempt(step) {
                Ok(records) => break records,
                Err(stop) => assert_eq!(stop.code, "work-again"),
            }
            step.aborted().unwrap();
            tries += 1;
            assert!(tries <= 3, "the same work is done again for ever");
        };
        step.committed().unwrap();
        for record in records {
            if *record.topic == *self.shared.catalog.fragment.topic {
                self.forwarded += 1;
                self.fragments.push_back(inbound(record, self.offset));
            } else {
                self.published.push(record);
            }
        }
    }

    /// All records of an entity, as published.
    pub(crate) fn of(&self, entity: Entity) -> Vec<Value> {
        let topic = Names::new("").entity(entity);
        let reader = GenericDatumReader::builder(&entity.schema().avro).build().unwrap();
        self.published
            .iter()
            .filter(|record| *record.topic == *topic)
            .map(|record| {
                let mut bytes = &record.value.as_ref().unwrap()[5..];
                let value = reader.read_value(&mut bytes).unwrap();
                assert!(bytes.is_empty(), "{entity}: bytes left over");
                value
            })
            .collect()
    }

    /// The last record of one entity.
    pub(crate) fn last(&self, entity: Entity, remote_id: &str) -> Value {
        let all = self.of(entity);
        all.into_iter()
            .rfind(|value| text(value, "meta.remote_id") == remote_id)
            .unwrap_or_else(|| panic!("no {entity} {remote_id}"))
    }

    pub(crate) fn topic(&self, name: &str) -> Vec<&Record> {
        self.published.iter().filter(|record| *record.topic == *name).collect()
    }
}
