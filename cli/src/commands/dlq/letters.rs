//! Dead letters and marks as they are read: a Kafka record in, what `list` shows out. No value is kept.

use std::collections::HashMap;

use bytes::Bytes;
use hirewire_kafka::{Inbound, Record};
use hirewire_route::replay::{self, Place};
use hirewire_schemas::Names;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::shown_state;

pub(super) const PURGED: &str = "purged";

/// What was done with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// `replayed` or `purged`, and when.
    Done {
        what: String,
        at: String,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) place: Place,
    /// `None`: the headers that every dead letter has are missing.
    pub(super) origin: Option<Place>,
    /// `None`: of normalize.
    pub(super) sink: Option<String>,
    pub(super) route: Option<String>,
    pub(super) code: String,
    pub(super) connection: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) failed_at: Timestamp,
    pub(super) attempts: Option<String>,
    pub(super) key: Option<Bytes>,
    pub(super) value_bytes: Option<usize>,
    pub(super) state: State,
}

/// `ats.dlq.` and `.v1` around what names a dead-letter topic among people.
pub(super) fn short<'a>(topic: &'a str, names: &Names) -> Option<&'a str> {
    topic.strip_prefix(&names.full("ats.dlq."))?.strip_suffix(".v1")
}

impl Letter {
    /// `None`: the topic is none of dead letters.
    pub(super) fn read(inbound: &Inbound, names: &Names) -> Option<Self> {
        let short = short(&inbound.topic, names)?;
        // Of a header that the record itself had too, ours is the last.
        let header = |name: &str| {
            let (_, value) = inbound.headers.iter().rev().find(|(header, _)| header == name)?;
            std::str::from_utf8(value).ok().map(str::to_owned)
        };
        let number = |name: &str| header(name)?.parse::<i64>().ok();
        let origin = header("__connect.errors.topic").and_then(|topic| {
            let partition = i32::try_from(number("__connect.errors.partition")?).ok()?;
            Some(Place { topic, partition, offset: number("__connect.errors.offset")? })
        });
        let failed_at = header("dlq.first_failed_at").and_then(|at| at.parse().ok());
        let written_at = || Timestamp::from_millisecond(inbound.timestamp_ms).unwrap_or_default();
        Some(Self {
            place: Place { topic: inbound.topic.to_string(), partition: inbound.partition, offset: inbound.offset },
            origin,
            sink: short.strip_prefix("route.").map(str::to_owned),
            route: header("dlq.route").filter(|route| !route.is_empty()),
            code: header("dlq.reason").unwrap_or_else(|| "?".to_owned()),
            connection: header("hirewire-connection"),
            tenant: header("hirewire-tenant"),
            failed_at: failed_at.unwrap_or_else(written_at),
            attempts: header("dlq.attempts"),
            key: inbound.key.clone(),
            value_bytes: inbound.value.as_ref().map(Bytes::len),
            state: State::Open,
        })
    }

    pub(super) fn id(&self, names: &Names) -> String {
        let topic = short(&self.place.topic, names).unwrap_or(&self.place.topic);
        format!("{topic}/{}/{}", self.place.partition, self.place.offset)
    }

    /// Whether this is the id's letter, if partition and offset are: its topic is.
    pub(super) fn is_named(&self, id: &str) -> bool {
        let topic = id.rsplitn(3, '/').nth(2).unwrap_or_default();
        self.place.topic.ends_with(&format!("ats.dlq.{topic}.v1"))
    }

    fn key_text(&self) -> String {
        self.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default()
    }

    pub(super) fn row(&self, names: &Names) -> [String; 6] {
        let whose = self.connection.clone().or_else(|| self.route.clone()).unwrap_or_default();
        let at = shown(self.failed_at);
        [self.id(names), self.code.clone(), at, whose, self.key_text(), shown_state(&self.state)]
    }

    pub(super) fn json(&self, names: &Names) -> Value {
        json!({
            "id": self.id(names), "code": self.code, "failed_at": shown(self.failed_at), "attempts": self.attempts,
            "sink": self.sink, "route": self.route, "connection": self.connection, "tenant": self.tenant,
            "key": self.key_text(), "value_bytes": self.value_bytes,
            "origin": self.origin.as_ref().map(ToString::to_string), "state": shown_state(&self.state),
        })
    }

