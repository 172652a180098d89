//! Starts normalize: schemas registered, look-ups read whole, then one worker per partition number until shutdown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use hirewire_kafka::{
    Inbound, Isolation, PartitionedMetrics, PartitionedOptions, Stop, TableFollower, TableStart, run_partitioned,
};
use hirewire_mapping::Plan;
use hirewire_registry::{BlockingCodec, Codec, CodecError, Subject};
use hirewire_schemas::Names;
use hirewire_service::{Component, Health, Shutdown};

use crate::catalog::{Catalog, Kind, MissingSchema, subjects};
use crate::claim::Id;
use crate::drift::Drift;
use crate::guard::Guilty;
use crate::issue::Issues;
use crate::lookups::{Lookups, RecordShape};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::step::{NormalizeStep, Shared, Source};
use crate::wire::{put_bytes, put_len};

/// One customer's account at one vendor.
pub struct Connection {
    pub name: String,
    pub tenant: String,
    pub vendor: String,
    pub plan: Arc<Plan>,
}

/// What the service needs of its process.
pub struct Deps {
    pub kafka: hirewire_kafka::Settings,
    pub names: Names,
    pub registry: hirewire_registry::Access,
    pub data_dir: PathBuf,
    /// Of every topic of the deployment.
    pub partitions: i32,
    /// All known vendors: their raw topics are the inputs.
    pub vendors: Vec<String>,
    pub connections: Vec<Connection>,
    pub metrics: prometheus::Registry,
    pub health: Health,
    pub shutdown: Shutdown,
}

