//! Kafka's topic settings: which there are, what they are by default, and those that this broker acts on.
//!
//! In: names and values as text; out: [`TopicSettings`], or what is wrong. Names that Kafka has and this broker has no use
//! for (replication, flushing, tiered storage) are kept and shown, and change nothing.

use std::collections::BTreeMap;

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
}

const fn known(name: &'static str, default: &'static str, kind: Kind) -> Known {
    Known { name, default, kind }
}

/// All topic settings of Kafka 4, with their defaults.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", "delete", Kind::List),
    known("compression.gzip.level", "-1", Kind::Int),
    known("compression.lz4.level", "9", Kind::Int),
    known("compression.type", "producer", Kind::Text),
    known("compression.zstd.level", "3", Kind::Int),
    known("delete.retention.ms", "86400000", Kind::Long),
    known("file.delete.delay.ms", "60000", Kind::Long),
    known("flush.messages", "9223372036854775807", Kind::Long),
    known("flush.ms", "9223372036854775807", Kind::Long),
    known("follower.replication.throttled.replicas", "", Kind::List),
    known("index.interval.bytes", "4096", Kind::Int),
    known("leader.replication.throttled.replicas", "", Kind::List),
    known("local.retention.bytes", "-2", Kind::Long),
    known("local.retention.ms", "-2", Kind::Long),
    known("max.compaction.lag.ms", "9223372036854775807", Kind::Long),
    known("max.message.bytes", "1048588", Kind::Int),
    known("message.timestamp.after.max.ms", "3600000", Kind::Long),
    known("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long),
    known("message.timestamp.type", "CreateTime", Kind::Text),
    known("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    known("min.compaction.lag.ms", "0", Kind::Long),
    known("min.insync.replicas", "1", Kind::Int),
    known("preallocate", "false", Kind::Boolean),
    known("remote.log.copy.disable", "false", Kind::Boolean),
    known("remote.log.delete.on.disable", "false", Kind::Boolean),
    known("remote.storage.enable", "false", Kind::Boolean),
    known("retention.bytes", "-1", Kind::Long),
    known("retention.ms", "604800000", Kind::Long),
    known("segment.bytes", "1073741824", Kind::Int),
    known("segment.index.bytes", "10485760", Kind::Int),
    known("segment.jitter.ms", "0", Kind::Long),
    known("segment.ms", "604800000", Kind::Long),
    known("unclean.leader.election.enable", "false", Kind::Boolean),
];

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
        if long("segment.bytes") < MIN_SEGMENT_BYTES {
            return invalid("segment.bytes", "at least 1048576");
        }
        for (name, least) in
            [("retention.ms", -1), ("retention.bytes", -1), ("segment.ms", 1), ("max.message.bytes", 0)]
        {
            if long(name) < least {
                return invalid(name, "not below its least value");
            }
        }
        for name in ["delete.retention.ms", "min.compaction.lag.ms", "min.insync.replicas"] {
            if long(name) < 0 {
                return invalid(name, "not negative");
            }
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
            delete_retention_ms: long("delete.retention.ms"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_cleanable_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            overrides,
        })
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        value_of(&self.overrides, name)
    }
}

fn value_of<'a>(overrides: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    let default = || KNOWN.iter().find(|known| known.name == name).map_or("", |known| known.default);
    overrides.get(name).map_or_else(default, String::as_str)
}

fn check_kind(known: &Known, value: &str) -> Result<(), SettingError> {
    let (right, expected) = match known.kind {
        Kind::Boolean => (matches!(value, "true" | "false"), "true or false"),
        Kind::Int => (value.parse::<i32>().is_ok(), "a number of 32 bits"),
        Kind::Long => (value.parse::<i64>().is_ok(), "a number of 64 bits"),
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
        ] {
            assert!(matches!(settings(&[(name, value)]), Err(SettingError::Invalid { .. })), "{name}={value}");
        }
    }

    #[test]
    fn both_policies_may_be_set() {
        let both = settings(&[("cleanup.policy", "compact,delete")]).unwrap();
        assert!(both.delete && both.compact);
    }
}