    /// The record that says what was done with it; a sink's replay is one by itself.
    pub(super) fn mark(&self, topic: &str, what: &str) -> Record {
        let mut headers = vec![
            (replay::OF, self.place.to_string()),
            (replay::MARK, what.to_owned()),
            (replay::AT, shown(Timestamp::now())),
        ];
        headers.extend(self.origin.as_ref().map(|origin| (replay::ORIGIN, origin.to_string())));
        Record {
            topic: topic.into(),
            partition: Some(self.place.partition),
            key: self.key.clone(),
            value: None,
            headers: headers.into_iter().map(|(name, value)| (name.into(), Bytes::from(value))).collect(),
            timestamp_ms: None,
        }
    }
}

/// To the second: an offset tells two of a second apart.
pub(super) fn shown(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// What was done with one dead letter.
pub(super) struct Mark {
    of: Option<Place>,
    /// A topic that was deleted and made again has the same offsets for other records: this tells them apart.
    origin: Option<Place>,
    state: State,
}

impl Mark {
    pub(super) fn read(inbound: &Inbound) -> Self {
        let header = |name: &str| inbound.header_str(name);
        let place = |name: &str| header(name)?.parse().ok();
        let text = |name: &str| header(name).unwrap_or("?").to_owned();
        Self {
            of: place(replay::OF),
            origin: place(replay::ORIGIN),
            state: State::Done { what: text(replay::MARK), at: text(replay::AT) },
        }
    }
}

#[derive(Default)]
pub(super) struct Marks(HashMap<(Place, Option<Place>), State>);

/// Of several marks on one the last counts, but what was purged stays purged.
pub(super) fn marks(all: Vec<Mark>) -> Marks {
    let mut marks = HashMap::new();
    for mark in all {
        if let Some(of) = mark.of {
            let state = marks.entry((of, mark.origin)).or_insert(State::Open);
            if !is_purged(state) {
                *state = mark.state;
            }
        }
    }
    Marks(marks)
}

pub(super) fn is_purged(state: &State) -> bool {
    matches!(state, State::Done { what, .. } if what == PURGED)
}

impl Marks {
    pub(super) fn state(&self, letter: &Letter) -> State {
        self.0.get(&(letter.place.clone(), letter.origin.clone())).cloned().unwrap_or(State::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())));
        let inbound = Inbound {
            topic: "p-ats.dlq.route.pay.v1".into(),
            partition: 2,
            offset: 9,
            timestamp_ms: 1_000,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"secret")),
            headers: headers.collect(),
        };
        Letter::read(&inbound, &Names::new("p-")).unwrap()
    }

    #[test]
    fn a_mark_is_of_one_dead_letter_even_if_its_topic_was_made_again() {
        let origin = |offset| {
            [
                ("__connect.errors.topic", "p-ats.stage-change.v1"),
                ("__connect.errors.partition", "2"),
                ("__connect.errors.offset", offset),
            ]
        };
        let (first, second) = (letter(&origin("5")), letter(&origin("6")));
        let mark = |letter: &Letter, what: &str| {
            let record = letter.mark("m", what);
            let headers = record.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            let (topic, key, value) = (record.topic, record.key, record.value);
            Mark::read(&Inbound { topic, partition: 2, offset: 0, timestamp_ms: 0, key, value, headers })
        };
        let seen = marks(vec![mark(&first, "replayed")]);
        assert!(matches!(seen.state(&first), State::Done { what, .. } if what == "replayed"));
        assert_eq!(seen.state(&second), State::Open);
        assert!(is_purged(&marks(vec![mark(&first, "purged"), mark(&first, "replayed")]).state(&first)));
    }

    #[test]
    fn what_is_shown_has_its_id_and_nothing_of_the_value() {
        let letter =
            letter(&[("dlq.reason", "ROUTE_REJECTED"), ("dlq.route", "pay"), ("dlq.reason", "ROUTE_UNSTORABLE")]);
        let json = letter.json(&Names::new("p-"));
        assert_eq!(
            (&json["id"], &json["code"], &json["value_bytes"]),
            (&json!("route.pay/2/9"), &json!("ROUTE_UNSTORABLE"), &json!(6))
        );
        assert_eq!(json["failed_at"], "1970-01-01T00:00:01Z");
        assert!(!json.to_string().contains("secret"));
    }
}
