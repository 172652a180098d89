//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs: topic settings are real, the broker's are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::{AlterConfigsResourceResponse as Altered, AlterConfigsResponse};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse as IncrementallyAltered, IncrementalAlterConfigsResponse,
};
use kafka_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::topics::{Refusal, refuse, setting_refusal, storage};
use super::{durable_if, text};
use crate::core::Core;
use crate::log::journal::Frame;
use crate::topic_settings::{KNOWN, Kind, TopicSettings, broker_synonym};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(crate) const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
pub(crate) const SOURCE_DEFAULT: i8 = 5;

struct Shown {
    name: String,
    value: String,
    kind: Kind,
    source: i8,
    read_only: bool,
    /// The broker's setting behind it, and its value.
    default: Option<(&'static str, &'static str)>,
}

pub(crate) fn describe(core: &Core, request: DescribeConfigsRequest, version: i16) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_error_message(None)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match settings_of(core, &resource) {
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(Some(text(&message))),
            Ok(shown) => {
                // No keys or an empty list: all.
                let keys = resource.configuration_keys.as_deref().unwrap_or_default();
                let wanted = |shown: &Shown| keys.is_empty() || keys.iter().any(|key| key.as_str() == shown.name);
                let configs = shown.iter().filter(|shown| wanted(shown));
                let entry = |shown: &Shown| show(shown, request.include_synonyms, version);
                result.with_configs(configs.map(entry).collect())
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn show(shown: &Shown, with_synonyms: bool, version: i16) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_documentation(None)
        .with_name(text(&shown.name))
        .with_value(Some(text(&shown.value)))
        .with_read_only(shown.read_only)
        .with_config_source(shown.source);
    let mut synonyms = Vec::new();
    if with_synonyms {
        let synonym = |name: &str, value: &str, source| {
            DescribeConfigsSynonym::default().with_name(text(name)).with_value(Some(text(value))).with_source(source)
        };
        if shown.source != SOURCE_DEFAULT {
            synonyms.push(synonym(&shown.name, &shown.value, shown.source));
        }
        synonyms.extend(shown.default.map(|(name, default)| synonym(name, default, SOURCE_DEFAULT)));
    }
    let result = result.with_synonyms(synonyms);
    if version >= 3 { result.with_config_type(shown.kind.code()) } else { result }
}

fn settings_of(core: &Core, resource: &DescribeConfigsResource) -> Result<Vec<Shown>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            let Some(topic) = core.topics.get(name) else {
                return refuse(ResponseError::UnknownTopicOrPartition, format!("no topic {name}"));
            };
            let shown = KNOWN.iter().map(|known| Shown {
                name: known.name.to_owned(),
                value: topic.settings.value(known.name).to_owned(),
                kind: known.kind,
                source: if topic.settings.overrides.contains_key(known.name) { SOURCE_TOPIC } else { SOURCE_DEFAULT },
                read_only: false,
                default: broker_synonym(known.name).map(|synonym| (synonym, known.default)),
            });
            Ok(shown.collect())
        }
        BROKER if name.is_empty() || name == core.settings.node_id.to_string() => Ok(broker_settings(core)),
        BROKER => refuse(ResponseError::InvalidRequest, format!("no broker {name}")),
        other => refuse(ResponseError::InvalidRequest, format!("no settings for resources of type {other}")),
    }
}

fn broker_settings(core: &Core) -> Vec<Shown> {
    let settings = &core.settings;
    let entry = |name: &str, value: String, kind| Shown {
        name: name.to_owned(),
        value,
        kind,
        source: SOURCE_STATIC_BROKER,
        read_only: true,
        default: None,
    };
    let (host, port) = core.endpoint();
    let protocol = match (settings.users.is_empty(), &settings.tls) {
        (true, None) => "PLAINTEXT",
        (true, Some(_)) => "SSL",
        (false, None) => "SASL_PLAINTEXT",
        (false, Some(_)) => "SASL_SSL",
    };
    vec![
        entry("advertised.listeners", format!("{protocol}://{host}:{port}"), Kind::Text),
        entry("auto.create.topics.enable", settings.auto_create_topics.to_string(), Kind::Boolean),
        entry("broker.id", settings.node_id.to_string(), Kind::Int),
        entry("default.replication.factor", "1".to_owned(), Kind::Int),
        entry("group.max.session.timeout.ms", settings.max_session_timeout.as_millis().to_string(), Kind::Int),
        entry("group.min.session.timeout.ms", settings.min_session_timeout.as_millis().to_string(), Kind::Int),
        entry("log.dirs", settings.data_dir.display().to_string(), Kind::Text),
        entry("num.partitions", settings.default_partitions.to_string(), Kind::Int),
        entry("offsets.retention.minutes", (settings.offsets_retention.as_secs() / 60).to_string(), Kind::Int),
        entry("socket.request.max.bytes", settings.max_request_bytes.to_string(), Kind::Int),
        entry("transaction.max.timeout.ms", settings.max_transaction_timeout.as_millis().to_string(), Kind::Int),
    ]
}

