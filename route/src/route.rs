//! A route: which changes go to its sink, and from when on.
//!
//! Only what happens from now on acts: a route of an acting system takes LIVE changes alone, that happened after the
//! route's start and are known from more than a first load or history. A system that records takes everything.

use std::sync::Arc;
use std::time::Duration;

use hirewire_schemas::Entity;
use jiff::Timestamp;
use uuid::Uuid;

use crate::deliver::OnRefusal;
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
    pub(crate) sink: Arc<str>,
    pub(crate) system: Arc<System>,
    /// What the system must be told of the sink, by name.
    pub(crate) told: Arc<serde_json::Value>,
    /// `None`: all that the system takes.
    pub(crate) entity: Option<Entity>,
    pub(crate) when: Condition,
    /// `None`: from the beginning.
    pub(crate) start: Option<Timestamp>,
    /// Whether corrections go to an acting system too.
    pub(crate) corrections: bool,
    /// How long a delivery waits for what its request requires.
    pub(crate) requires_within: Duration,
    pub(crate) on_refusal: OnRefusal,
}

/// What a route does with a record.
#[derive(Debug)]
pub(crate) enum Decision<'a> {
    Skip(Skip),
    /// Make this request of it.
    Send(&'a RequestPlan),
    /// Store it as a row of this table.
    Store(&'a Arc<TablePlan>),
    /// Hand it on as it is.
    Copy,
}

/// Why a route does not send a record. A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    NotMatched,
    Correction,
    Historic,
    BeforeStart,
    /// The sink changes the source, and this is what came of it.
    OwnChange,
    NothingToCancel,
    /// What it changes was never created, or nobody knows its id: what is created later, is so of the newest data.
    NothingToUpdate,
    /// The sink has told its id already.
    CreatedAlready,
    /// The source has deleted whom it is about, and with that what the request requires.
    Deleted,
}

impl Skip {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NotMatched => "not_matched",
            Self::Correction => "correction",
            Self::Historic => "historic",
            Self::BeforeStart => "before_start",
            Self::OwnChange => "own_change",
            Self::NothingToCancel => "nothing_to_cancel",
            Self::NothingToUpdate => "nothing_to_update",
            Self::CreatedAlready => "created_already",
            Self::Deleted => "deleted",
        }
    }
}

impl Skip {
    /// Of a record that the route would send.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::NothingToCancel => "what it takes back was never sent, or is taken back already",
            Self::NothingToUpdate => "the sink has told no id of what it changes",
            Self::CreatedAlready => "the sink has created it already",
            Self::Deleted => "the source has deleted whom it is about",
            Self::NotMatched | Self::Correction | Self::Historic | Self::BeforeStart | Self::OwnChange => self.label(),
        }
    }
}

impl Route {
    /// The idempotency key of an event's delivery: the same for ever.
    pub(crate) fn key(&self, event_id: &str) -> Uuid {
        Uuid::new_v5(&KEYS, format!("{}\u{1f}{event_id}", self.name).as_bytes())
    }

    /// That of one step of it; of a delivery that has no steps, its own.
    pub(crate) fn step_key(&self, event_id: &str, step: Option<&str>) -> Uuid {
        match step {
            None => self.key(event_id),
            Some(step) => Uuid::new_v5(&KEYS, format!("{}\u{1f}{event_id}\u{1f}{step}", self.name).as_bytes()),
        }
    }