/// What a person has to fix.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Stop(#[from] Stop),
    #[error("normalize cannot use the schema registry")]
    Registry(#[from] CodecError),
    #[error(transparent)]
    Schemas(#[from] MissingSchema),
    #[error("normalize's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("normalize's thread ended with a panic; the log says where")]
    Panicked,
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs until shutdown. What a fresh start may cure is started again, with growing pauses.
///
/// # Errors
/// What a person has to fix.
pub fn run(settings: Settings, deps: Deps) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(until_shutdown(settings, deps))
}

async fn until_shutdown(settings: Settings, deps: Deps) -> Result<(), Error> {
    let component = deps.health.component("normalize");
    component.waiting("the schema registry");
    let codec = Codec::new(&deps.registry)?;
    let ids = tokio::select! {
        ids = register(&codec, &deps.names, settings.registry_wait) => ids?,
        () = deps.shutdown.requested() => return Ok(()),
    };
    let catalog = Arc::new(Catalog::new(&deps.names, &|topic| ids.get(topic).copied())?);
    let metrics = Metrics::register(&deps.metrics)?;
    let loop_metrics = PartitionedMetrics::register("normalize", &deps.metrics)?;
    let codec = codec.blocking(tokio::runtime::Handle::current());
    let work = move || work(&settings, deps, &catalog, &metrics, &loop_metrics, &codec, &component);
    let (told, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("normalize".to_owned()).spawn(move || {
        let _nobody_waits = told.send(work()).is_err();
    });
    thread.map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
    result.await.unwrap_or(Err(Error::Panicked))
}

async fn register(codec: &Codec, names: &Names, patience: Duration) -> Result<HashMap<String, u32>, CodecError> {
    let wanted = subjects(names);
    let list: Vec<Subject> = wanted
        .iter()
        .map(|(topic, schema, compatibility)| Subject {
            name: Names::value_subject(topic),
            schema: schema.text.clone(),
            compatibility: compatibility.clone(),
        })
        .collect();
    let ids = codec.register(&list, patience).await?;
    Ok(wanted.into_iter().map(|(topic, ..)| topic).zip(ids).collect())
}

/// Blocks until shutdown.
fn work(
    settings: &Settings,
    deps: Deps,
    catalog: &Arc<Catalog>,
    metrics: &Metrics,
    loop_metrics: &PartitionedMetrics,
    codec: &BlockingCodec,
    component: &Component,
) -> Result<(), Error> {
    let lookups = Arc::new(Lookups::default());
    let shapes = shapes(catalog)?;
    component.waiting("look-ups to be read");
    let follower = retry(&deps.shutdown, component, || follow(&deps, catalog, &lookups, &shapes, codec))?;
    let Some(follower) = follower else { return Ok(()) };
    while !follower.caught_up() {
        if deps.shutdown.is_requested() {
            return Ok(());
        }
        component.progress(Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let options = options(settings, &deps);
    let (kafka, shutdown) = (deps.kafka.clone(), deps.shutdown.clone());
    let shared = Arc::new(shared(settings, deps, catalog, metrics, lookups));
    let done = retry(&shutdown, component, || {
        let shared = Arc::clone(&shared);
        let make = move |partition| {
            Ok(Box::new(NormalizeStep::new(partition, Arc::clone(&shared))) as Box<dyn hirewire_kafka::Step>)
        };
        run_partitioned(&kafka, options.clone(), loop_metrics.clone(), component.clone(), &shutdown, make)
    });
    done.map(drop).map_err(Error::from)
}

/// Tries again after retryable failures. None: shutdown came first.
fn retry<T>(
    shutdown: &Shutdown,
    component: &Component,
    mut what: impl FnMut() -> Result<T, Stop>,
) -> Result<Option<T>, Stop> {
    let mut pause = FIRST_PAUSE;
    loop {
        if shutdown.is_requested() {
            return Ok(None);
        }
        let began = std::time::Instant::now();
        match what() {
            Ok(done) => return Ok(Some(done)),
            Err(stop) if !stop.retryable => return Err(stop),
            Err(stop) => {
                tracing::warn!(code = stop.code, what = stop.what, "normalize starts again");
                component.waiting(format!("a new start after {}", stop.code));
                if began.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                let until = std::time::Instant::now() + pause;
                while std::time::Instant::now() < until && !shutdown.is_requested() {
                    component.progress(Duration::from_secs(60));
                    std::thread::sleep(Duration::from_millis(20));
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn shapes(catalog: &Catalog) -> Result<HashMap<Kind, Arc<RecordShape>>, Error> {
    let mut shapes = HashMap::new();
    for info in catalog.lookups() {
        let shape = RecordShape::of(info.schema).ok_or_else(|| {
            Stop::permanent("schema-unsupported", format!("the schema of look-up {} has a recursive type", info.record))
        })?;
        if let Some(kind) = catalog.kind(info.record) {
            shapes.insert(kind, Arc::new(shape));
        }
    }
    Ok(shapes)
}

/// Follows the look-up topics.
fn follow(
    deps: &Deps,
    catalog: &Arc<Catalog>,
    lookups: &Arc<Lookups>,
    shapes: &HashMap<Kind, Arc<RecordShape>>,
    codec: &BlockingCodec,
) -> Result<TableFollower, Stop> {
    let topics: Vec<String> = catalog.lookups().iter().map(|info| info.topic.to_string()).collect();
    let by_topic: HashMap<Arc<str>, Kind> =
        shapes.keys().map(|kind| (Arc::clone(&catalog.info(*kind).topic), *kind)).collect();
    let (catalog, lookups, shapes, codec) = (Arc::clone(catalog), Arc::clone(lookups), shapes.clone(), codec.clone());
    let on = move |record: Inbound| {
        let Some(kind) = by_topic.get(&record.topic) else { return };
        let Some(id) = record.key.as_deref().and_then(|key| Id::try_from(key).ok()) else { return };
        let Some(shape) = shapes.get(kind) else { return };
        match &record.value {
            None => lookups.put(id, None),
            Some(value) => match as_ours(&catalog, *kind, value, &codec) {
                Ok(fields) => lookups.put(id, shape.split(&fields)),
                Err(what) => {
                    tracing::warn!(topic = %record.topic, offset = record.offset, what, "a look-up cannot be read")
                }
            },
        }
    };
    TableFollower::start(&deps.kafka, &topics, TableStart::new(), Isolation::Committed, deps.shutdown.clone(), on)
}

/// The record's bytes by our own schema: as they are, or resolved from the schema that wrote them.
fn as_ours(catalog: &Catalog, kind: Kind, value: &Bytes, codec: &BlockingCodec) -> Result<Bytes, String> {
    let info = catalog.info(kind);
    if let Some(record) = value.strip_prefix(&info.frame[..]) {
        return Ok(value.slice_ref(record));
    }
    let resolved = codec.decode_as(value, &info.schema.avro).map_err(|error| error.to_string())?;
    let writer = GenericDatumWriter::builder(&info.schema.avro).build().map_err(|error| error.to_string())?;
    writer.write_value_to_vec(resolved).map(Bytes::from).map_err(|error| error.to_string())
}

fn options(settings: &Settings, deps: &Deps) -> PartitionedOptions {
    let mut inputs: Vec<String> =
        deps.vendors.iter().flat_map(|vendor| [deps.names.raw(vendor), deps.names.raw_restricted(vendor)]).collect();
    let fragment = deps.names.internal("fragment");
    inputs.extend([fragment.clone(), deps.names.internal("write-back")]);
    PartitionedOptions {
        group: deps.names.group("normalize"),
        inputs,
        // Versions know different vendors, and so different raw topics.
        anchor: fragment,
        transactional_prefix: deps.names.group("normalize"),
        commit_interval: settings.commit_interval,
        commit_max_records: settings.commit_max_records,
        drain_deadline: settings.drain_deadline,
    }
}

fn shared(settings: &Settings, deps: Deps, catalog: &Arc<Catalog>, metrics: &Metrics, lookups: Arc<Lookups>) -> Shared {
    let restricted = deps.vendors.iter().map(|vendor| deps.names.raw_restricted(vendor)).collect();
    // Deployments that share a folder must not share states.
    let store_dir = deps.data_dir.join("normalize").join(deps.names.group("state"));
    let sources =
        deps.connections.into_iter().map(|connection| (connection.name.clone(), Source::from(connection))).collect();
    Shared {
        catalog: Arc::clone(catalog),
        sources,
        lookups,
        metrics: metrics.clone(),
        partitions: deps.partitions,
        lookup_wait: settings.lookup_wait,
        confirm_within: settings.confirm_within,
        cache_bytes: settings.cache_bytes,
        store_dir,
        restricted,
        issues: Issues::default(),
        guilty: Guilty::default(),
    }
}

impl From<Connection> for Source {
    fn from(connection: Connection) -> Self {
        let absent = connection
            .plan
            .records()
            .map(|record| (record.to_owned(), string_array(connection.plan.absent_fields(record))))
            .collect();
        Self {
            tenant: connection.tenant,
            vendor: connection.vendor,
            absent,
            plan: connection.plan,
            drift: Drift::default(),
        }
    }
}

fn string_array(texts: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    if !texts.is_empty() {
        put_len(&mut out, texts.len());
        for text in texts {
            put_bytes(&mut out, text.as_bytes());
        }
    }
    out.push(0);
    out
}
