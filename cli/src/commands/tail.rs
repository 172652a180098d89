//! `hirewire tail TOPIC`: a topic's records as JSON lines, read without a group and without a trace.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use apache_avro::Schema;
use clap::Args;
use hirewire_kafka::{Inbound, Isolation, Settings, TableFollower, TableStart};
use hirewire_registry::{Access, Codec};
use hirewire_schemas::Names;
use hirewire_service::Shutdown;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::config::{ConfigFile, Secrets};
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct TailArguments {
    /// `stage-change`, `application`, any other entity, or a topic's full name.
    topic: String,
    #[arg(long, default_value = "127.0.0.1:9092")]
    brokers: String,
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    registry: String,
    /// What stands in front of the deployment's topic names.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Takes brokers, registry and prefix from a configuration, with their TLS and passwords.
    #[arg(long, conflicts_with_all = ["brokers", "registry", "prefix"])]
    config: Option<PathBuf>,
    /// Only records of this key.
    #[arg(long)]
    key: Option<String>,
    /// Ends after so many records.
    #[arg(long)]
    limit: Option<usize>,
    /// Goes on with new records instead of ending at what is there now.
    #[arg(long, short)]
    follow: bool,
}

/// Without --follow: nothing new for this long after the end was reached means that all was printed.
const QUIET: Duration = Duration::from_millis(300);

impl TailArguments {
    pub(crate) async fn run(self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let (kafka, registry, names) = match &self.config {
            Some(file) => {
                let config = ConfigFile { config: file.clone() }.read(vendors, Secrets::NONE)?;
                (config.kafka, config.registry, config.names)
            }
            None => (Settings::local(&self.brokers), Access::plain(&self.registry), Names::new(&self.prefix)),
        };
        let topic =
            if self.topic.contains('.') { self.topic.clone() } else { names.full(&format!("ats.{}.v1", self.topic)) };
        let codec = Codec::new(&registry)?;
        let settings = kafka.with_role("tail");
        let (records, mut received) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let follower = tokio::task::spawn_blocking(move || {
            TableFollower::start(&settings, &[topic], TableStart::new(), Isolation::Committed, stop, move |inbound| {
                let _gone = records.send(inbound).is_err();
            })
        })
        .await??;
        let mut printed = 0;
        while self.limit.is_none_or(|limit| printed < limit) {
            let inbound = tokio::select! {
                Some(inbound) = received.recv() => inbound,
                () = tokio::time::sleep(QUIET) => {
                    if !self.follow && follower.caught_up() {
                        break;
                    }
                    continue;
                }
                _ = tokio::signal::ctrl_c() => break,
            };
            if self.key.as_deref().is_none_or(|key| inbound.key.as_deref() == Some(key.as_bytes())) {
                out::line(&shown(&inbound, &codec).await?.to_string());
                printed += 1;
            }
        }
        shutdown.request();
        tokio::task::spawn_blocking(move || drop(follower)).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One record, decoded if it is Avro, as text if it is text.
async fn shown(inbound: &Inbound, codec: &Codec) -> anyhow::Result<Value> {
    let key = inbound.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    let value = match inbound.value.as_deref() {
        None => Value::Null,
        Some(bytes) => value_of(bytes, codec).await?,
    };
    let headers: serde_json::Map<String, Value> =
        inbound.headers.iter().map(|(name, value)| (name.clone(), json!(String::from_utf8_lossy(value)))).collect();
    Ok(json!({
        "partition": inbound.partition,
        "offset": inbound.offset,
        "timestamp_ms": inbound.timestamp_ms,
        "key": key,
        "headers": headers,
        "value": value,
    }))
}

/// Decoded if it is Avro, as text if it is text.
pub(super) async fn value_of(bytes: &[u8], codec: &Codec) -> anyhow::Result<Value> {
    match bytes.first() {
        Some(0) => decoded(bytes, codec).await,
        _ => Ok(serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))),
    }
}

/// Framed Avro → the JSON of `hirewire map`, by the schema that it was written with.
async fn decoded(framed: &[u8], codec: &Codec) -> anyhow::Result<Value> {
    let (id, bytes) = hirewire_registry::unframe(framed)?;
    let schema: &Schema = codec.schema(id).await?;
    let text = hirewire_mapping::show_record(schema, bytes)
        .context("the bytes are not of the schema that their frame names")?;
    Ok(serde_json::from_str(&text)?)
}