    pub(crate) fn decide(&self, event: &Event) -> Decision<'_> {
        if self.entity.is_some_and(|entity| entity != event.entity) || !self.when.holds(&event.tree) {
            return Decision::Skip(Skip::NotMatched);
        }
        match &self.system.takes {
            Takes::Everything(tables) => tables
                .iter()
                .find(|table| table.entity == event.entity)
                .map_or(Decision::Skip(Skip::NotMatched), Decision::Store),
            Takes::Copies(entities) if entities.contains(&event.entity) => Decision::Copy,
            Takes::Copies(_) => Decision::Skip(Skip::NotMatched),
            Takes::WhatActs(_) => match self.fitting(event).next() {
                None => Decision::Skip(Skip::NotMatched),
                Some(plan) => self.refusal(event).map_or(Decision::Send(plan), Decision::Skip),
            },
        }
    }

    /// The requests of the system that fit a record, in their order: the first is made, but that one that updates what
    /// was never created gives way to the next.
    pub(crate) fn fitting<'a>(&'a self, event: &Event) -> impl Iterator<Item = &'a RequestPlan> {
        self.system.requests().iter().filter(|plan| plan.entity == event.entity && plan.when.holds(&event.tree))
    }

    /// Of the changes before (the newest first), the one whose request `cancelled` the request `plan` takes back: each
    /// is taken back once, the newest first, and only what this route made counts.
    pub(crate) fn taken_back<'a>(
        &self,
        plan: &RequestPlan,
        cancelled: &str,
        earlier: &'a [Event],
    ) -> Option<&'a Event> {
        let mut taken_back = 0_usize;
        for event in earlier {
            match self.decide(event) {
                Decision::Send(made) if made.name == plan.name => taken_back += 1,
                Decision::Send(made) if made.name == cancelled => match taken_back.checked_sub(1) {
                    Some(fewer) => taken_back = fewer,
                    None => return Some(event),
                },
                Decision::Send(_) | Decision::Store(_) | Decision::Copy | Decision::Skip(_) => {}
            }
        }
        None
    }

    /// What a person should know of a [`Decision::Skip`].
    pub(crate) fn why_not(&self, event: &Event) -> String {
        let kebab = event.entity.kebab();
        if let Some(entity) = self.entity.filter(|entity| *entity != event.entity) {
            return format!("the route takes {} alone", entity.kebab());
        }
        if let Some(why) = self.when.why_not(&event.tree) {
            return format!("the route's `when`: {why}");
        }
        if let Takes::WhatActs(requests) = &self.system.takes {
            let of_entity = requests.iter().filter(|plan| plan.entity == event.entity);
            let whys: Option<Vec<String>> = of_entity
                .map(|plan| plan.when.why_not(&event.tree).map(|why| format!("the request {}: {why}", plan.name)))
                .collect();
            match whys {
                Some(whys) if !whys.is_empty() => return whys.join("; "),
                Some(_) => {}
                None => return self.why_refused(event),
            }
        }
        format!("the system {} takes no {kebab}", self.system.name)
    }

    fn why_refused(&self, event: &Event) -> String {
        match self.refusal(event) {
            Some(Skip::Correction) => {
                "it is a CORRECTION of the past, and the route takes LIVE changes alone (`corrections: true` takes both)"
                    .to_owned()
            }
            Some(Skip::Historic) => "it is known from a first load or from history alone".to_owned(),
            Some(Skip::BeforeStart) => {
                let at = event.happened_at().map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
                let start = self.start.map_or_else(String::new, |start| start.to_string());
                format!("it happened at {at}, before the route was enabled ({start})")
            }
            Some(Skip::OwnChange) => "we did it ourselves at the source (WRITE_BACK), and the sink changes the source".to_owned(),
            Some(other) => other.label().to_owned(),
            None => "nothing forbids it".to_owned(),
        }
    }

    fn refusal(&self, event: &Event) -> Option<Skip> {
        if event.is_correction() && !self.corrections {
            Some(Skip::Correction)
        } else if event.is_historic() {
            Some(Skip::Historic)
        } else if event.is_own_change() && self.system.writes_back() {
            Some(Skip::OwnChange)
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
            sink: "s".into(),
            system: system::carried(name),
            told: Arc::default(),
            entity: None,
            when: Condition::default(),
            start: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            corrections: false,
            requires_within: Duration::from_secs(1),
            on_refusal: OnRefusal::Skip,
        }
    }

    fn change(kind: &str, revision: &str, at: &str, provenance: &str) -> Event {
        let tree: Value = json!({"meta": {"event_id": "e1", "observed_at": at, "provenance": provenance},
            "change_type": kind, "revision": revision, "occurred_at": at, "occurred_at_precision": "EXACT",
            "evidence": [{"provenance": provenance}]});
        Event::new(Entity::StageChange, tree).unwrap()
    }

    #[test]
    fn only_what_happens_from_now_on_acts() {
        let route = route("onboarding");
        let skip = |kind, revision, at, provenance| match route.decide(&change(kind, revision, at, provenance)) {
            Decision::Skip(reason) => Some(reason),
            Decision::Send(_) | Decision::Store(_) | Decision::Copy => None,
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
    fn a_stream_takes_everything_of_its_entity_as_it_is() {
        let mut route = route("stream");
        route.entity = Some(Entity::StageChange);
        let event = change("STAGE", "CORRECTION", "1999-01-01T00:00:00Z", "BACKFILL");
        assert!(matches!(route.decide(&event), Decision::Copy));
        route.entity = Some(Entity::Offer);
        assert!(matches!(route.decide(&event), Decision::Skip(Skip::NotMatched)));
    }

    #[test]
    fn a_route_of_one_entity_takes_no_other() {
        let mut route = route("analytics");
        let event = change("STAGE", "LIVE", "2026-01-03T00:00:00Z", "WEBHOOK");
        route.entity = Some(Entity::Application);
        assert!(matches!(route.decide(&event), Decision::Skip(Skip::NotMatched)));
        route.entity = Some(Entity::StageChange);
        assert!(matches!(route.decide(&event), Decision::Store(_)));
    }

    #[test]
    fn an_undoing_takes_back_the_newest_hire_that_was_sent_and_is_not_undone() {
        let route = route("onboarding");
        let plan = route.system.request("cancel_hire").unwrap();
        let taken_back = |all: &[(&str, &str, &str)]| {
            let events: Vec<Event> = all
                .iter()
                .map(|(id, kind, revision)| {
                    let mut event = change(kind, revision, "2026-01-03T00:00:00Z", "WEBHOOK");
                    event.tree["meta"]["event_id"] = json!(id);
                    event
                })
                .rev()
                .collect();
            route.taken_back(plan, "hire", &events).map(|event| event.event_id().to_owned())
        };
        let (hire, undone) = (("h1", "HIRE", "LIVE"), ("u1", "UNHIRE", "LIVE"));
        assert_eq!(taken_back(&[hire]).as_deref(), Some("h1"));
        assert_eq!(taken_back(&[hire, ("h2", "HIRE", "CORRECTION")]).as_deref(), Some("h1"));
        assert_eq!(taken_back(&[hire, undone]), None);
        assert_eq!(taken_back(&[hire, undone, ("h2", "HIRE", "LIVE")]).as_deref(), Some("h2"));
        assert_eq!(taken_back(&[hire, ("h2", "HIRE", "LIVE"), undone]).as_deref(), Some("h1"));
        assert_eq!(taken_back(&[("h2", "HIRE", "CORRECTION")]), None);
    }

    #[test]
    fn the_key_is_the_same_for_ever() {
        assert_eq!(route("onboarding").key("e1").to_string(), route("payroll").key("e1").to_string());
        assert_ne!(route("onboarding").key("e1"), route("onboarding").key("e2"));
    }
}
