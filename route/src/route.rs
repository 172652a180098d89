//! A route: which changes go to its sink, and from when on.
//!
//! Only what happens from now on acts: a route of an acting system takes LIVE changes alone, that happened after the
//! route's start and are known from more than a first load or history. A system that records takes everything.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::event::Event;
use crate::request::RequestPlan;
use crate::request::condition::Condition;
use crate::row::TablePlan;
use crate::system::{System, Takes};

/// The namespace of idempotency keys: a random UUID, fixed for ever.
const KEYS: Uuid = Uuid::from_u128(0x6f0d_7d0e_53f4_4c5b_9a3e_2c6c_27be_91a4);

#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) system: Arc<System>,
    pub(crate) when: Condition,
    /// `None`: from the beginning.
    pub(crate) start: Option<Timestamp>,
    /// Whether corrections go to an acting system too.
    pub(crate) corrections: bool,
    /// How long a delivery waits for what its request requires.
    pub(crate) requires_within: Duration,
}

/// What a route does with a record.
#[derive(Debug)]
pub(crate) enum Decision<'a> {
    Skip(Skip),
    /// Make this request of it.
    Send(&'a RequestPlan),
    /// Store it as a row of this table.
    Store(&'a Arc<TablePlan>),
}

/// Why a route does not send a record. A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    NotMatched,
    Correction,
    Historic,
    BeforeStart,
    NothingToCancel,
}

impl Skip {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NotMatched => "not_matched",
            Self::Correction => "correction",
            Self::Historic => "historic",
            Self::BeforeStart => "before_start",
            Self::NothingToCancel => "nothing_to_cancel",
        }
    }
}

impl Route {
    /// The idempotency key of an event's delivery: the same for ever.
    pub(crate) fn key(&self, event_id: &str) -> Uuid {
        Uuid::new_v5(&KEYS, format!("{}\u{1f}{event_id}", self.name).as_bytes())
    }

    pub(crate) fn decide(&self, event: &Event) -> Decision<'_> {
        if !self.when.holds(&event.tree) {
            return Decision::Skip(Skip::NotMatched);
        }
        match &self.system.takes {
            Takes::Everything(tables) => tables
                .iter()
                .find(|table| table.entity == event.entity)
                .map_or(Decision::Skip(Skip::NotMatched), Decision::Store),
            Takes::WhatActs(requests) => {
                let fits = |plan: &&RequestPlan| plan.entity == event.entity && plan.when.holds(&event.tree);
                match requests.iter().find(fits) {
                    None => Decision::Skip(Skip::NotMatched),
                    Some(plan) => self.refusal(event).map_or(Decision::Send(plan), Decision::Skip),
                }
            }
        }
    }

    fn refusal(&self, event: &Event) -> Option<Skip> {
        if event.is_correction() && !self.corrections {
            Some(Skip::Correction)
        } else if event.is_historic() {
            Some(Skip::Historic)
        } else if self.start.is_some_and(|start| event.happened_at().is_none_or(|at| at < start)) {
            Some(Skip::BeforeStart)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::system;

    fn route(name: &str) -> Route {
        Route {
            name: "r".into(),
            system: system::carried(name),
            when: Condition::default(),
            start: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            corrections: false,
            requires_within: Duration::from_secs(1),
        }
    }

    fn change(kind: &str, revision: &str, at: &str, provenance: &str) -> Event {
        let tree: Value = json!({"meta": {"event_id": "e1", "observed_at": at, "provenance": provenance},
            "change_type": kind, "revision": revision, "occurred_at": at, "occurred_at_precision": "EXACT",
            "evidence": [{"provenance": provenance}]});
        Event::new(hirewire_schemas::Entity::StageChange, tree).unwrap()
    }

    #[test]
    fn only_what_happens_from_now_on_acts() {
        let route = route("onboarding");
        let skip = |kind, revision, at, provenance| match route.decide(&change(kind, revision, at, provenance)) {
            Decision::Skip(reason) => Some(reason),
            Decision::Send(_) | Decision::Store(_) => None,
        };
        let (before, after) = ("2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z");
        assert_eq!(skip("HIRE", "LIVE", after, "WEBHOOK"), None);
        assert_eq!(skip("HIRE", "LIVE", before, "WEBHOOK"), Some(Skip::BeforeStart));
        assert_eq!(skip("HIRE", "LIVE", after, "BACKFILL"), Some(Skip::Historic));
        assert_eq!(skip("HIRE", "LIVE", after, "HISTORY_ENDPOINT"), None);
        assert_eq!(skip("HIRE", "CORRECTION", after, "WEBHOOK"), Some(Skip::Correction));
        assert_eq!(skip("STAGE", "LIVE", after, "WEBHOOK"), Some(Skip::NotMatched));
    }

    #[test]
    fn analytics_takes_everything() {
        let route = route("analytics");
        for revision in ["LIVE", "CORRECTION"] {
            let event = change("STAGE", revision, "1999-01-01T00:00:00Z", "BACKFILL");
            assert!(matches!(route.decide(&event), Decision::Store(_)));
        }
    }

    #[test]
    fn the_key_is_the_same_for_ever() {
        assert_eq!(route("onboarding").key("e1").to_string(), route("payroll").key("e1").to_string());
        assert_ne!(route("onboarding").key("e1"), route("onboarding").key("e2"));
    }
}
