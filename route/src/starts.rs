//! From when on each route acts, fixed durably when the route is first enabled.
//!
//! A record per route in the compacted topic `hirewire.internal.route.v1`. Of several records of a route (two
//! replicas that start together) the first in the log counts for ever: whoever sees a later one writes the first one
//! again, so that compaction keeps what counts (docs/adr: route starts).

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use hirewire_kafka::{Isolation, Producer, Record, Settings, Stop, partition_for, read_table};
use hirewire_registry::{Codec, frame};
use hirewire_schemas::Names;
use jiff::Timestamp;

/// The route's topic and what is needed to read it.
pub(crate) struct Starts {
    settings: Settings,
    codec: Codec,
    topic: Arc<str>,
    partitions: i32,
}

/// What is known of a route in the log: the values in their order.
type Known = BTreeMap<String, Vec<Bytes>>;

impl Starts {
    pub(crate) fn new(settings: &Settings, names: &Names, codec: Codec, partitions: i32) -> Self {
        Self { settings: settings.clone(), codec, topic: names.internal("route").into(), partitions }
    }

    /// The instants from which on these routes (name and sink) act. A route that is new begins now.
    ///
    /// # Errors
    /// When Kafka or the registry is away, or the topic holds something else.
    pub(crate) async fn fix(
        &self,
        producer: &Producer,
        routes: &[(Arc<str>, Arc<str>)],
    ) -> Result<BTreeMap<Arc<str>, Timestamp>, Stop> {
        let mut known = self.read().await?;
        let fresh: Vec<_> = routes.iter().filter(|(route, _)| !known.contains_key(&**route)).collect();
        for (route, sink) in &fresh {
            let now = to_the_second(Timestamp::now());
            self.write(producer, route, self.encode(route, sink, now).await?).await?;
            tracing::info!(%route, %sink, from = %now, "the route is enabled for the first time: it acts from now on");
        }
        if !fresh.is_empty() {
            known = self.read().await?;
        }
        let mut starts = BTreeMap::new();
        for (route, _) in routes {
            let values = known.get(&**route).map(Vec::as_slice).unwrap_or_default();
            let first = values.first().ok_or_else(|| {
                Stop::retryable("route-start-lost", format!("the start of route {route} was written and is not there"))
            })?;
            if values.last() != Some(first) {
                self.write(producer, route, first.clone()).await?;
            }
            starts.insert(Arc::clone(route), self.decode(route, first).await?);
        }
        Ok(starts)
    }

    /// The starts that stand in the log, of all routes that ever had one. Writes nothing.
    ///
    /// # Errors
    /// As [`Self::fix`].
    pub(crate) async fn known(&self) -> Result<BTreeMap<Arc<str>, Timestamp>, Stop> {
        let mut starts = BTreeMap::new();
        for (route, values) in self.read().await? {
            if let Some(first) = values.first() {
                let at = self.decode(&route, first).await?;
                starts.insert(route.into(), at);
            }
        }
        Ok(starts)
    }

    async fn read(&self) -> Result<Known, Stop> {
        let (settings, topic, partitions) = (self.settings.clone(), Arc::clone(&self.topic), self.partitions);
        let reading = tokio::task::spawn_blocking(move || {
            let mut known = Known::new();
            for partition in 0..partitions {
                read_table(&settings, &topic, partition, 0, Isolation::Committed, &mut |inbound| {
                    if let (Some(key), Some(value)) = (inbound.key, inbound.value) {
                        known.entry(String::from_utf8_lossy(&key).into_owned()).or_default().push(value);
                    }
                    Ok(())
                })?;
            }
            Ok(known)
        });
        reading.await.map_err(|error| Stop::retryable("route-start-unread", error.to_string()))?
    }

    pub(crate) async fn write(&self, producer: &Producer, route: &str, value: Bytes) -> Result<(), Stop> {
        let record = Record {
            topic: Arc::clone(&self.topic),
            partition: Some(partition_for(route.as_bytes(), self.partitions)),
            key: Some(Bytes::from(route.to_owned())),
            value: Some(value),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let sent = producer.send(record).await;
        sent.map(drop).map_err(|error| Stop::retryable("route-start-unwritten", error.to_string()))
    }

    pub(crate) async fn encode(&self, route: &str, sink: &str, from: Timestamp) -> Result<Bytes, Stop> {
        let schema = schema()?;
        let subject = Names::value_subject(&self.topic);
        let away = |error: hirewire_registry::CodecError| Stop::retryable("registry-unavailable", error.to_string());
        let id = self.codec.id_for(&subject, &schema.text).await.map_err(away)?;
        let value = Avro::Record(vec![
            ("route".to_owned(), Avro::String(route.to_owned())),
            ("sink".to_owned(), Avro::String(sink.to_owned())),
            ("from".to_owned(), Avro::TimestampMicros(from.as_microsecond())),
            ("enabled_at".to_owned(), Avro::TimestampMicros(Timestamp::now().as_microsecond())),
        ]);
        let mut framed = Vec::new();
        frame(id, &mut framed);
        let writer = GenericDatumWriter::builder(&schema.avro).build();
        let datum = writer.and_then(|writer| writer.write_value_to_vec(value));
        framed.extend(datum.map_err(|error| Stop::permanent("route-start-schema", error.to_string()))?);
        Ok(framed.into())
    }

    async fn decode(&self, route: &str, framed: &[u8]) -> Result<Timestamp, Stop> {
        let value = self.codec.decode_as(framed, &schema()?.avro).await.map_err(|error| {
            let what = format!("the start of route {route}: {error}");
            if error.is_retryable() {
                Stop::retryable("registry-unavailable", what)
            } else {
                Stop::permanent("route-start-unreadable", what)
            }
        })?;
        from_of(value).ok_or_else(|| {
            Stop::permanent("route-start-unreadable", format!("the start of route {route} is no RouteStart"))
        })
    }
}

fn schema() -> Result<&'static hirewire_schemas::RecordSchema, Stop> {
    hirewire_schemas::schema("RouteStart")
        .ok_or_else(|| Stop::permanent("route-start-schema", "this build has no schema RouteStart"))
}

fn from_of(value: Avro) -> Option<Timestamp> {
    let Avro::Record(fields) = value else { return None };
    let (_, from) = fields.into_iter().find(|(name, _)| name == "from")?;
    match from {
        Avro::TimestampMicros(micros) => Timestamp::from_microsecond(micros).ok(),
        _ => None,
    }
}

/// Vendors' clocks often show whole seconds: a change in the second of the enabling counts as after it.
fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
