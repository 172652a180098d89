//! What a route is about to change at a source, told before it is done.
//!
//! In: a request that writes back, and what it is made of. Out: a record of `hirewire.internal.write-back.v1`, acknowledged before
//! the first attempt, in the partition of the application: normalize knows by it that the change which comes back is ours. A
//! delivery that is begun again tells the same again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hirewire_kafka::{Producer, Record};
use hirewire_registry::{Codec, frame};
use hirewire_schemas::records::{Put, WriteBack};
use hirewire_schemas::{Names, ids};
use hirewire_yaml::{Node, Problems};
use jiff::Timestamp;
use serde_json::Value;

use crate::context::Part;
use crate::event::Event;
use crate::request::condition::read_path;
use crate::request::parts::Parts;
use crate::request::path::{Path, Scope};
use crate::route::Route;

/// The internal topic's name, as `Names::internal` takes it.
pub(crate) const TOPIC: &str = "write-back";
/// How long after it was told a change may come back. Attempts, and a sink that is held, are in between.
const EXPLAINS_FOR: Duration = Duration::from_secs(24 * 3600);

/// What a request changes at the source of its application.
#[derive(Debug, Clone)]
pub(crate) struct WritesBack {
    action: String,
    /// Where the source's id of the stage stands that it moves to.
    to_stage: Option<Path>,
}

impl WritesBack {
    /// Reads `{action: move, to_stage: settings.stage}`.
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let action = map.require("action", problems).and_then(|node| node.name(problems)).map(str::to_owned);
        let to_stage = map.get("to_stage").map_or(Some(None), |node| read_path(node, problems).map(Some));
        map.finish(problems);
        Some(Self { action: action?, to_stage: to_stage? })
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.to_stage.iter()
    }

    /// # Errors
    /// What must be known of it and is not.
    pub(crate) fn intent(&self, of: &Parts, route: &Route, event: &Event) -> Result<WriteBack, Vec<String>> {
        let text = |name: &str| {
            let meta = of.get(Part::Application.name()).and_then(|application| application.get("meta"));
            let found = meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
            found.map(str::to_owned).ok_or_else(|| vec![format!("application.meta.{name}")])
        };
        let (tenant_id, connection_id, application_id) = (text("tenant_id")?, text("connection_id")?, text("id")?);
        let to_stage_id = match &self.to_stage {
            None => None,
            Some(path) => {
                let stage = path.find(Scope::of(of)).and_then(Value::as_str);
                let stage = stage.ok_or_else(|| vec![path.to_string()])?;
                Some(ids::canonical_id(&tenant_id, &connection_id, "Stage", stage).to_string())
            }
        };
        let now = Timestamp::now().as_microsecond();
        let lasts = i64::try_from(EXPLAINS_FOR.as_micros()).unwrap_or(i64::MAX);
        Ok(WriteBack {
            tenant_id,
            connection_id,
            application_id,
            route: route.name.to_string(),
            idempotency_key: route.key(event.event_id()).to_string(),
            action: self.action.clone(),
            to_stage_id,
            to_status: None,
            cause_event_id: Some(event.event_id().to_owned()),
            intended_at: now,
            expires_at: Some(now.saturating_add(lasts)),
        })
    }
}

/// The topic of intents.
pub(crate) struct Intents {
    producer: Producer,
    codec: Codec,
    topic: Arc<str>,
}

impl Intents {
    pub(crate) fn new(producer: Producer, codec: Codec, names: &Names) -> Self {
        Self { producer, codec, topic: names.internal(TOPIC).into() }
    }

    /// Returns when it is safe.
    ///
    /// # Errors
    /// Why it is not; it is tried again until it is.
    pub(crate) async fn put(&self, intent: &WriteBack) -> Result<(), String> {
        let schema = hirewire_schemas::schema("WriteBack").ok_or("this build has no schema WriteBack")?;
        let subject = Names::value_subject(&self.topic);
        let id = self.codec.id_for(&subject, &schema.text).await.map_err(|error| error.to_string())?;
        let mut value = Vec::new();
        frame(id, &mut value);
        intent.put(&mut value);
        let record = Record {
            topic: Arc::clone(&self.topic),
            // By its key, as all that belongs to the application.
            partition: None,
            key: Some(Bytes::from(intent.application_id.clone())),
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        self.producer.send(record).await.map(drop).map_err(|error| error.to_string())
    }
}