/// Replaces all settings of a topic.
pub(crate) async fn alter(core: &Arc<Core>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let changes = resource.configs.iter().map(|config| {
            let change = config.value.as_ref().map_or(Change::Remove, |value| Change::Set(value.to_string()));
            (config.name.to_string(), change)
        });
        Wanted { kind: resource.resource_type, changes: Ok(changes.collect()), name: resource.resource_name }
    });
    let answers = change_all(core, wanted.collect(), true, request.validate_only).await;
    let responses = answers.into_iter().map(|answer| {
        Altered::default()
            .with_error_code(answer.code)
            .with_error_message(answer.message)
            .with_resource_type(answer.kind)
            .with_resource_name(answer.name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes the named settings of a topic.
pub(crate) async fn alter_incrementally(
    core: &Arc<Core>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let wanted = request.resources.into_iter().map(|resource| {
        let changes = resource.configs.iter().map(|config| {
            let value = config.value.as_ref().map(ToString::to_string).unwrap_or_default();
            let change = match config.config_operation {
                0 => Change::Set(value),
                1 => Change::Remove,
                2 => Change::Append(value),
                3 => Change::Subtract(value),
                other => return refuse(ResponseError::InvalidRequest, format!("no operation {other}")),
            };
            Ok((config.name.to_string(), change))
        });
        Wanted { kind: resource.resource_type, changes: changes.collect(), name: resource.resource_name }
    });
    let answers = change_all(core, wanted.collect(), false, request.validate_only).await;
    let responses = answers.into_iter().map(|answer| {
        IncrementallyAltered::default()
            .with_error_code(answer.code)
            .with_error_message(answer.message)
            .with_resource_type(answer.kind)
            .with_resource_name(answer.name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// What is asked of one resource, in either request.
struct Wanted {
    kind: i8,
    name: StrBytes,
    changes: Result<Vec<(String, Change)>, Refusal>,
}

/// What is answered about one resource, in either response.
struct Answer {
    kind: i8,
    name: StrBytes,
    code: i16,
    message: Option<StrBytes>,
}

/// Changes one resource after the other; what was changed is durable when the answers are there.
async fn change_all(core: &Core, wanted: Vec<Wanted>, replace: bool, validate_only: bool) -> Vec<Answer> {
    let one = |Wanted { kind, name, changes }| {
        let changed = changes.and_then(|changes| change(core, kind, name.as_str(), changes, replace, validate_only));
        let (code, message) = match changed {
            Ok(()) => (0, None),
            Err((error, message)) => (error.code(), Some(text(&message))),
        };
        Answer { kind, name, code, message }
    };
    let answers: Vec<Answer> = wanted.into_iter().map(one).collect();
    durable_if(core, answers.iter().any(|answer| answer.code == 0)).await;
    answers
}

enum Change {
    Set(String),
    Remove,
    Append(String),
    Subtract(String),
}

fn change(
    core: &Core,
    resource_type: i8,
    name: &str,
    changes: Vec<(String, Change)>,
    replace: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    storage(core)?;
    if resource_type != TOPIC {
        return refuse(ResponseError::InvalidRequest, "only settings of topics can be changed");
    }
    core.topics.change(|map| {
        let Some(old) = map.get(name).cloned() else {
            return refuse(ResponseError::UnknownTopicOrPartition, format!("no topic {name}"));
        };
        let mut overrides = if replace { BTreeMap::new() } else { old.settings.overrides.clone() };
        for (setting, change) in changes {
            let items = |of: &str| -> Vec<String> {
                of.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            };
            let present = items(old.settings.value(&setting));
            match change {
                Change::Set(value) => overrides.insert(setting, value),
                Change::Remove => overrides.remove(&setting),
                Change::Append(value) => {
                    let mut all = present;
                    all.extend(items(&value));
                    all.dedup();
                    overrides.insert(setting, all.join(","))
                }
                Change::Subtract(value) => {
                    let gone = items(&value);
                    let left: Vec<String> = present.into_iter().filter(|item| !gone.contains(item)).collect();
                    overrides.insert(setting, left.join(","))
                }
            };
        }
        let settings = TopicSettings::new(overrides).map_err(|problem| setting_refusal(&problem))?;
        if !validate_only {
            let topic = core.topics.build(old.id, old.name.clone(), settings, old.partition_count(), Some(&old));
            core.journal.submit(Frame::of(&topic.op()));
            map.put(Arc::new(topic));
        }
        Ok(())
    })
}
