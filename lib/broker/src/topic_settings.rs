//! Kafka's topic settings: which there are, what they are by default, and those that this broker acts on.
//!
//! In: names and values as text; out: [`TopicSettings`], or what is wrong. Names that Kafka has and this broker has no use
//! for (replication, flushing, tiered storage) are kept and shown, and change nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How Kafka reports a setting's type in DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Text,
    Int,
    Long,
    Double,
    List,
}

impl Kind {
    pub(crate) fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
        }
    }
}

pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// What a number must be between.
    range: RangeInclusive<i64>,
}

const fn known(name: &'static str, default: &'static str, kind: Kind) -> Known {
    between(name, default, kind, i64::MIN, i64::MAX)
}

const fn at_least(name: &'static str, default: &'static str, kind: Kind, least: i64) -> Known {
    between(name, default, kind, least, i64::MAX)
}

const fn between(name: &'static str, default: &'static str, kind: Kind, least: i64, most: i64) -> Known {
    Known { name, default, kind, range: RangeInclusive::new(least, most) }
}

/// All topic settings of Kafka 4, with their defaults.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", "delete", Kind::List),
    between("compression.gzip.level", "-1", Kind::Int, -1, 9),
    between("compression.lz4.level", "9", Kind::Int, 1, 17),
    known("compression.type", "producer", Kind::Text),
    between("compression.zstd.level", "3", Kind::Int, -131072, 22),
    at_least("delete.retention.ms", "86400000", Kind::Long, 0),
    at_least("file.delete.delay.ms", "60000", Kind::Long, 0),
    at_least("flush.messages", "9223372036854775807", Kind::Long, 1),
    at_least("flush.ms", "9223372036854775807", Kind::Long, 0),
    known("follower.replication.throttled.replicas", "", Kind::List),
    at_least("index.interval.bytes", "4096", Kind::Int, 0),
    known("leader.replication.throttled.replicas", "", Kind::List),
    at_least("local.retention.bytes", "-2", Kind::Long, -2),
    at_least("local.retention.ms", "-2", Kind::Long, -2),
    at_least("max.compaction.lag.ms", "9223372036854775807", Kind::Long, 1),
    at_least("max.message.bytes", "1048588", Kind::Int, 0),
    at_least("message.timestamp.after.max.ms", "3600000", Kind::Long, 0),
    at_least("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long, 0),
    known("message.timestamp.type", "CreateTime", Kind::Text),
    known("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    at_least("min.compaction.lag.ms", "0", Kind::Long, 0),
    at_least("min.insync.replicas", "1", Kind::Int, 1),
    known("preallocate", "false", Kind::Boolean),
    known("remote.log.copy.disable", "false", Kind::Boolean),
    known("remote.log.delete.on.disable", "false", Kind::Boolean),
    known("remote.storage.enable", "false", Kind::Boolean),
    known("retention.bytes", "-1", Kind::Long),
    at_least("retention.ms", "604800000", Kind::Long, -1),
    at_least("segment.bytes", "1073741824", Kind::Int, MIN_SEGMENT_BYTES),
    at_least("segment.index.bytes", "10485760", Kind::Int, 4),
    at_least("segment.jitter.ms", "0", Kind::Long, 0),
    at_least("segment.ms", "604800000", Kind::Long, 1),
    known("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// The broker's setting that a topic's default comes from, where Kafka has one with a default of its own.
pub(crate) fn broker_synonym(name: &str) -> Option<&str> {
    Some(match name {
        "cleanup.policy" => "log.cleanup.policy",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "flush.ms" | "retention.ms" | "segment.jitter.ms" | "segment.ms" => return None,
        other if other.starts_with("remote.") || other.ends_with(".throttled.replicas") => return None,
        same => same,
    })
}

/// Kafka 4 refuses smaller segments (KIP-1030).
const MIN_SEGMENT_BYTES: i64 = 1024 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicSettings {
    /// What was set for this topic, as text.
    pub(crate) overrides: BTreeMap<String, String>,
    pub(crate) delete: bool,
    pub(crate) compact: bool,
    pub(crate) retention_ms: i64,
    pub(crate) retention_bytes: i64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    pub(crate) max_message_bytes: usize,
    pub(crate) append_time: bool,
    /// How far a record's own time may lie behind and ahead of the broker's clock, in ms.
    pub(crate) max_behind_ms: i64,
    pub(crate) max_ahead_ms: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) min_cleanable_ratio: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("unknown topic setting {0}")]
    Unknown(String),
    #[error("invalid value {value} for {name}: {expected}")]
    Invalid { name: String, value: String, expected: &'static str },
}

impl SettingError {
    fn name(&self) -> &str {
        match self {
            SettingError::Unknown(name) | SettingError::Invalid { name, .. } => name,
        }
    }
}

impl TopicSettings {
    pub(crate) fn new(overrides: BTreeMap<String, String>) -> Result<Self, SettingError> {
        for (name, value) in &overrides {
            let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
                return Err(SettingError::Unknown(name.clone()));
            };
            check_kind(known, value)?;
        }
        let text = |name: &str| value_of(&overrides, name);
        let long = |name: &str| text(name).parse::<i64>().unwrap_or(0);
        let policies: Vec<&str> =
            text("cleanup.policy").split(',').map(str::trim).filter(|policy| !policy.is_empty()).collect();
        let invalid = |name: &str, expected| {
            Err(SettingError::Invalid { name: name.to_owned(), value: text(name).to_owned(), expected })
        };
        if policies.iter().any(|policy| !matches!(*policy, "delete" | "compact")) {
            return invalid("cleanup.policy", "delete, compact, or both");
        }
        if text("compression.gzip.level") == "0" {
            return invalid("compression.gzip.level", "-1, or 1 to 9");
        }
        if is_true(text("remote.storage.enable")) {
            return invalid("remote.storage.enable", "false: this broker has no tiered storage");
        }
        for name in ["follower.replication.throttled.replicas", "leader.replication.throttled.replicas"] {
            if !is_replica_list(text(name)) {
                return invalid(name, "pairs of partition:broker, or *");
            }
        }
        if long("max.compaction.lag.ms") < long("min.compaction.lag.ms") {
            return invalid("max.compaction.lag.ms", "at least min.compaction.lag.ms");
        }
        if !matches!(text("message.timestamp.type"), "CreateTime" | "LogAppendTime") {
            return invalid("message.timestamp.type", "CreateTime or LogAppendTime");
        }
        if !matches!(text("compression.type"), "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd") {
            return invalid("compression.type", "producer, uncompressed, gzip, snappy, lz4 or zstd");
        }
        Ok(Self {
            delete: policies.contains(&"delete"),
            compact: policies.contains(&"compact"),
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            segment_bytes: long("segment.bytes").cast_unsigned(),
            segment_ms: long("segment.ms"),
            max_message_bytes: usize::try_from(long("max.message.bytes")).unwrap_or(0),
            append_time: text("message.timestamp.type") == "LogAppendTime",
            max_behind_ms: long("message.timestamp.before.max.ms"),
            max_ahead_ms: long("message.timestamp.after.max.ms"),
            delete_retention_ms: long("delete.retention.ms"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_cleanable_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            overrides,
        })
    }

    /// Of settings that an earlier version wrote: what this one refuses is left out, and told.
    pub(crate) fn recovered(mut overrides: BTreeMap<String, String>) -> (Self, Vec<SettingError>) {
        let mut refused = Vec::new();
        loop {
            match Self::new(overrides.clone()) {
                Ok(settings) => return (settings, refused),
                Err(problem) => {
                    if overrides.remove(problem.name()).is_none() {
                        // A rule over two settings, of which one is at its default.
                        overrides.clear();
                    }
                    refused.push(problem);
                }
            }
        }
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        value_of(&self.overrides, name)
    }
}

fn value_of<'a>(overrides: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    let default = || KNOWN.iter().find(|known| known.name == name).map_or("", |known| known.default);
    overrides.get(name).map_or_else(default, String::as_str)
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

fn is_replica_list(value: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair =
        |item: &str| item.split_once(':').is_some_and(|(left, right)| number(left.trim()) && number(right.trim()));
    value.is_empty() || value == "*" || value.split(',').all(pair)
}

fn check_kind(known: &Known, value: &str) -> Result<(), SettingError> {
    let in_range = |number: Option<i64>| number.is_some_and(|number| known.range.contains(&number));
    let (right, expected) = match known.kind {
        Kind::Boolean => (is_true(value) || value.eq_ignore_ascii_case("false"), "true or false"),
        Kind::Int => (in_range(value.parse::<i32>().ok().map(i64::from)), "a number of 32 bits in the setting's range"),
        Kind::Long => (in_range(value.parse().ok()), "a number of 64 bits in the setting's range"),
        Kind::Double => (value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)), "a number from 0 to 1"),
        Kind::Text | Kind::List => (true, ""),
    };
    if right {
        return Ok(());
    }
    Err(SettingError::Invalid { name: known.name.to_owned(), value: value.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<TopicSettings, SettingError> {
        TopicSettings::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn defaults_are_kafkas() {
        let defaults = settings(&[]).unwrap();
        assert!(defaults.delete && !defaults.compact);
        assert_eq!((defaults.retention_ms, defaults.max_message_bytes), (604_800_000, 1_048_588));
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused() {
        assert_eq!(settings(&[("retention.mss", "1")]), Err(SettingError::Unknown("retention.mss".to_owned())));
        for (name, value) in [
            ("retention.ms", "x"),
            ("cleanup.policy", "shred"),
            ("segment.bytes", "100"),
            ("min.cleanable.dirty.ratio", "2"),
            ("min.insync.replicas", "0"),
            ("flush.messages", "0"),
            ("compression.gzip.level", "0"),
            ("compression.zstd.level", "23"),
            ("follower.replication.throttled.replicas", "x"),
            ("remote.storage.enable", "true"),
        ] {
            assert!(matches!(settings(&[(name, value)]), Err(SettingError::Invalid { .. })), "{name}={value}");
        }
    }

    #[test]
    fn what_an_earlier_version_took_and_this_one_refuses_is_left_out_alone() {
        let pairs = [("retention.ms", "5"), ("flush.messages", "0"), ("min.compaction.lag.ms", "9")];
        let overrides = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (settings, refused) = TopicSettings::recovered(overrides.into());
        assert_eq!((settings.retention_ms, settings.min_compaction_lag_ms), (5, 9));
        assert!(matches!(&refused[..], [SettingError::Invalid { name, .. }] if name == "flush.messages"));
    }

    #[test]
    fn both_policies_may_be_set() {
        let both = settings(&[("cleanup.policy", "compact,delete")]).unwrap();
        assert!(both.delete && both.compact);
    }
}
